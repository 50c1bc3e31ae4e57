package broker

import (
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

const (
	newLink = "Send the mailbox owner a new authorization link."

	// superseded says inside the broker that another process came between; Lend
	// looks again.
	superseded = "broker.superseded"
	noAnswer   = "oauth.no_answer"
	lostAnswer = "grant.lost_answer"

	invalidClient = "oauth.invalid_client"
)

// moment is how a time stands in a sentence.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func errSuperseded() error {
	return &fault.Error{
		ID: superseded, Kind: fault.Temporary,
		Text: "Other processes renewed this grant again and again meanwhile.", Who: []fault.Who{fault.Nobody},
		Remedy: "Ask again.", Retry: true, RetryAfter: time.Second,
	}
}

func errStopping() error {
	return &fault.Error{
		ID: "broker.stopping", Kind: fault.Temporary,
		Text: "This process is stopping and begins no new renewal.", Who: []fault.Who{fault.Nobody},
		Remedy: "Ask again in a moment, or ask another process.", Retry: true, RetryAfter: 5 * time.Second,
	}
}

// withoutGrant says for people what "grant.none" means to a borrower.
func withoutGrant(m mailbox.Mailbox, err error) error {
	if !fault.Has(err, "grant.none") {
		return err
	}
	return &fault.Error{
		ID: "grant.none", Kind: fault.Dead,
		Text:   fmt.Sprintf("Nobody has authorised the mailbox %s yet.", m.Address),
		Who:    []fault.Who{fault.MailboxOwner, fault.Operator},
		Remedy: "Send the mailbox owner an authorization link.", Err: err,
	}
}

// notActive says why a grant that is not active is not lent.
func notActive(m mailbox.Mailbox, g mailbox.Grant) error {
	f := &fault.Error{Kind: fault.Dead, Who: []fault.Who{fault.MailboxOwner, fault.Operator}, Remedy: newLink}
	switch g.State {
	case mailbox.GrantSuspended:
		f.ID = "grant.suspended"
		f.Text = fmt.Sprintf("The grant of %s is suspended: the mailbox or its provider was changed, and whose tokens they are has to be verified anew.", m.Address)
	case mailbox.GrantRevoked:
		f.ID = "grant.revoked"
		f.Text = fmt.Sprintf("The grant of %s was ended by an operator.", m.Address)
	default:
		f.ID = "grant.dead"
		if g.Cause == lostAnswer {
			f.ID = lostAnswer
		}
		f.Text = fmt.Sprintf("The grant of %s has ended.", m.Address)
		if g.CauseText != "" {
			f.Text = fmt.Sprintf("The grant of %s has ended: %s", m.Address, g.CauseText)
		}
		if g.Remedy != "" {
			f.Remedy = g.Remedy
		}
	}
	return f
}

// lost names the end of a grant whose last answer nobody received.
func lost(m mailbox.Mailbox, prior mailbox.Intent, priorCause string, refusal *fault.Error) *fault.Error {
	how := "the process that sent it ended, or was cut off, before it had stored the answer"
	if priorCause == noAnswer {
		how = "the connection broke before the answer arrived"
	}
	return &fault.Error{
		ID: lostAnswer, Kind: fault.Dead,
		Text: fmt.Sprintf("A renewal of %s, sent at %s, was processed by the provider, but its answer was lost: %s. "+
			"That answer held the next refresh token. The provider refuses the former one now, because it replaces "+
			"the refresh token at each renewal and accepts none twice.",
			m.Address, moment(prior.At), how),
		Who: []fault.Who{fault.MailboxOwner, fault.Operator},
		Remedy: newLink + " Nobody did anything wrong: this happens when a machine or a connection fails in the instant of a renewal. " +
			"If the provider can allow a grace period for used refresh tokens, switching it on prevents it.",
		Detail: refusal.Detail, Err: refusal,
	}
}

// failureOf reads the failure that another process recorded.
func failureOf(g mailbox.Grant, now time.Time) *fault.Error {
	return &fault.Error{
		ID: g.Cause, Kind: fault.Temporary, Text: g.CauseText, Who: []fault.Who{fault.Operator}, Remedy: g.Remedy,
		Retry: true, RetryAfter: max(g.NextRefreshAt.Sub(now), time.Second),
	}
}

func endedAtOnce(a attempt, expires time.Time) *fault.Error {
	return &fault.Error{
		ID: "grant.ended_at_once", Kind: fault.Temporary,
		Text: fmt.Sprintf("The provider answered the renewal for %s with an access token that had ended already, at %s.", a.m.Address, moment(expires)),
		Who:  []fault.Who{fault.Operator}, Retry: true,
		Remedy: "Compare the clock of this machine with the provider's, and look at the lifetime it gives access tokens.",
	}
}
