package outbox

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// hold keeps a mailbox's queue waiting after a fault that is not one message's.
type hold struct {
	until time.Time
	fault *fault.Error
}

// Hold is a wait that a provider asked for, as it is kept: nothing is sent from
// the mailbox before. A process that is started anew keeps it, and others do.
type Hold struct {
	MailboxID string
	Until     time.Time // zero: none
	Cause     string    // a fault's ID
	CauseText string
	Remedy    string
}

// holdBack retries, and lets the rest of the mailbox's queue wait as long. Where
// the mailbox was nudged meanwhile, what failed may be mended already. What a
// provider asked for is kept; what somebody here has to mend is soon met again.
func (a *attempt) holdBack(ctx context.Context, f *fault.Error, wait time.Duration) error {
	if waitsForGrant(f.ID) && a.nudgedMeanwhile() {
		return a.retry(ctx, f, nudgedAgain)
	}
	until := a.Now().Add(wait)
	a.mu.Lock()
	a.holds[a.s.MailboxID] = hold{until: until, fault: f}
	a.mu.Unlock()
	if f.Kind == fault.Limited {
		a.asked = Hold{MailboxID: a.s.MailboxID, Until: until, Cause: f.ID, CauseText: f.Text, Remedy: f.Remedy}
	}
	return a.retry(ctx, f, wait)
}

// held gives what the whole mailbox waits for.
func (a *attempt) held(ctx context.Context) (hold, bool, error) {
	a.mu.Lock()
	learnt := a.learnt
	a.mu.Unlock()
	if !learnt {
		if err := a.learnHolds(ctx); err != nil {
			return hold{}, false, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	h, ok := a.holds[a.s.MailboxID]
	if ok && !a.Now().Before(h.until) {
		delete(a.holds, a.s.MailboxID)
		return hold{}, false, nil
	}
	return h, ok, nil
}

// learnHolds takes over what providers asked of other processes, and of this one
// before it was started anew.
func (o *Outbox) learnHolds(ctx context.Context) error {
	kept, err := o.Store.Holds(ctx, o.Now())
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.learnt = true
	for _, k := range kept {
		if o.holds[k.MailboxID].until.Before(k.Until) {
			o.holds[k.MailboxID] = hold{until: k.Until, fault: &fault.Error{
				ID: k.Cause, Kind: fault.Limited, Text: k.CauseText, Remedy: k.Remedy, Who: []fault.Who{fault.Nobody}, Retry: true,
			}}
		}
	}
	return nil
}
