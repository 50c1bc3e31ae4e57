package outbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

var anna = event.Actor{Kind: event.ActorOperator, Name: "anna"}

func TestOutbox_PeopleActOnWhatWaits(t *testing.T) {
	t.Parallel()
	t.Run("tried at once, although its whole mailbox was to wait", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(noGrant())
		s := p.submit("waiting")
		p.want(p.send(s.ID), outbox.Queued, false, "grant.none", 0)
		p.h.FailLending(nil)
		got, err := p.RetryNow(t.Context(), s.ID, anna)
		if err != nil || got.NextAttemptAt.After(p.clock.Now()) {
			t.Fatalf("%+v, %v", got, err)
		}
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
		if _, err := p.RetryNow(t.Context(), s.ID, anna); !fault.Has(err, "submission.settled") {
			t.Errorf("tried again once sent: %v", err)
		}
		if p.h.Count(t, event.SubmissionHastened) != 1 {
			t.Error("what an operator asked for is no event")
		}
	})
	t.Run("tried at once after a restart, but not before the provider's wait is over", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(&fault.Error{ID: "oauth.rate_limited", Kind: fault.Limited, Text: "Too many requests.", Remedy: "Wait.", Retry: true, RetryAfter: 10 * time.Minute})
		s, other := p.submit("waiting"), p.submit("behind it")
		p.want(p.send(s.ID), outbox.Queued, false, "oauth.rate_limited", 0)
		p.h.FailLending(nil)
		p.Outbox = outbox.New(p.options())
		for _, id := range []string{s.ID, other.ID} {
			if _, err := p.RetryNow(t.Context(), id, anna); err != nil {
				t.Fatal(err)
			}
			got := p.send(id)
			if got.State != outbox.Queued || got.Cause != "oauth.rate_limited" || got.CauseText != "Too many requests." || got.Remedy != "Wait." || got.NextAttemptAt.Before(p.clock.Now().Add(9*time.Minute)) {
				t.Errorf("the provider's wait was not kept: %+v", got)
			}
		}
		p.clock.pass(11 * time.Minute)
		for _, id := range []string{s.ID, other.ID} {
			if got := p.send(id); got.State != outbox.Sent {
				t.Errorf("after the wait: %+v", got)
			}
		}
	})
	t.Run("tried at once after a restart, where nobody but we had to wait", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(noGrant())
		s := p.submit("waiting")
		p.want(p.send(s.ID), outbox.Queued, false, "grant.none", 0)
		p.h.FailLending(nil)
		p.Outbox = outbox.New(p.options())
		if _, err := p.RetryNow(t.Context(), s.ID, anna); err != nil {
			t.Fatal(err)
		}
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	})
	t.Run("called off, and never sent", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		s := p.submit("wrong")
		got, err := p.Cancel(t.Context(), s.ID, anna)
		if err != nil {
			t.Fatal(err)
		}
		p.want(got, outbox.Failed, false, "submission.cancelled", 0)
		p.want(p.send(s.ID), outbox.Failed, false, "submission.cancelled", 0)
		if _, err := p.Cancel(t.Context(), s.ID, anna); !fault.Has(err, "submission.settled") {
			t.Errorf("called off twice: %v", err)
		}
	})
	t.Run("called off when it may be on its way already: that is said", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{SavesSent: true}, nil)
		s := p.submit("wire")
		p.x.Break(exchange.FaultSMTPDataBeforeReply, "")
		p.want(p.send(s.ID), outbox.Queued, false, "smtp.no_reply", 1)
		got, err := p.Cancel(t.Context(), s.ID, anna)
		if err != nil {
			t.Fatal(err)
		}
		p.want(got, outbox.Failed, true, "submission.cancelled", 1)

		again, _, err := p.SendAgain(t.Context(), outbox.Again{ID: s.ID, Actor: anna})
		if err != nil {
			t.Fatal(err)
		}
		p.want(again, outbox.Queued, true, "", 1)
		if got, err = p.Cancel(t.Context(), again.ID, anna); err != nil || !strings.Contains(got.CauseText, "may have been sent") {
			t.Fatalf("%+v, %v", got, err)
		}
		p.want(got, outbox.Failed, true, "submission.cancelled", 1)
	})
	t.Run("what is under way is left alone", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		s := p.submit("wire")
		if _, err := p.h.ClaimSubmission(t.Context(), s.ID, "another", p.clock.Now(), p.clock.Now().Add(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Cancel(t.Context(), s.ID, anna); !fault.Has(err, "submission.under_way") {
			t.Errorf("called off: %v", err)
		}
		if _, err := p.RetryNow(t.Context(), s.ID, anna); !fault.Has(err, "submission.under_way") {
			t.Errorf("tried at once: %v", err)
		}
		if _, _, err := p.SendAgain(t.Context(), outbox.Again{ID: s.ID, Actor: anna}); !fault.Has(err, "submission.not_failed") {
			t.Errorf("sent again: %v", err)
		}
	})
	t.Run("sent again, hidden recipients included, once per key", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		r := request("", "again")
		r.Draft.To, r.Draft.BCC = []message.Party{{Address: "somebody@contoso.test"}}, []message.Party{{Address: protocoltest.Desk}}
		s, _, err := p.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Cancel(t.Context(), s.ID, anna); err != nil {
			t.Fatal(err)
		}
		again, replayed, err := p.SendAgain(t.Context(), outbox.Again{ID: s.ID, Actor: anna, Caller: "anna", IdempotencyKey: "k"})
		if err != nil || replayed || len(again.Envelope.ForwardPaths) != 2 || again.MessageID != s.MessageID {
			t.Fatalf("%+v, %v, %v", again, replayed, err)
		}
		second, replayed, err := p.SendAgain(t.Context(), outbox.Again{ID: s.ID, Actor: anna, Caller: "anna", IdempotencyKey: "k"})
		if err != nil || !replayed || second.ID != again.ID {
			t.Errorf("%s, %v, %v", second.ID, replayed, err)
		}
	})
}
