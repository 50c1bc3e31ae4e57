package generic

import (
	"errors"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
)

func invalid(field, text, remedy string) error {
	return &fault.Error{
		ID: "provider.invalid", Kind: fault.Invalid, Field: field, Text: text,
		Who: []fault.Who{fault.Operator}, Remedy: remedy,
	}
}

// Check finds contradictions in a record.
func (k *Kind) Check(r provider.Record) error {
	return errors.Join(slices.Concat(k.checkIssuer(r), k.checkEndpoints(r), provider.CheckProfiles(r))...)
}

func (k *Kind) checkIssuer(r provider.Record) (found []error) {
	if r.Issuer == "" {
		found = append(found, invalid("issuer", "A provider of kind generic needs an issuer.", "Give the address that the provider's documents call issuer, for example https://idp.example/realms/main."))
	} else if why := oauth.CheckURL(r.Issuer); why != "" || strings.Contains(r.Issuer, "?") {
		if why == "" {
			why = "must not have a query (?…)"
		}
		found = append(found, invalid("issuer", "The issuer “"+fault.Shorten(r.Issuer, 80)+"” "+why+".", "Write it letter by letter as the provider's documents do."))
	}
	if r.ClientID == "" || strings.ContainsFunc(r.ClientID, func(c rune) bool { return c < 0x20 || c > 0x7e }) { // RFC 6749, A.1
		found = append(found, invalid("client_id", "The client ID is missing or holds characters that none may have.", "Copy it from the provider's list of clients."))
	}
	for field, value := range map[string]string{"tenant": r.Tenant, "cloud": r.Cloud} {
		if value != "" {
			found = append(found, invalid(field, field+" does not apply to kind generic.", "Remove "+field+"; issuer says which provider is meant."))
		}
	}
	if r.RedirectURI != "" {
		if why := oauth.CheckURL(r.RedirectURI); why != "" {
			found = append(found, invalid("redirect_uri", "The redirect URI "+why+".", "Write it exactly as it is registered, or leave it out."))
		}
	}
	if r.Prompt != "" && !slices.Contains(k.Traits().Prompts, r.Prompt) {
		found = append(found, invalid("authorize.prompt", "“"+fault.Shorten(string(r.Prompt), 80)+"” is not a prompt of this kind.",
			"Use login (the default), select_account or omit."))
	}
	return found
}

func (k *Kind) checkEndpoints(r provider.Record) (found []error) {
	for name, value := range r.Endpoints {
		field, why := "endpoints."+name, ""
		switch name {
		case endpointAuthorization, endpointToken, endpointUserInfo, endpointKeys, endpointSignOut:
			why = oauth.CheckURL(value)
		case endpointIMAP, endpointPOP3, endpointSMTP:
			_, _, _, why = provider.ParseMailHost(value)
		default:
			found = append(found, invalid(field, "There is no endpoint named “"+fault.Shorten(name, 40)+"” to override.",
				"Use one of "+strings.Join(k.Traits().Endpoints, ", ")+"."))
		}
		if why != "" {
			found = append(found, invalid(field, "The address “"+fault.Shorten(value, 80)+"” "+why+".", "Correct or remove "+field+"."))
		}
	}
	return found
}
