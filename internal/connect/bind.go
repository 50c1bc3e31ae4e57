package connect

import (
	"fmt"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Expected is what an operator laid down before anybody signed in.
type Expected struct {
	Mailbox  string // the address to connect
	Delegate string // who was declared to act for it; empty: the owner signs in
	// AllowUnverifiable says that an operator accepts, for this mailbox, that
	// nothing proves who signed in.
	AllowUnverifiable bool
}

// Principal is the address whose sign-in is expected.
func (e Expected) Principal() string {
	if e.Delegate != "" {
		return e.Delegate
	}
	return e.Mailbox
}

// ProbeResult is what trying to open the expected mailbox showed.
type ProbeResult int

// The results. The zero value says that no probe was made yet.
const (
	ProbeNotMade   ProbeResult = iota
	ProbeOpened                // the mailbox opens with these tokens
	ProbeRefused               // the mail server says a definite no
	ProbeUndecided             // the mail server could not be asked
)

// Decision is what to do with an authorization.
type Decision int

// The decisions. The zero value refuses.
const (
	Refuse     Decision = iota
	MakeProbe           // the person is right: now open the mailbox and ask again
	Accept              // adopt the tokens
	Quarantine          // keep them apart until the mailbox could be asked
)

// Binding is the outcome of the three-way binding. For a refusal, Cause is the
// fault's ID and Reason a sentence for the page that names both addresses.
type Binding struct {
	Verdict  mailbox.Verdict
	Decision Decision
	Cause    string
	Reason   string
	// Unread is why the person's further addresses could not be read, where that
	// may have been decisive.
	Unread *fault.Error
}

// Bind compares the three facts: what was expected, who signed in, and whether
// the expected mailbox opens. It asks nobody and keeps nothing.
//
// A person who is refused is refused before any probe: an administrator who may
// open every mailbox is still not the mailbox's owner, so that the probe would
// prove nothing, and their tokens are not to be tried.
func Bind(expected Expected, who provider.Identity, probe ProbeResult) Binding {
	b := identify(expected, who)
	if b.Decision == Refuse {
		return b
	}
	switch probe {
	case ProbeNotMade:
		b.Decision = MakeProbe
	case ProbeOpened:
		b.Decision = Accept
	case ProbeUndecided:
		b.Decision = Quarantine
	default:
		b.Decision, b.Cause = Refuse, "connect.mailbox_does_not_open"
		b.Reason = fmt.Sprintf("%s signed in, but the mail server does not open the mailbox %s for this sign-in.", shown(who), expected.Mailbox)
	}
	return b
}

// identify compares the first two facts. Its Decision is MakeProbe where they
// agree.
func identify(expected Expected, who provider.Identity) Binding {
	if who.Foreign != "" {
		return Binding{
			Verdict: mailbox.VerdictMismatch, Cause: "connect.identity_foreign",
			Reason: fmt.Sprintf("%s was expected to sign in, but %s did, who belongs to another organisation: %s", expected.Principal(), shown(who), who.Foreign),
		}
	}
	if len(who.Addresses) == 0 {
		return unverifiable(expected, who)
	}
	own, alias := proven(who, expected.Principal())
	switch {
	case !own && !alias:
		return mismatch(expected, who)
	case expected.Delegate != "":
		return Binding{Verdict: mailbox.VerdictDelegate, Decision: MakeProbe}
	case own:
		return Binding{Verdict: mailbox.VerdictMatch, Decision: MakeProbe}
	default:
		return Binding{Verdict: mailbox.VerdictAlias, Decision: MakeProbe}
	}
}

// proven reports whether address is one that who signs in with, or an alias.
func proven(who provider.Identity, address string) (own, alias bool) {
	for _, a := range who.Addresses {
		if message.SameAddress(a.Address, address) {
			own = own || !a.Alias
			alias = alias || a.Alias
		}
	}
	return own, alias
}

func mismatch(expected Expected, who provider.Identity) Binding {
	b := Binding{Verdict: mailbox.VerdictMismatch, Cause: "connect.wrong_person"}
	if own, alias := proven(who, expected.Mailbox); own || alias {
		// Only with a declared delegate: the owner came instead.
		b.Reason = fmt.Sprintf("%s was expected to sign in for the mailbox %s, but %s signed in, the mailbox's own user.", expected.Principal(), expected.Mailbox, shown(who))
		return b
	}
	b.Reason = fmt.Sprintf("%s was expected to sign in, but %s did.", expected.Principal(), shown(who))
	if b.Unread = who.Unread; b.Unread != nil {
		b.Reason += fmt.Sprintf(" Whether %s is another address of theirs could not be found out: %s", expected.Principal(), b.Unread.Text)
	}
	return b
}

func unverifiable(expected Expected, who provider.Identity) Binding {
	b := Binding{Verdict: mailbox.VerdictUnverifiable}
	if expected.AllowUnverifiable {
		b.Decision = MakeProbe
		return b
	}
	why := who.Unproven
	if why == "" {
		why = "The provider proves no mail address of theirs."
	}
	b.Cause, b.Unread = "connect.identity_unverifiable", who.Unread
	b.Reason = fmt.Sprintf("%s was expected to sign in, and nothing proves that %s is that person. %s", expected.Principal(), shown(who), why)
	return b
}

// shown is how a person is named on pages: as the provider names them.
func shown(who provider.Identity) string {
	for _, s := range []string{who.Display, who.Name, who.Subject.Subject} {
		if s != "" {
			return fault.Shorten(s, 120)
		}
	}
	return "somebody without a name"
}
