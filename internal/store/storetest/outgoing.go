package storetest

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// submission is one to accept at noon.
func submission(key, body string) outbox.Submission {
	return outbox.Submission{
		ID: event.NewID(), MailboxID: "m", Mailbox: "desk@example.org", Caller: "caller", IdempotencyKey: key, BodyDigest: hashed(body),
		Envelope:  message.Envelope{ReversePath: "desk@example.org", ForwardPaths: []string{"a@example.org", "b@example.org"}},
		MessageID: "1@example.org", Subject: "Hello", Size: int64(len(body)), State: outbox.Queued,
		NextAttemptAt: noon(), ExpiresAt: noon().Add(time.Hour), CreatedAt: noon(),
	}
}

// accepted is the event of it.
func accepted(v outbox.Submission) event.Event {
	return event.New(noon(), event.SubmissionAccepted, event.System(), "Accepted.").About(v.MailboxID, v.Mailbox)
}

// accept accepts one without a key.
func (w *world) accept() outbox.Submission {
	w.t.Helper()
	v := submission("", "body")
	stored, replayed, err := w.Accept(w.ctx, v, []byte("body"), accepted(v))
	must(w.t, err)
	if replayed {
		w.t.Fatal("a submission without a key was taken for another")
	}
	return stored
}

// claimed claims a submission a while after noon.
func (w *world) claimed(id string, after time.Duration) outbox.Submission {
	w.t.Helper()
	v, err := w.ClaimSubmission(w.ctx, id, "a", noon().Add(after), noon().Add(after+time.Minute))
	must(w.t, err)
	return v
}

func (w *world) dueSubmissions(after time.Duration) []string {
	w.t.Helper()
	ids, err := w.DueSubmissions(w.ctx, noon().Add(after), 10)
	must(w.t, err)
	return ids
}

