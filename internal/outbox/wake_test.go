package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

func noGrant() error {
	return &fault.Error{ID: "grant.none", Kind: fault.Conflict, Text: "The mailbox is not authorised yet.", Remedy: "Authorise it."}
}

// running runs the outbox of a post until the test ends or the returned function is called.
func (p *post) running() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return func() {
		p.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	}
}

func (p *post) read(id string) outbox.Submission {
	p.t.Helper()
	s, err := p.h.Submission(context.Background(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *post) due(id string) bool { return !p.clock.Now().Before(p.read(id).NextAttemptAt) }

func TestOutbox_QueuedMailGoesWhenItsMailboxIsConnected(t *testing.T) {
	t.Parallel()
	t.Run("what waits for a grant is sent without a moment passing", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(noGrant())
		first, second := p.submit("one"), p.submit("two")
		p.want(p.send(first.ID), outbox.Queued, false, "grant.none", 0)
		p.want(p.send(second.ID), outbox.Queued, false, "grant.none", 0)
		stop := p.running()
		p.h.FailLending(nil)
		p.Nudge(p.box.ID)
		protocoltest.Await(t, "both are due", func() bool { return p.due(first.ID) && p.due(second.ID) })
		stop()
		p.send(first.ID)
		p.want(p.send(second.ID), outbox.Sent, false, "", 2)
	})
	t.Run("what waits for a mailbox to be resumed", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.Change(t, p.box.ID, func(m *mailbox.Mailbox) { m.Paused = true })
		s := p.submit("waiting")
		p.want(p.send(s.ID), outbox.Queued, false, "mailbox.paused", 0)
		stop := p.running()
		p.h.Change(t, p.box.ID, func(m *mailbox.Mailbox) { m.Paused = false })
		p.Nudge(p.box.ID)
		protocoltest.Await(t, "it is due", func() bool { return p.due(s.ID) })
		stop()
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	})
	t.Run("a nudge just before the end is not lost", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(noGrant())
		s := p.submit("late")
		p.send(s.ID)
		p.Nudge(p.box.ID)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Run(ended); err != nil || !p.due(s.ID) {
			t.Fatalf("%v; it still waits until %s", err, p.read(s.ID).NextAttemptAt)
		}
	})
	t.Run("what a mail server asked to wait for still waits", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		s := p.submit("greylisted")
		p.x.Break(exchange.FaultSMTPDataTemporary, "")
		s = p.send(s.ID)
		p.want(s, outbox.Queued, false, "smtp.temporary", 0)
		p.Nudge(p.box.ID)
		p.running()()
		if again := p.read(s.ID); !again.NextAttemptAt.Equal(s.NextAttemptAt) {
			t.Fatalf("it was to wait until %s, now until %s", s.NextAttemptAt, again.NextAttemptAt)
		}
	})
	t.Run("a rate limit of the provider still holds the queue", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(&fault.Error{ID: "oauth.rate_limited", Kind: fault.Limited, Text: "Too many requests.", Remedy: "Wait.", Retry: true, RetryAfter: 10 * time.Minute})
		first := p.send(p.submit("one").ID)
		p.h.FailLending(nil)
		p.Nudge(p.box.ID)
		p.running()()
		second := p.send(p.submit("two").ID)
		for _, s := range []outbox.Submission{first, second} {
			p.want(p.send(s.ID), outbox.Queued, false, "oauth.rate_limited", 0)
		}
	})
	t.Run("a grant that came during an attempt is tried at once", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		o := p.options()
		var nudged *outbox.Outbox
		o.Lender = lateGrant{p.h, func() { nudged.Nudge(p.box.ID) }}
		nudged = outbox.New(o)
		s := p.submit("meanwhile")
		if err := nudged.Send(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		s = p.read(s.ID)
		p.want(s, outbox.Queued, false, "grant.none", 0)
		p.wait(s, time.Second, time.Second)
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	})
}

// lateGrant finds no grant, and one is adopted before it says so.
type lateGrant struct {
	outbox.Lender
	adopted func()
}

func (l lateGrant) Lend(context.Context, string, string, time.Duration) (token seal.Secret, until time.Time, err error) {
	l.adopted()
	return token, until, noGrant()
}

func TestOutbox_SaysThatAMailboxWasRemoved(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("orphan")
	if err := p.h.DeleteMailbox(t.Context(), p.box.ID, event.New(p.clock.Now(), event.MailboxDeleted, event.System(), "Removed.").About(p.box.ID, p.box.Address)); err != nil {
		t.Fatal(err)
	}
	s = p.send(s.ID)
	p.want(s, outbox.Failed, false, "mailbox.removed", 0)
	if s.CauseText != "The mailbox "+p.box.Address+" was removed." || s.Remedy == "" || p.h.Count(t, event.SubmissionFailed) != 1 {
		t.Errorf("%+v", s)
	}
}
