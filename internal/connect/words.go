package connect

import (
	"fmt"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// The words of every way in which a link or an attempt ends without a grant.
// They are read by mailbox owners who have never heard of OAuth.

func refusal(id string, kind fault.Kind, who fault.Who, text, remedy string) *fault.Error {
	return &fault.Error{ID: id, Kind: kind, Text: text, Who: []fault.Who{who}, Remedy: remedy}
}

func errLinkUnknown() *fault.Error {
	return refusal("link.unknown", fault.NotFound, fault.MailboxOwner,
		"This is no authorization link of this server.",
		"Check that the whole link was copied, to its last character; or ask whoever sent it for a new one.")
}

func errLinkExpired() *fault.Error {
	return refusal("link.expired", fault.Conflict, fault.Operator,
		"This authorization link has expired. Nothing was stored.",
		"Ask whoever sent it for a new link.")
}

func errLinkCancelled() *fault.Error {
	return refusal("link.cancelled", fault.Conflict, fault.Operator,
		"This authorization link was cancelled or replaced by a newer one. Nothing was stored.",
		"Use the newest link you were sent, or ask for a new one.")
}

func errLinkGranted() *fault.Error {
	return refusal("link.granted", fault.Conflict, fault.Nobody,
		"This authorization link has done its work: the mailbox was authorised with it.",
		"You can close this page. To authorise the mailbox again, ask for a new link.")
}

func errLinkUsedUp() *fault.Error {
	return refusal("link.used_up", fault.Conflict, fault.Operator,
		fmt.Sprintf("All %d attempts at this authorization link are used up.", MaxAttempts),
		"Ask whoever sent it for a new link, and tell them what the last attempt said.")
}

// spentWords gives the store's answer to a race its words.
func spentWords(err error) error {
	if fault.Has(err, "link.spent") {
		f := errLinkUsedUp()
		f.Text, f.Err = "This authorization link can no longer be used: it was just used, used up, cancelled, or it expired.", err
		return f
	}
	return err
}

func errStateUnknown() *fault.Error {
	return refusal("attempt.unknown", fault.NotFound, fault.MailboxOwner,
		"This answer belongs to no sign-in that was started here. Nothing was stored.",
		"Open the authorization link again and start from there. If you did not start anything, somebody may have sent you a forged link: close this page.")
}

func errStateMissing() *fault.Error {
	return refusal("attempt.state_missing", fault.Invalid, fault.MailboxOwner,
		"The provider's answer is incomplete: it does not say which sign-in it belongs to. Nothing was stored.",
		"Open the authorization link again and start from there.")
}

func errStateUsed() *fault.Error {
	return refusal("attempt.used", fault.Conflict, fault.MailboxOwner,
		"This answer was taken already: the page was reloaded, or opened a second time. Nothing was done again.",
		"Open the authorization link to see how the sign-in ended. If it failed, start again from there.")
}

func errStateExpired() *fault.Error {
	return refusal("attempt.expired", fault.Conflict, fault.MailboxOwner,
		"The sign-in took longer than it may, so its answer is no longer accepted. Nothing was stored.",
		"Start again; you have about half an hour to finish at the provider.")
}

func errForeignBrowser() *fault.Error {
	return refusal("attempt.foreign_browser", fault.Forbidden, fault.MailboxOwner,
		"This sign-in was started in another browser than this one. Nothing was stored.",
		"Open the authorization link in the browser in which you want to sign in, and do everything there. Cookies must be allowed for this server. If you did not start anything, close this page.")
}

func errDeclined(err error) *fault.Error {
	f := refusal("oauth.access_denied", fault.Refused, fault.MailboxOwner,
		"The request for access was declined at the provider. Nothing was stored.",
		"If that was a mistake, start again and accept. If the provider asks for an administrator's approval, your administrator has to give it first.")
	f.Err = err
	return f
}

// causePrompt is the cause of an attempt whose prompt the provider refused.
const causePrompt = "oauth.prompt_refused"

func errPrompt(prompt string, err error) *fault.Error {
	f := refusal(causePrompt, fault.Refused, fault.MailboxOwner,
		fmt.Sprintf("The provider refused the request before anybody signed in: it does not take the way in which it was told to ask (prompt=%s). Nothing was stored.", prompt),
		"Try again: the next attempt asks for a plain sign-in. If that is refused too, the operator should set the provider's prompt to omit.")
	f.Err = err
	return f
}

func errNoCode() *fault.Error {
	return refusal("attempt.no_code", fault.Refused, fault.Provider,
		"The provider's answer holds neither an authorization code nor an error. Nothing was stored.",
		"Start again. If it happens again, the operator should check the provider's endpoints.")
}

func errMailboxChanged(err error) *fault.Error {
	f := refusal("mailbox.changed", fault.Conflict, fault.MailboxOwner,
		"An operator changed this mailbox or its provider while you were signing in. Nothing was stored.",
		"Start again, so that you see what is asked now.")
	f.Err = err
	return f
}

func errNoRefreshToken() *fault.Error {
	return refusal("connect.no_refresh_token", fault.Refused, fault.Operator,
		"The provider let you in but gave no lasting access (no refresh token), so the connection would end within the hour. Nothing was stored.",
		"The operator has to see to it that the registration may be given refresh tokens (scope offline_access), then make a new link.")
}

func errOtherSubject(m mailbox.Mailbox, present mailbox.Grant, who provider.Identity) *fault.Error {
	return refusal("connect.other_person", fault.Refused, fault.Operator,
		fmt.Sprintf("The address is right, but this is another user than the one who authorised %s before (%s): the provider knows them by another identifier. Nothing was stored and the present authorisation stays as it is.", m.Address, orUnknown(present.Display)),
		fmt.Sprintf("If the user was made anew at the provider, an operator has to say yes to it by making a link that allows exactly this identity: %s.", who.Key()))
}

func orUnknown(s string) string {
	if s == "" {
		return "name unknown"
	}
	return s
}

// errBinding turns a refused binding into a fault with its remedy.
func errBinding(b Binding, m mailbox.Mailbox, probe error) *fault.Error {
	f := refusal(b.Cause, fault.Refused, fault.MailboxOwner, b.Reason+" Nothing was stored.", "")
	switch b.Cause {
	case "connect.wrong_person":
		f.Remedy = fmt.Sprintf("Sign out at the provider and start again as %s; or open the link on another device or in a private window; or hand the link to %s.", m.Principal(), m.Principal())
		if b.Unread != nil {
			f.Who = append(f.Who, b.Unread.Who...)
			f.Remedy += fmt.Sprintf(" If %s is an address of whoever signed in: %s", m.Principal(), b.Unread.Remedy)
			f.Detail, f.Err = b.Unread.Detail, b.Unread
		}
	case "connect.identity_foreign":
		f.Remedy = fmt.Sprintf("Sign out at the provider and start again as %s in its own organisation. If the organisation is right, the operator has to correct the provider's tenant or issuer.", m.Principal())
		f.Who = append(f.Who, fault.Operator)
	case "connect.identity_unverifiable":
		f.Who = []fault.Who{fault.Operator}
		f.Remedy = "The operator can name the claim that holds the address (identity_claim of the provider), or allow this one mailbox without proof (allow_unverifiable)."
		if b.Unread != nil {
			f.Who, f.Remedy, f.Detail, f.Err = b.Unread.Who, b.Unread.Remedy, b.Unread.Detail, b.Unread
		}
	case "connect.mailbox_does_not_open":
		f.Who = []fault.Who{fault.MailAdmin}
		f.Remedy = fmt.Sprintf("Whoever administers the mail server has to check that the mailbox %s exists, has a licence, and may be used by this protocol.", m.Address)
		if m.ActsAs.Delegate() != "" {
			f.Remedy = fmt.Sprintf("Whoever administers the mail server has to give %s full access to %s; new rights may need up to an hour. Then start again.", m.Principal(), m.Address)
		}
		if p := fault.Of(probe); p != nil {
			f.Detail, f.Err = p.Detail, probe
			f.Text = b.Reason + " It says: " + p.Text + " Nothing was stored."
			if p.Remedy != "" && m.ActsAs.Delegate() == "" {
				f.Remedy = p.Remedy
			}
			if len(p.Who) > 0 {
				f.Who = p.Who
			}
		}
	}
	return f
}
