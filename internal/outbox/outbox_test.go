package outbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// post is an Outbox at an Exchange, under a clock that the test moves.
type post struct {
	*outbox.Outbox
	t     *testing.T
	x     *protocoltest.Exchange
	h     *protocoltest.House
	box   mailbox.Mailbox
	clock *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newPost(t *testing.T, traits provider.Traits, change func(*mailbox.Mailbox)) *post {
	t.Helper()
	p := &post{t: t, x: protocoltest.StartExchange(t), clock: &clock{now: time.Now()}}
	p.h = protocoltest.NewHouse(t, p.x.Bench)
	p.h.Traits = traits
	p.box = p.h.Add(t, protocoltest.Adele, change)
	p.Outbox = outbox.New(p.options())
	return p
}

func (p *post) options() outbox.Options {
	member := smtp.New()
	return outbox.Options{
		Store: p.h.Store, Lender: p.h, Directory: p.h, Owner: event.NewID(), Now: p.clock.Now,
		Senders:     func(protocol.Name) protocol.Sender { return member },
		SentFinders: func(protocol.Name) protocol.SentFinder { return imap.New() },
	}
}

func request(key, subject string) outbox.Request {
	return outbox.Request{
		Actor: event.Actor{Kind: event.ActorAPIKey, Name: "erp"}, Caller: "erp", IdempotencyKey: key,
		Draft: &message.Draft{From: message.Party{Address: protocoltest.Adele}, To: []message.Party{{Address: protocoltest.Desk}}, Subject: subject, Text: "Hello."},
	}
}

func (p *post) submit(subject string) outbox.Submission {
	p.t.Helper()
	s, replayed, err := p.Submit(p.t.Context(), request("", subject))
	if err != nil || replayed || s.State != outbox.Queued {
		p.t.Fatalf("%+v, %v, %v", s, replayed, err)
	}
	return s
}

// send makes one attempt and gives what has come of the submission.
func (p *post) send(id string) outbox.Submission {
	p.t.Helper()
	if err := p.Send(p.t.Context(), id); err != nil {
		p.t.Fatal(err)
	}
	s, err := p.h.Submission(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// want ends the test unless the submission stands so and the desk has so many
// messages.
func (p *post) want(s outbox.Submission, state outbox.State, duplicated bool, cause string, arrived int) {
	p.t.Helper()
	if got := len(p.x.Messages(protocoltest.Desk, "INBOX")); s.State != state || s.PossiblyDuplicated != duplicated || s.Cause != cause || got != arrived {
		p.t.Fatalf("%s, possibly duplicated %v, cause %q, %d arrived; want %s, %v, %q, %d\n%+v", s.State, s.PossiblyDuplicated, s.Cause, got, state, duplicated, cause, arrived, s)
	}
}

func (p *post) wait(s outbox.Submission, atLeast, atMost time.Duration) {
	p.t.Helper()
	d := s.NextAttemptAt.Sub(p.clock.Now())
	if d < atLeast-time.Second || d > atMost {
		p.t.Fatalf("the next attempt is in %s, want %s to %s", d, atLeast, atMost)
	}
	if again := p.send(s.ID); again.Attempts != s.Attempts || again.State != s.State {
		p.t.Fatalf("it was tried before it was due: %+v", again)
	}
	p.clock.pass(d)
}

func TestOutbox_SendsOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("hello")
	p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	if p.h.Count(t, event.SubmissionAccepted) != 1 || p.h.Count(t, event.SubmissionSent) != 1 {
		t.Error("accepted and sent are not one event each")
	}
	got := message.Parse(p.x.Messages(protocoltest.Desk, "INBOX")[0].Raw)
	if got.Subject != "hello" || got.MessageID != s.MessageID {
		t.Errorf("arrived: %+v", got)
	}
}

func TestOutbox_AcceptsOncePerIdempotencyKey(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	var wait sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wait.Go(func() {
			s, _, err := p.Submit(t.Context(), request("key", "same"))
			if err != nil {
				t.Error(err)
			}
			ids[i] = s.ID
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key gave two submissions: %q", ids)
		}
	}
	if _, _, err := p.Submit(t.Context(), request("key", "other")); !fault.Has(err, "idempotency.key_reused") {
		t.Fatalf("another body under the key: %v", err)
	}
	other := request("key", "other")
	other.Caller = "crm"
	if s, replayed, err := p.Submit(t.Context(), other); err != nil || replayed || s.ID == ids[0] {
		t.Fatalf("another caller's key: %v, %v", replayed, err)
	}
}

func TestOutbox_RefusesWhatItCannotSend(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	p.h.Add(t, protocoltest.Desk, func(m *mailbox.Mailbox) { m.Send = nil })
	for outcome, change := range map[string]func(*outbox.Request){
		"an unknown mailbox":            func(r *outbox.Request) { r.Draft.From.Address = "nobody@contoso.test" },
		"a mailbox that does not send":  func(r *outbox.Request) { r.Mailbox = protocoltest.Desk },
		"no sender at all":              func(r *outbox.Request) { r.Draft.From = message.Party{} },
		"a line break in the subject":   func(r *outbox.Request) { r.Draft.Subject = "a\nBcc: x@y.test" },
		"a raw message without header":  func(r *outbox.Request) { r.Draft, r.Raw = nil, []byte("hello") },
		"a key without bounds":          func(r *outbox.Request) { r.IdempotencyKey = string(make([]byte, 300)) },
		"a raw message to nobody there": func(r *outbox.Request) { r.Draft, r.Raw = nil, []byte("From: "+protocoltest.Adele+"\n\nx") },
	} {
		r := request("", "x")
		change(&r)
		if _, _, err := p.Submit(t.Context(), r); err == nil || fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", outcome, err)
		}
	}
}

func TestOutbox_RetriesWhatPasses(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("patience")
	p.x.Break(exchange.FaultSMTPDataTemporary, "")
	for _, d := range []time.Duration{1, 5, 10, 20} {
		s = p.send(s.ID)
		p.want(s, outbox.Queued, false, "smtp.temporary", 0)
		p.wait(s, d*time.Minute, d*time.Minute)
	}
	if n := p.h.Count(t, event.SubmissionRetrying); n != 1 {
		t.Errorf("one passing fault was told %d times", n)
	}
	p.x.Mend()
	p.want(p.send(s.ID), outbox.Sent, false, "", 1)
}

func TestOutbox_ABrokenWireIsResolved(t *testing.T) {
	t.Parallel()
	t.Run("found among the sent messages: sent, and once", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{SavesSent: true}, nil)
		s := p.submit("wire")
		p.x.Break(exchange.FaultSMTPDataBeforeReply, "")
		s = p.send(s.ID)
		p.want(s, outbox.Queued, false, "smtp.no_reply", 1)
		p.x.Mend()
		p.wait(s, time.Minute, time.Minute)
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	})
	t.Run("nothing can decide: sent again and marked", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{SavesSent: true}, func(m *mailbox.Mailbox) { m.Receive = nil })
		s := p.submit("wire")
		p.x.Break(exchange.FaultSMTPDataBeforeReply, "")
		s = p.send(s.ID)
		p.x.Mend()
		p.wait(s, time.Minute, time.Minute)
		p.want(p.send(s.ID), outbox.Sent, true, "", 2)
	})
	t.Run("while nobody can look, it waits, and in the end it is sent and marked", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{SavesSent: true}, nil)
		s := p.submit("wire")
		p.x.Break(exchange.FaultSMTPDataBeforeReply, "")
		s = p.send(s.ID)
		p.x.Mend()
		p.x.Break(exchange.FaultIMAPSelect, "")
		for range 4 {
			p.wait(s, time.Minute, time.Minute)
			s = p.send(s.ID)
			p.want(s, outbox.Queued, false, "imap.unavailable", 1)
		}
		p.wait(s, time.Minute, time.Minute)
		p.want(p.send(s.ID), outbox.Sent, true, "", 2)
	})
	for saves, marked := range map[bool]bool{true: false, false: true} {
		t.Run(fmt.Sprintf("a process that died in the data, where the server keeps copies: %v", saves), func(t *testing.T) {
			t.Parallel()
			p := newPost(t, provider.Traits{SavesSent: saves}, nil)
			s := p.submit("crash")
			dead, err := p.h.ClaimSubmission(t.Context(), s.ID, "dead", p.clock.Now(), p.clock.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.h.EnterData(t.Context(), s.ID, dead.Lease.Fence); err != nil {
				t.Fatal(err)
			}
			p.want(p.send(s.ID), outbox.Sending, false, "", 0)
			p.clock.pass(time.Minute)
			p.want(p.send(s.ID), outbox.Sent, marked, "", 1)
			if err := p.h.Settle(t.Context(), outbox.Settlement{ID: s.ID, Fence: dead.Lease.Fence, State: outbox.Failed, Now: p.clock.Now()}); !fault.Has(err, "work.fenced") {
				t.Fatalf("the dead process wrote: %v", err)
			}
		})
	}
}

