package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/provider"
)

func TestOutbox_AMessageThatCannotBeReadIsNotSent(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	o := p.options()
	o.Store = damaged{p.h.Store}
	broken := outbox.New(o)
	s := p.submit("damaged")
	if err := broken.Send(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	s, err := p.h.Submission(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.want(s, outbox.Queued, false, "internal", 0)
}

// damaged is a store whose disk fails in the middle of a message.
type damaged struct{ outbox.Store }

func (d damaged) Raw(ctx context.Context, id string) (io.ReadCloser, error) {
	r, err := d.Store.Raw(ctx, id)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 20), broken{}), r}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// watching is a sender that looks at the stored submission before and after the
// first byte of the message goes out.
type watching struct {
	h             *protocoltest.House
	id            string
	before, after bool
}

func (w *watching) Send(ctx context.Context, _ protocol.Endpoint, _ protocol.Login, _ message.Envelope, raw io.Reader, _ int64) (protocol.Receipt, error) {
	inData := func() bool {
		s, err := w.h.Submission(ctx, w.id)
		return err == nil && s.InData
	}
	w.before = inData()
	if _, err := raw.Read(make([]byte, 1)); err != nil {
		return protocol.Receipt{}, err
	}
	w.after = inData()
	return protocol.Receipt{}, &fault.Error{ID: "smtp.temporary", Kind: fault.Temporary, Retry: true, Text: "Not now."}
}

func TestOutbox_RecordsThatTheMessageIsOnTheWireBeforeItIs(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("recorded")
	w := &watching{h: p.h, id: s.ID}
	o := p.options()
	o.Senders = func(protocol.Name) protocol.Sender { return w }
	if err := outbox.New(o).Send(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if w.before || !w.after {
		t.Fatalf("on the wire: %v before the first byte was asked for, %v after it", w.before, w.after)
	}
	got, err := p.h.Submission(t.Context(), s.ID)
	if err != nil || got.InData {
		t.Fatalf("a definite refusal leaves the message as perhaps sent: %+v, %v", got, err)
	}
}

func TestOutbox_AProcessThatLostItsLeaseSendsNothing(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("fenced")
	o := p.options()
	o.Directory = overtaken{p.h, p, s.ID}
	if err := outbox.New(o).Send(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	got, err := p.h.Submission(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if p.want(got, outbox.Sending, false, "", 0); got.Lease.Owner != "successor" {
		t.Fatalf("%+v", got)
	}
}

// overtaken lets another process take the submission over while this one looks
// for the mailbox.
type overtaken struct {
	*protocoltest.House
	p  *post
	id string
}

func (o overtaken) MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error) {
	later := o.p.clock.Now().Add(time.Hour)
	if _, err := o.ClaimSubmission(ctx, o.id, "successor", later, later.Add(time.Minute)); err != nil {
		return mailbox.Mailbox{}, err
	}
	return o.House.MailboxByID(ctx, id)
}

// A process that slept over its lease in the middle of a message sends no more of
// it: without its end, the server keeps nothing.
func TestOutbox_NothingGoesOutOnceTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{}, nil)
	s := p.submit("slept over")
	o := p.options()
	o.Senders = func(protocol.Name) protocol.Sender { return sleepy{p} }
	if err := outbox.New(o).Send(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	got, err := p.h.Submission(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if p.want(got, outbox.Queued, false, "", 0); got.InData {
		t.Fatal("it counts as perhaps sent, and was not")
	}
}

// sleepy reads a little of the message, and the rest an hour later.
type sleepy struct{ p *post }

func (s sleepy) Send(_ context.Context, _ protocol.Endpoint, _ protocol.Login, _ message.Envelope, raw io.Reader, _ int64) (protocol.Receipt, error) {
	if _, err := io.ReadFull(raw, make([]byte, 10)); err != nil {
		return protocol.Receipt{}, err
	}
	s.p.clock.pass(time.Hour)
	if _, err := io.ReadAll(raw); err != nil {
		return protocol.Receipt{}, fmt.Errorf("read the message to send: %w", err)
	}
	return protocol.Receipt{Reply: "250 OK"}, nil
}

// What a server takes although another process has taken over is marked: nobody
// can take it back.
func TestOutbox_AMessageThatIsTakenLateIsMarked(t *testing.T) {
	t.Parallel()
	p := newPost(t, provider.Traits{SavesSent: true}, nil)
	s := p.submit("late")
	o := p.options()
	o.Senders = func(protocol.Name) protocol.Sender { return overslept{p, s.ID} }
	if err := outbox.New(o).Send(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	got, err := p.h.Submission(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.want(got, outbox.Sent, true, "", 1)
	if n := p.h.Count(t, event.SubmissionDoubled); n != 1 {
		t.Errorf("%d events", n)
	}
}

// overslept reads the whole message and sleeps before the server answers;
// meanwhile another process sends it.
type overslept struct {
	p  *post
	id string
}

func (o overslept) Send(ctx context.Context, _ protocol.Endpoint, _ protocol.Login, _ message.Envelope, raw io.Reader, _ int64) (protocol.Receipt, error) {
	if _, err := io.ReadAll(raw); err != nil {
		return protocol.Receipt{}, err
	}
	o.p.clock.pass(time.Hour)
	next := o.p.options()
	next.Owner = "successor"
	if err := outbox.New(next).Send(ctx, o.id); err != nil {
		return protocol.Receipt{}, err
	}
	return protocol.Receipt{Reply: "250 OK"}, nil
}
