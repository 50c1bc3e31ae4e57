package outbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// lastWake bounds what is still woken when the process ends.
const lastWake = 5 * time.Second

// Nudge says that a mailbox or its grant changed: what waits for its
// authorisation, or for it to be resumed, waits no longer. A rate limit that its
// provider asked for, and what a mail server said of a message, still hold. It
// returns at once; Run does the work, and finishes it before it ends.
func (o *Outbox) Nudge(mailboxID string) {
	o.mu.Lock()
	if h, ok := o.holds[mailboxID]; ok && h.fault.Kind != fault.Limited {
		delete(o.holds, mailboxID)
	}
	delete(o.detours, mailboxID) // the first way may be open again
	o.nudged[mailboxID] = true
	o.nudges[mailboxID]++
	o.mu.Unlock()
	select {
	case o.bell <- struct{}{}:
	default: // it rings already
	}
}

// waitsForGrant reports that a submission with this cause waits for something
// that a new grant, or a change to its mailbox, may have mended. One without a
// cause has met nothing but the mailbox's own budget, which is asked again.
func waitsForGrant(cause string) bool {
	switch cause {
	case "oauth.rate_limited": // the token endpoint asked for this wait
		return false
	case "mailbox.paused", "seal.cannot_open",
		"smtp.auth_refused", "smtp.password_refused", "smtp.not_signed_in", "smtp.auth_disabled_tenant", "smtp.auth_disabled_mailbox":
		return true
	}
	return strings.HasPrefix(cause, "grant.") || strings.HasPrefix(cause, "oauth.") || strings.HasPrefix(cause, "provider.")
}

// answerNudges wakes what waits in the mailboxes that were nudged, until ctx ends, and
// then once more what was nudged last.
func (o *Outbox) answerNudges(ctx context.Context) {
	again := time.NewTicker(o.Sweep) // where the database was away
	defer again.Stop()
	for ctx.Err() == nil {
		o.wake(ctx)
		select {
		case <-ctx.Done():
		case <-o.bell:
		case <-again.C:
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWake)
	defer cancel()
	o.wake(last)
}

func (o *Outbox) wake(ctx context.Context) {
	o.mu.Lock()
	nudged := o.nudged
	o.nudged = map[string]bool{}
	o.mu.Unlock()
	for id := range nudged {
		if _, err := o.Store.WakeSubmissions(ctx, id, waitsForGrant, o.Now()); err != nil {
			o.mu.Lock()
			o.nudged[id] = true
			o.mu.Unlock()
			if ctx.Err() == nil {
				o.Logger.Error("wake the submissions of a mailbox", "mailbox_id", id, "err", err)
			}
		}
	}
}

// nudgesOf counts the nudges of a mailbox.
func (o *Outbox) nudgesOf(mailboxID string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.nudges[mailboxID]
}

// nudgedMeanwhile reports that the mailbox was nudged since the attempt began:
// what it failed for may be mended, and no wake finds it while it is under way.
func (a *attempt) nudgedMeanwhile() bool { return a.nudgesOf(a.s.MailboxID) != a.nudgesBefore }

// removed is what a submission of a mailbox that is gone ends with.
func removed(address string) *fault.Error {
	return &fault.Error{
		ID: "mailbox.removed", Kind: fault.NotFound, Text: fmt.Sprintf("The mailbox %s was removed.", address), Who: []fault.Who{fault.Operator},
		Remedy: "Add the mailbox again, or choose another, and send the message again.",
	}
}