func TestOutbox_EndsWhatCannotBe(t *testing.T) {
	t.Parallel()
	t.Run("a recipient that does not exist", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		r := request("", "x")
		r.Draft.To = append(r.Draft.To, message.Party{Address: "gone@contoso.test"})
		s, _, err := p.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		s = p.send(s.ID)
		p.want(s, outbox.Failed, false, "smtp.recipient_refused", 0)
		if s.Reply == "" || s.Remedy == "" || p.h.Count(t, event.SubmissionFailed) != 1 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a sender that is not allowed", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		r := request("", "x")
		r.Mailbox, r.Draft.From.Address = protocoltest.Adele, protocoltest.Desk
		s, _, err := p.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		p.want(p.send(s.ID), outbox.Failed, false, "smtp.send_as_denied", 0)
	})
	t.Run("what waited too long", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		s := p.submit("late")
		p.x.Break(exchange.FaultSMTPMail, "")
		p.send(s.ID)
		p.clock.pass(72 * time.Hour)
		p.x.Mend()
		p.want(p.send(s.ID), outbox.Expired, false, "smtp.temporary", 0)
		if p.h.Count(t, event.SubmissionExpired) != 1 {
			t.Error("it expired silently")
		}
	})
}

func TestOutbox_HoldsTheQueueOfAMailboxThatMayNotSend(t *testing.T) {
	t.Parallel()
	t.Run("an access token that is refused", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.x.Honour(protocoltest.AccessToken(protocoltest.Adele), false)
		first, second := p.submit("one"), p.submit("two")
		p.want(p.send(first.ID), outbox.Queued, false, "smtp.auth_refused", 0)
		tried := p.x.Calls("AUTH")
		s := p.send(second.ID)
		if p.want(s, outbox.Queued, false, "smtp.auth_refused", 0); s.Attempts != 0 || p.x.Calls("AUTH") != tried || p.h.RefusedTimes() != 1 {
			t.Fatalf("the second message was tried: %+v", s)
		}
		p.x.Honour(protocoltest.AccessToken(protocoltest.Adele), true)
		p.Nudge(p.box.ID)
		p.clock.pass(time.Minute)
		p.send(first.ID)
		p.want(p.send(second.ID), outbox.Sent, false, "", 2)
	})
	t.Run("a mailbox that was never authorised", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.FailLending(&fault.Error{ID: "grant.none", Kind: fault.Conflict, Text: "The mailbox is not authorised yet.", Remedy: "Authorise it."})
		s := p.submit("early")
		s = p.send(s.ID)
		if p.want(s, outbox.Queued, false, "grant.none", 0); s.Remedy != "Authorise it." {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("a paused mailbox", func(t *testing.T) {
		t.Parallel()
		p := newPost(t, provider.Traits{}, nil)
		p.h.Change(t, p.box.ID, func(m *mailbox.Mailbox) { m.Paused = true })
		s := p.submit("waiting")
		if s.CauseText == "" {
			t.Error("the submission does not say that it waits")
		}
		s = p.send(s.ID)
		p.want(s, outbox.Queued, false, "mailbox.paused", 0)
		p.h.Change(t, p.box.ID, func(m *mailbox.Mailbox) { m.Paused = false })
		p.clock.pass(5 * time.Minute)
		p.want(p.send(s.ID), outbox.Sent, false, "", 1)
	})
}

func TestOutbox_KeepsToTheRateOfTheMailbox(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{RatePerMinute: 3, Connections: 3}, nil)
	var ids []string
	for i := range 5 {
		ids = append(ids, p.submit(fmt.Sprint(i)).ID)
	}
	for i, id := range ids {
		s := p.send(id)
		if sent := s.State == outbox.Sent; sent != (i < 3) || s.Cause != "" || !sent && s.Attempts != 0 {
			t.Fatalf("message %d: %+v", i, s)
		}
	}
	p.clock.pass(time.Minute)
	for _, id := range ids[3:] {
		if s := p.send(id); s.State != outbox.Sent {
			t.Fatalf("after a minute: %+v", s)
		}
	}
}

func TestOutbox_TheSweepSendsWhatIsDue(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	o := p.options()
	o.Sweep = 20 * time.Millisecond
	sweeping := outbox.New(o)
	for i := range 10 {
		p.submit(fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sweeping.Run(ctx) }()
	protocoltest.Await(t, "all messages", func() bool {
		p.clock.pass(time.Second)
		return p.h.Count(t, event.SubmissionSent) == 10
	})
	cancel()
	if err := <-ended; err != nil || len(p.x.Messages(protocoltest.Desk, "INBOX")) != 10 {
		t.Fatalf("%v, %d arrived", err, len(p.x.Messages(protocoltest.Desk, "INBOX")))
	}
}
