package microsoft

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// identityScopes are asked for with every authorization: who signed in, and a
// refresh token.
func identityScopes() []string { return []string{"openid", "profile", "email", "offline_access"} }

// Resources derives what to ask for: the mail scopes of the uses on the cloud's
// own host, and User.Read on Graph for the aliases. One access token is for one
// resource, so they stand apart. A profile's scopes replace the derived ones
// for mail, or add to them where provider.DerivedScopes is among them.
func (k *Kind) Resources(r provider.Record, uses []provider.Use, profile string) ([]provider.Resource, error) {
	s := siteOf(r)
	var mail, graph []string
	for _, u := range uses {
		switch u {
		case provider.UseIMAP:
			mail = append(mail, s.scope+"/IMAP.AccessAsUser.All")
		case provider.UsePOP3:
			mail = append(mail, s.scope+"/POP.AccessAsUser.All")
		case provider.UseSMTP:
			mail = append(mail, s.scope+"/SMTP.Send")
		case provider.UseIdentity:
			graph = append(graph, s.graphScope+"/User.Read")
		case provider.UseGraphSend:
			graph = append(graph, s.graphScope+"/Mail.Send")
		case provider.UseGraphSendFor:
			graph = append(graph, s.graphScope+"/Mail.Send.Shared")
		default:
			return nil, &fault.Error{
				ID: "provider.unknown_use", Kind: fault.Invalid, Text: fmt.Sprintf("A provider of kind %s cannot be used for %q.", Name, u),
				Who: []fault.Who{fault.Operator}, Remedy: "Use imap, pop3 or smtp.",
			}
		}
	}
	if profile != "" {
		i := slices.IndexFunc(r.Profiles, func(p provider.Profile) bool { return p.Name == profile })
		if i < 0 {
			return nil, &fault.Error{
				ID: "provider.unknown_profile", Kind: fault.Invalid, Field: "profile",
				Text: fmt.Sprintf("The provider %s has no profile named %q.", r.Name, profile), Who: []fault.Who{fault.Operator},
				Remedy: "Use one of its profiles, or leave profile out: the scopes are then derived from what the mailbox does.",
			}
		}
		if !slices.Contains(r.Profiles[i].Scopes, provider.DerivedScopes) {
			mail = nil
		}
		for _, scope := range r.Profiles[i].Scopes {
			if why := s.lintScope(scope); why != "" {
				return nil, invalid("profile", fmt.Sprintf("The scope “%s” of the profile %s %s.", fault.Shorten(scope, 80), profile, why), "Correct the scope in the provider's profile, or leave profile out: the scopes are then derived from what the mailbox does.")
			}
			switch {
			case scope == provider.DerivedScopes || slices.Contains(identityScopes(), scope):
			case s.onGraph(scope):
				if !slices.Contains(graph, scope) {
					graph = append(graph, scope)
				}
			case !slices.Contains(mail, scope):
				mail = append(mail, scope)
			}
		}
	}
	var out []provider.Resource
	if len(mail) > 0 {
		out = append(out, provider.Resource{Name: provider.ResourceMail, Scopes: mail})
	}
	if len(graph) > 0 {
		out = append(out, provider.Resource{Name: provider.ResourceGraph, Scopes: graph})
	}
	return out, nil
}

func (s site) onGraph(scope string) bool {
	return strings.HasPrefix(strings.ToLower(scope), strings.ToLower(s.graphScope)+"/")
}

// lintScope says, as half a sentence, why a mailbox cannot use a profile's scope.
func (s site) lintScope(scope string) string {
	if scope == provider.DerivedScopes || slices.Contains(identityScopes(), scope) {
		return ""
	}
	u, err := url.Parse(scope)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return fmt.Sprintf("does not name its resource: Microsoft would take it for a scope of Graph. Write it in full, for example %s/IMAP.AccessAsUser.All", s.scope)
	case strings.HasSuffix(scope, "/.default"):
		return "is for client credentials only; name the permissions one by one"
	case s.onGraph(scope), slices.Contains(s.scopeHosts, strings.ToLower(u.Hostname())):
		return ""
	}
	return fmt.Sprintf("is on a host that does not belong to the cloud %s (%s and %s do)", s.name, s.scope, s.graphScope)
}

// tokenScopes are the scopes of one token request: those of one resource, and
// what brings the next refresh token.
func tokenScopes(scopes []string, more ...string) []string {
	return append(slices.Clone(scopes), more...)
}
