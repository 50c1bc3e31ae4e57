package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
)

// clockSkew is how far two clocks may stand apart.
const clockSkew = 5 * time.Minute

// compare holds what a token says against what was expected.
func (i Inspector) compare(r *Report, want Expectation) {
	if want.Principal == "" {
		want.Principal = want.Mailbox
	}
	if want.Mailbox != "" && r.SASLUser != "" && !message.SameAddress(r.SASLUser, want.Mailbox) {
		r.find("inspect.other_mailbox", fmt.Sprintf("The response asks for the mailbox %s, not for %s.", r.SASLUser, want.Mailbox),
			"Put the mailbox's address into the user part of the response.", fault.Operator)
	}
	if r.Form != FormJWT {
		return
	}
	i.compareTime(r)
	i.compareUse(r, want)
	comparePerson(r, want)
}

func (r *Report) find(id, text, remedy string, who ...fault.Who) {
	r.Findings = append(r.Findings, Finding{ID: id, Text: text, Who: who, Remedy: remedy})
}

func (i Inspector) compareTime(r *Report) {
	now := i.Now()
	switch {
	case !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt):
		r.find("inspect.expired", fmt.Sprintf("The %s has expired: it ended %s ago.", r.Kind, span(now.Sub(r.ExpiresAt))),
			"Ask for a fresh one; Mailgrant renews access tokens by itself. If a fresh one looks expired, this machine's clock is wrong.", fault.Operator)
	case !r.NotBefore.IsZero() && now.Add(clockSkew).Before(r.NotBefore):
		r.find("inspect.not_yet_valid", fmt.Sprintf("The %s is not valid yet: it begins in %s.", r.Kind, span(r.NotBefore.Sub(now))),
			"Set this machine's clock right.", fault.Operator)
	}
}

// compareUse says what keeps the token from being of use where it is meant for.
func (i Inspector) compareUse(r *Report, want Expectation) {
	if want.Resource == "" && len(want.Scopes) == 0 {
		return
	}
	if r.Kind == "ID token" {
		r.find("inspect.id_token", "This is an ID token: it says who signed in and opens nothing.",
			"Use the access token of the same answer.", fault.Operator)
		return
	}
	if want.Resource != "" && r.AudienceTitle != "" && r.Resource != want.Resource {
		r.find("inspect.wrong_audience", fmt.Sprintf("The access token is for %s (aud %s) and is of no use for %s: the server there refuses it, often without a reason.", r.AudienceTitle, strings.Join(r.Audience, ", "), i.title(want.Resource)),
			"Ask for scopes of the right resource, written in full with the resource in front; a scope without it belongs to another resource than one thinks.", fault.AppOwner, fault.Operator)
		return // its scopes are another resource's
	}
	if r.Scopes == nil && r.Roles == nil {
		return // many servers do not write scopes into an access token
	}
	var missing []string
	for _, s := range want.Scopes {
		has := func(have string) bool { return sameScope(have, s) }
		switch s {
		case "openid", "profile", "email", "offline_access": // asked for beside the resource's own, never written into its token
			continue
		}
		if !slices.ContainsFunc(r.Scopes, has) && !slices.ContainsFunc(r.Roles, has) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		r.find("inspect.missing_scope", fmt.Sprintf("The access token lacks %s; it has %s.", strings.Join(missing, ", "), orNone(append(slices.Clone(r.Scopes), r.Roles...))),
			"Add the permission to the app registration, have it consented to, and authorise the mailbox again.", fault.AppOwner, fault.TenantAdmin)
	}
}

func (i Inspector) title(resource string) string {
	for _, a := range i.Audiences {
		if a.Resource == resource {
			return a.Title
		}
	}
	return resource
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// comparePerson says whether it is another's. The same user by identifier is the
// same user, whatever address is written in the token.
func comparePerson(r *Report, want Expectation) {
	remedy := "Authorise the mailbox again as the right person; sign out at the provider first, or use a private window."
	if want.TenantID != "" && r.TenantID != "" && !strings.EqualFold(want.TenantID, r.TenantID) {
		r.find("inspect.other_tenant", fmt.Sprintf("It belongs to another organisation: tenant %s, where %s is expected.", r.TenantID, want.TenantID), remedy, fault.MailboxOwner)
	}
	if want.ClientID != "" && r.ClientID != "" && !strings.EqualFold(want.ClientID, r.ClientID) {
		r.find("inspect.other_client", fmt.Sprintf("It was issued to another application: %s, where %s is expected.", r.ClientID, want.ClientID),
			"Compare client_id of the provider with the app registration.", fault.AppOwner, fault.Operator)
	}
	switch {
	case want.ObjectID != "" && r.ObjectID != "":
		if !strings.EqualFold(want.ObjectID, r.ObjectID) {
			r.find("inspect.other_person", fmt.Sprintf("It belongs to %s another user than the one who authorised the mailbox.", whose(*r)), remedy, fault.MailboxOwner)
		}
	case want.Principal != "" && len(r.Addresses) > 0 && !sameAddress(r.Addresses, want.Principal):
		r.find("inspect.other_person", fmt.Sprintf("It belongs to %s, and %s is expected. That is right only where %s is an alias of theirs.", r.Addresses[0], want.Principal, want.Principal), remedy, fault.MailboxOwner)
	case want.Principal != "" && len(r.Addresses) == 0 && r.Roles != nil:
		r.find("inspect.no_person", fmt.Sprintf("It belongs to no person but to the application %s, and %s is expected.", orUnknown(r.ClientID), want.Principal), "Use the authorization code grant for this mailbox.", fault.Operator)
	}
}

func whose(r Report) string {
	if len(r.Addresses) > 0 {
		return r.Addresses[0] + ","
	}
	return "somebody,"
}
