package storetest

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// calledOff ends a submission that waits.
func calledOff(v outbox.Submission) outbox.Settlement {
	return outbox.Settlement{
		ID: v.ID, Fence: v.Lease.Fence, State: outbox.Failed, PossiblyDuplicated: v.InData, Cause: "submission.cancelled", CauseText: "It was called off.", Now: noon(),
		Event: event.New(noon(), event.SubmissionFailed, event.Actor{Kind: event.ActorOperator, Name: "ops"}, "Called off.").About(v.MailboxID, v.Mailbox),
	}
}

// acts are what people do to submissions that wait.
func acts(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("one that waits can be tried at once", func(t *testing.T) {
		w := newWorld(t, open)
		v := w.claimed(w.accept().ID, 0)
		must(t, w.Retry(w.ctx, outbox.Retry{ID: v.ID, Fence: v.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Attempted: true, Cause: "smtp.busy", CauseText: "Busy.", Now: noon()}))
		hastened := event.New(noon(), event.SubmissionHastened, event.System(), "At once.")
		must(t, w.Hasten(w.ctx, v.ID, v.Lease.Fence, noon().Add(time.Minute), hastened))
		if ids := w.dueSubmissions(time.Minute); len(ids) != 1 || w.events(event.SubmissionHastened) != 1 {
			t.Errorf("due: %v, %d events", ids, w.events(event.SubmissionHastened))
		}
		again := w.claimed(v.ID, time.Minute)
		if again.Cause != "smtp.busy" || again.Attempts != 1 {
			t.Errorf("got %+v", again)
		}
		hastened.ID = event.NewID()
		wantFault(t, w.Hasten(w.ctx, v.ID, again.Lease.Fence, noon(), hastened), "work.fenced", fault.Conflict)
		if w.events(event.SubmissionHastened) != 1 {
			t.Error("what did not happen has an event")
		}
	})
	t.Run("one that waits can be called off, with what is known of it", func(t *testing.T) {
		w := newWorld(t, open)
		v := w.claimed(w.accept().ID, 0)
		must(t, w.Retry(w.ctx, outbox.Retry{ID: v.ID, Fence: v.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Attempted: true, InData: true, Cause: "smtp.no_reply", Now: noon()}))
		v.InData = true
		must(t, w.Cancel(w.ctx, calledOff(v)))
		stored, err := w.Submission(w.ctx, v.ID)
		must(t, err)
		if stored.State != outbox.Failed || stored.Cause != "submission.cancelled" || !stored.PossiblyDuplicated || stored.InData || stored.Attempts != 1 || !stored.SettledAt.Equal(noon()) {
			t.Errorf("got %+v", stored)
		}
		if ids := w.dueSubmissions(2 * time.Hour); len(ids) != 0 || w.events(event.SubmissionFailed) != 1 {
			t.Errorf("due: %v, %d events", ids, w.events(event.SubmissionFailed))
		}
		wantFault(t, w.Cancel(w.ctx, calledOff(v)), "work.fenced", fault.Conflict)
	})
	t.Run("what is marked as possibly duplicated stays so when it is called off", func(t *testing.T) {
		w := newWorld(t, open)
		v := submission("", "body")
		v.PossiblyDuplicated = true
		v, _, err := w.Accept(w.ctx, v, []byte("body"), accepted(v))
		must(t, err)
		must(t, w.Cancel(w.ctx, calledOff(v)))
		stored, err := w.Submission(w.ctx, v.ID)
		must(t, err)
		if !v.PossiblyDuplicated || !stored.PossiblyDuplicated || stored.State != outbox.Failed {
			t.Errorf("accepted as %+v, stored as %+v", v, stored)
		}
	})
	t.Run("of those in a copy, all that wait may have been sent", func(t *testing.T) {
		w := newWorld(t, open)
		queued, sending, ended := w.accept(), w.claimed(w.accept().ID, 0), w.accept()
		must(t, w.Cancel(w.ctx, calledOff(ended)))
		must(t, w.DoubtSubmissions(w.ctx))
		for id, want := range map[string]bool{queued.ID: true, sending.ID: true, ended.ID: false} {
			stored, err := w.Submission(w.ctx, id)
			must(t, err)
			if stored.InData != want || stored.PossiblyDuplicated {
				t.Errorf("got %+v", stored)
			}
		}
	})
	t.Run("of a worker's claim and a cancellation at once, one is too late", func(t *testing.T) {
		w := newWorld(t, open)
		for range 20 {
			v := w.accept()
			errs := race(2, func(i int) error {
				if i == 0 {
					return w.Cancel(w.ctx, calledOff(v))
				}
				_, err := w.ClaimSubmission(w.ctx, v.ID, "a", noon(), noon().Add(time.Minute))
				return err
			})
			stored, err := w.Submission(w.ctx, v.ID)
			must(t, err)
			switch {
			case errs[0] == nil && fault.Has(errs[1], "work.none") && stored.State == outbox.Failed:
			case errs[1] == nil && fault.Has(errs[0], "work.fenced") && stored.State == outbox.Sending:
			default:
				t.Fatalf("cancel: %v; claim: %v; it is %s", errs[0], errs[1], stored.State)
			}
		}
	})
}