func submissions(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("is accepted once per key, however often at once", func(t *testing.T) {
		w := newWorld(t, open)
		ids, replays := make([]string, 10), make([]bool, 10)
		errs := race(10, func(i int) error {
			v := submission("key", "body")
			stored, replayed, err := w.Accept(w.ctx, v, []byte("body"), accepted(v))
			ids[i], replays[i] = stored.ID, replayed
			return err
		})
		fresh := 0
		for i, err := range errs {
			must(t, err)
			if ids[i] != ids[0] {
				t.Error("two submissions were made under one key")
			}
			if !replays[i] {
				fresh++
			}
		}
		if fresh != 1 || w.events(event.SubmissionAccepted) != 1 {
			t.Errorf("%d were accepted, %d events", fresh, w.events(event.SubmissionAccepted))
		}
		other := submission("key", "another body")
		_, _, err := w.Accept(w.ctx, other, []byte("another body"), accepted(other))
		wantFault(t, err, "idempotency.key_reused", fault.Invalid)
		other.Caller = "somebody else"
		if _, replayed, err := w.Accept(w.ctx, other, []byte("another body"), accepted(other)); err != nil || replayed {
			t.Errorf("another caller's key was taken for the first's (%v)", err)
		}
		w.accept()
		w.accept()
	})
	t.Run("comes back whole", func(t *testing.T) {
		w := newWorld(t, open)
		v := submission("key", "body")
		_, _, err := w.Accept(w.ctx, v, []byte("body"), accepted(v))
		must(t, err)
		stored, err := w.Submission(w.ctx, v.ID)
		must(t, err)
		if diff := cmp.Diff(v, stored); diff != "" {
			t.Error(diff)
		}
		raw, err := w.Raw(w.ctx, v.ID)
		must(t, err)
		content, err := io.ReadAll(raw)
		must(t, err)
		if string(content) != "body" || raw.Close() != nil {
			t.Errorf("got %q", content)
		}
		_, err = w.Submission(w.ctx, "none")
		wantFault(t, err, "submission.unknown", fault.NotFound)
	})
	t.Run("taken late it is possibly duplicated, unless it was found", func(t *testing.T) {
		w := newWorld(t, open)
		for name, c := range map[string]struct {
			before, after func(outbox.Submission) // what the successor does before and after the late acceptance
			marked        bool
		}{
			"settled before":           {before: w.settledAs(false), marked: true},
			"settled after":            {after: w.settledAs(false), marked: true},
			"found before":             {before: w.settledAs(true), marked: false},
			"found after":              {after: w.settledAs(true), marked: false},
			"nobody has taken it over": {marked: false},
		} {
			first := w.claimed(w.accept().ID, 0)
			second := first
			if c.before != nil || c.after != nil {
				second = w.claimed(first.ID, time.Hour)
			}
			if c.before != nil {
				c.before(second)
			}
			told := w.events(event.SubmissionDoubled)
			late := outbox.Late{ID: first.ID, Fence: first.Lease.Fence, Event: event.New(noon(), event.SubmissionDoubled, event.System(), "Taken late.")}
			must(t, w.TakenLate(w.ctx, late))
			late.Event.ID = event.NewID()
			must(t, w.TakenLate(w.ctx, late))
			if c.after != nil {
				c.after(second)
			}
			after, err := w.Submission(w.ctx, first.ID)
			must(t, err)
			if after.PossiblyDuplicated != c.marked || c.marked && w.events(event.SubmissionDoubled) != told+1 {
				t.Errorf("%s: possibly duplicated: %v, want %v; %d events more", name, after.PossiblyDuplicated, c.marked, w.events(event.SubmissionDoubled)-told)
			}
		}
	})
	t.Run("is claimed by one", func(t *testing.T) {
		w := newWorld(t, open)
		v := w.accept()
		errs := race(10, func(int) error {
			_, err := w.ClaimSubmission(w.ctx, v.ID, event.NewID(), noon(), noon().Add(time.Minute))
			return err
		})
		if won := tally(t, errs, "work.later"); won != 1 {
			t.Errorf("%d claimed it", won)
		}
		_, err := w.ClaimSubmission(w.ctx, "none", "a", noon(), noon())
		wantFault(t, err, "work.none", fault.NotFound)
	})
	t.Run("an attempt that nobody settled is found again, with what it did", func(t *testing.T) {
		w := newWorld(t, open)
		v := w.claimed(w.accept().ID, 0)
		if v.State != outbox.Sending || v.InData {
			t.Errorf("got %+v", v)
		}
		must(t, w.EnterData(w.ctx, v.ID, v.Lease.Fence))
		if ids := w.dueSubmissions(59 * time.Second); len(ids) != 0 {
			t.Errorf("got %v under a lease", ids)
		}
		if ids := w.dueSubmissions(time.Minute); len(ids) != 1 {
			t.Errorf("got %v", ids)
		}
		again := w.claimed(v.ID, time.Minute)
		if !again.InData || again.Lease.Fence != v.Lease.Fence+1 {
			t.Errorf("got %+v", again)
		}
		settled := outbox.Settlement{ID: v.ID, Fence: v.Lease.Fence, State: outbox.Sent, Now: noon(), Event: accepted(v)}
		wantFault(t, w.Settle(w.ctx, settled), "work.fenced", fault.Conflict)
		wantFault(t, w.EnterData(w.ctx, v.ID, v.Lease.Fence), "work.fenced", fault.Conflict)
		wantFault(t, w.Retry(w.ctx, outbox.Retry{ID: v.ID, Fence: v.Lease.Fence}), "work.fenced", fault.Conflict)
		settled.Fence, settled.PossiblyDuplicated, settled.Reply = again.Lease.Fence, true, "250 \x00\xff fine"
		must(t, w.Settle(w.ctx, settled))
		wantFault(t, w.Settle(w.ctx, settled), "work.fenced", fault.Conflict)
		stored, err := w.Submission(w.ctx, v.ID)
		must(t, err)
		if stored.State != outbox.Sent || !stored.PossiblyDuplicated || stored.InData || stored.Attempts != 1 || !stored.SettledAt.Equal(noon()) || !strings.HasPrefix(stored.Reply, "250 ") {
			t.Errorf("got %+v", stored)
		}
		_, err = w.ClaimSubmission(w.ctx, v.ID, "a", noon().Add(time.Hour), noon().Add(2*time.Hour))
		wantFault(t, err, "work.none", fault.NotFound)
	})
	t.Run("a retry waits its time", func(t *testing.T) {
		w := newWorld(t, open)
		v := w.claimed(w.accept().ID, 0)
		must(t, w.Retry(w.ctx, outbox.Retry{
			ID: v.ID, Fence: v.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Attempted: true, InData: true, Cause: "smtp.busy", CauseText: "Busy.", Now: noon(),
		}))
		later, err := w.ClaimSubmission(w.ctx, v.ID, "a", noon().Add(time.Minute), noon().Add(time.Hour))
		wantFault(t, err, "work.later", fault.Conflict)
		if later.State != outbox.Queued || later.Attempts != 1 || !later.InData || later.Cause != "smtp.busy" || !later.NextAttemptAt.Equal(noon().Add(time.Hour)) {
			t.Errorf("got %+v", later)
		}
		if a, b := w.dueSubmissions(59*time.Minute), w.dueSubmissions(time.Hour); len(a) != 0 || len(b) != 1 {
			t.Errorf("due: %v, %v", a, b)
		}
		if w.events(event.SubmissionRetrying) != 0 {
			t.Error("no event was given, and one was written")
		}
	})
	t.Run("a retry keeps the wait that the provider asked for", func(t *testing.T) {
		w := newWorld(t, open)
		id := w.accept().ID
		hold := func(h outbox.Hold, now time.Duration) {
			t.Helper()
			v := w.claimed(id, now)
			must(t, w.Retry(w.ctx, outbox.Retry{ID: id, Fence: v.Lease.Fence, NextAttemptAt: noon().Add(now), Now: noon().Add(now), Hold: h}))
		}
		kept := func(after time.Duration, want ...outbox.Hold) {
			t.Helper()
			got, err := w.Holds(w.ctx, noon().Add(after))
			must(t, err)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("after %v: %s", after, d)
			}
		}
		long := outbox.Hold{MailboxID: "m", Until: noon().Add(time.Hour), Cause: "oauth.rate_limited", CauseText: "Too \x00 many.", Remedy: "Wait."}
		short, other := long, long
		short.Until, other.MailboxID, other.Until = noon().Add(time.Minute), "n", noon().Add(2*time.Minute)
		hold(outbox.Hold{}, 0)
		kept(0)
		hold(long, 0)
		hold(short, 0) // shortens nothing
		hold(other, 0)
		long.CauseText, other.CauseText = "Too \uFFFD many.", "Too \uFFFD many."
		kept(0, long, other)
		kept(2*time.Minute, long)
		kept(time.Hour)
		short.Until = noon().Add(3 * time.Hour)
		hold(short, 2*time.Hour)
		short.CauseText = "Too \uFFFD many."
		kept(0, short) // those that had ended are gone
		v := w.claimed(id, 2*time.Hour)
		wantFault(t, w.Retry(w.ctx, outbox.Retry{ID: id, Fence: v.Lease.Fence - 1, Hold: outbox.Hold{MailboxID: "late", Until: noon().Add(9 * time.Hour)}}), "work.fenced", fault.Conflict)
		kept(0, short)
	})
	t.Run("is due at once when what its mailbox lacked is there", func(t *testing.T) {
		w := newWorld(t, open)
		retry := func(id, cause string) {
			v := w.claimed(id, 0)
			must(t, w.Retry(w.ctx, outbox.Retry{ID: v.ID, Fence: v.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Attempted: true, Cause: cause, CauseText: "Waits.", Now: noon()}))
		}
		waiting, greylisted, underWay, other := w.accept(), w.accept(), w.accept(), submission("", "body")
		other.MailboxID = "another"
		_, _, err := w.Accept(w.ctx, other, []byte("body"), accepted(other))
		must(t, err)
		retry(waiting.ID, "grant.none")
		retry(greylisted.ID, "smtp.temporary")
		retry(other.ID, "grant.none")
		w.claimed(underWay.ID, 0)
		if ids := w.dueSubmissions(30 * time.Second); len(ids) != 0 {
			t.Fatalf("due before: %v", ids)
		}
		wake := func() (int, error) {
			return w.WakeSubmissions(w.ctx, "m", func(cause string) bool { return cause == "grant.none" }, noon().Add(30*time.Second))
		}
		for _, want := range []int{1, 0} {
			if n, err := wake(); err != nil || n != want {
				t.Fatalf("%d were woken (%v), want %d", n, err, want)
			}
		}
		if ids := w.dueSubmissions(30 * time.Second); len(ids) != 1 || ids[0] != waiting.ID {
			t.Errorf("due: %v, want the one that waited for its grant", ids)
		}
		woken := w.claimed(waiting.ID, 30*time.Second)
		if woken.Cause != "grant.none" || woken.Attempts != 1 {
			t.Errorf("got %+v", woken)
		}
	})
	t.Run("lists, and removal after its retention", func(t *testing.T) {
		w := newWorld(t, open)
		first, second := w.accept(), w.accept()
		v := w.claimed(first.ID, 0)
		must(t, w.Settle(w.ctx, outbox.Settlement{ID: v.ID, Fence: v.Lease.Fence, State: outbox.Failed, Now: noon(), Event: accepted(v)}))
		queued, err := w.Submissions(w.ctx, outbox.Filter{States: []outbox.State{outbox.Queued}, MailboxIDs: []string{"m"}})
		must(t, err)
		older, err := w.Submissions(w.ctx, outbox.Filter{Before: second.ID})
		must(t, err)
		if len(queued.Submissions) != 1 || queued.Submissions[0].ID != second.ID || len(older.Submissions) != 1 || older.Submissions[0].ID != first.ID {
			t.Errorf("got %v and %v", queued, older)
		}
		for _, want := range []int{1, 0} {
			if n, err := w.PurgeSubmissions(w.ctx, noon().Add(time.Second), 10); err != nil || n != want {
				t.Fatalf("%d purged (%v)", n, err)
			}
		}
		_, err = w.Raw(w.ctx, first.ID)
		wantFault(t, err, "submission.unknown", fault.NotFound)
	})
}

// settledAs gives what settles a submission as sent.
func (w *world) settledAs(found bool) func(outbox.Submission) {
	return func(v outbox.Submission) {
		w.t.Helper()
		must(w.t, w.Settle(w.ctx, outbox.Settlement{
			ID: v.ID, Fence: v.Lease.Fence, State: outbox.Sent, Found: found, Now: noon(), Event: event.New(noon(), event.SubmissionSent, event.System(), "Sent."),
		}))
	}
}
