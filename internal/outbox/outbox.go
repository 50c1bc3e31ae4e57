// Package outbox accepts messages for sending, once per idempotency key, and
// sends each until it is sent, refused for good, or expired. Nothing ends
// silently: every outcome is an event.
//
//	          Submit                 250                        ┌──────┐
//	(none) ──────────▶ queued ─────▶ sending ──────────────────▶│ sent │
//	                     ▲  retry: 4yz, network, no access token │      │
//	                     └──────────────┘ │ 5yz                  └──────┘
//	                     │ too old        ▼
//	                     ▼              failed
//	                  expired
//
// A message is sent twice only where a connection broke between the message
// and the server's reply, or the process died there. Then the sent messages of
// the mailbox are looked at first: found means sent. Where they cannot decide,
// the message is sent again and marked as possibly duplicated. So is one that a
// server takes from a process that had been held for dead (late.go).
package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Options are what an Outbox is made of. Zero durations and numbers mean the
// defaults named.
type Options struct {
	Store       Store
	Lender      Lender
	Directory   Directory
	Senders     Senders
	SentFinders SentFinders
	Budget      *work.Budget     // shared with all that draws on mailboxes; a new one
	Owner       string           // names this run of this process
	Now         func() time.Time // time.Now
	Logger      *slog.Logger

	Expiry      time.Duration // how long a message may wait: 72 h
	Retention   time.Duration // how long settled ones are kept: 30 days
	Lease       time.Duration // of one attempt: 15 min
	Sweep       time.Duration // how often due ones are looked for: 15 s
	Concurrency int           // attempts at once that the sweep makes: 8
	Connections int           // of one mailbox where its provider names no bound: 10
}

// Outbox is the capability.
type Outbox struct {
	Options
	bell    chan struct{} // rung by Nudge
	mu      sync.Mutex
	holds   map[string]hold      // by mailbox
	learnt  bool                 // the kept ones are among them
	detours map[string]time.Time // by mailbox: until when the second way is taken
	nudged  map[string]bool      // mailboxes whose submissions are to be woken
	nudges  map[string]int       // how often, by mailbox
}

// New makes an Outbox.
func New(o Options) *Outbox {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Budget == nil {
		o.Budget = work.NewBudget()
	}
	o.Expiry = orDefault(o.Expiry, 72*time.Hour)
	o.Retention = orDefault(o.Retention, 30*24*time.Hour)
	o.Lease = max(orDefault(o.Lease, 15*time.Minute), 2*time.Minute)
	o.Sweep = orDefault(o.Sweep, 15*time.Second)
	o.Concurrency = orDefault(o.Concurrency, 8)
	o.Connections = orDefault(o.Connections, 10)
	return &Outbox{Options: o, bell: make(chan struct{}, 1), holds: map[string]hold{}, detours: map[string]time.Time{}, nudged: map[string]bool{}, nudges: map[string]int{}}
}

func orDefault[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// Request is what a program asks to send: a Draft or a complete message.
type Request struct {
	Actor          event.Actor
	Caller         string // the scope of IdempotencyKey: an API key, an operator
	IdempotencyKey string // empty: none
	Mailbox        string // address of the mailbox that sends; empty: the one of From
	Draft          *message.Draft
	Raw            []byte // message/rfc822, when Draft is nil
	// May refuses a mailbox that the caller has no right to send with; nil: every
	// one is allowed. It is asked before the mailbox is looked up.
	May func(address string) error
}

// Submit accepts a message: when it returns without error, the message is
// stored and will be sent, fail or expire with an event. A repeated request
// gives the submission of the first; replayed is then true. A message of a
// paused mailbox waits; CauseText says so.
func (o *Outbox) Submit(ctx context.Context, r Request) (s Submission, replayed bool, err error) {
	box, out, err := o.prepare(ctx, r, o.Now())
	if err != nil {
		return Submission{}, false, err
	}
	digest, err := r.digest(box.Address)
	if err != nil {
		return Submission{}, false, err
	}
	return o.accept(ctx, box, out, r, digest, false)
}

// accept stores a message that is ready to be sent.
func (o *Outbox) accept(ctx context.Context, box mailbox.Mailbox, out message.Outgoing, r Request, digest []byte, doubtful bool) (Submission, bool, error) {
	now := o.Now()
	s := Submission{
		ID: event.NewID(), MailboxID: box.ID, Mailbox: box.Address, Caller: r.Caller, IdempotencyKey: r.IdempotencyKey, BodyDigest: digest,
		Envelope: out.Envelope, MessageID: out.MessageID, Subject: out.Subject, Size: int64(len(out.Raw)), State: Queued, PossiblyDuplicated: doubtful,
		NextAttemptAt: now, ExpiresAt: now.Add(o.Expiry), CreatedAt: now,
	}
	e := event.New(now, event.SubmissionAccepted, r.Actor, fmt.Sprintf("A message to %s was accepted for sending.", recipients(out.Envelope))).
		About(box.ID, box.Address).With("submission_id", s.ID)
	s, replayed, err := o.Store.Accept(ctx, s, out.Raw, e)
	if err != nil {
		return Submission{}, false, err
	}
	if s.State == Queued && box.Paused {
		p := paused(box.Address)
		s.Cause, s.CauseText, s.Remedy = p.ID, p.Text, p.Remedy
	}
	return s, replayed, nil
}

// prepare finds the mailbox and makes the message.
func (o *Outbox) prepare(ctx context.Context, r Request, now time.Time) (mailbox.Mailbox, message.Outgoing, error) {
	if len(r.IdempotencyKey) > 255 {
		return mailbox.Mailbox{}, message.Outgoing{}, invalid("Idempotency-Key", "The idempotency key is longer than 255 bytes.", "Use a shorter one, such as a UUID.")
	}
	var (
		box mailbox.Mailbox
		out message.Outgoing
		err error
	)
	find := func(address string) error {
		if r.Mailbox != "" {
			address = r.Mailbox
		}
		if address, err = message.Address(address); err != nil {
			return err
		}
		if r.May != nil {
			if err = r.May(address); err != nil {
				return err
			}
		}
		box, err = o.Directory.Mailbox(ctx, address)
		return err
	}
	if r.Draft == nil {
		if out, err = message.PrepareRaw(r.Raw, now); err == nil {
			err = find(out.From.Address)
		}
	} else {
		d := *r.Draft
		if d.From.Address == "" && r.Mailbox == "" {
			err = invalid("from", "The message says neither from nor mailbox.", "Name the address that sends.")
		} else if err = find(d.From.Address); err == nil {
			if d.From.Address == "" {
				if d.From.Address = box.From; box.From == "" {
					d.From.Address = box.Address
				}
			}
			out, err = message.Compose(d, now)
		}
	}
	if err != nil {
		return mailbox.Mailbox{}, message.Outgoing{}, err
	}
	if box.Send == nil {
		return mailbox.Mailbox{}, message.Outgoing{}, invalid("from", fmt.Sprintf("The mailbox %s is not set up to send.", box.Address), "Add send to the mailbox's settings.")
	}
	return box, out, nil
}

// digest tells one request from another under the same key. It is of what was
// asked, not of the message made from it, which has a fresh Message-ID.
func (r Request) digest(address string) ([]byte, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(struct {
		Mailbox string
		Draft   *message.Draft
		Raw     []byte
	}{address, r.Draft, r.Raw}); err != nil {
		return nil, fmt.Errorf("digest the request: %w", err)
	}
	return h.Sum(nil), nil
}

func recipients(env message.Envelope) string {
	if len(env.ForwardPaths) == 1 {
		return env.ForwardPaths[0]
	}
	return fmt.Sprintf("%d recipients", len(env.ForwardPaths))
}

func invalid(field, text, remedy string) error {
	return &fault.Error{ID: "submission.invalid", Kind: fault.Invalid, Field: field, Text: text, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

func paused(address string) *fault.Error {
	return &fault.Error{
		ID: "mailbox.paused", Kind: fault.Conflict, Retry: true, Text: fmt.Sprintf("The mailbox %s is paused; the message waits.", address),
		Who: []fault.Who{fault.Operator}, Remedy: "Resume the mailbox.",
	}
}

// endTime is how long attempts under way may take once Run is to end. One that
// was cut off after its message went out could not say whether it was taken.
const endTime = 20 * time.Second

// Run wakes what was nudged, looks for due submissions whose job was lost, and
// removes settled ones past their retention. It returns when its own attempts
// have ended, for which they get a while, and what was nudged is woken.
func (o *Outbox) Run(ctx context.Context) error {
	lasting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTime, cut) })()
	var wait sync.WaitGroup
	wait.Go(func() { o.answerNudges(ctx) })
	slots := make(chan struct{}, o.Concurrency)
	tick := time.NewTicker(o.Sweep)
	defer tick.Stop()
	lastPurge := o.Now()
	for ctx.Err() == nil {
		ids, err := o.Store.DueSubmissions(ctx, o.Now(), 100)
		if err != nil && ctx.Err() == nil {
			o.Logger.Error("look for due submissions", "err", err)
		}
		for _, id := range ids {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			wait.Go(func() {
				defer func() { <-slots }()
				if ctx.Err() != nil {
					return
				}
				if err := o.Send(lasting, id); err != nil && lasting.Err() == nil {
					o.Logger.Error("send a submission", "submission_id", id, "err", err)
				}
			})
		}
		if err := o.learnHolds(ctx); err != nil && ctx.Err() == nil {
			o.Logger.Error("read what providers asked to wait for", "err", err)
		}
		if o.Now().Sub(lastPurge) > 10*time.Minute {
			o.purge(ctx)
			lastPurge = o.Now()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wait.Wait()
	return nil
}

func (o *Outbox) purge(ctx context.Context) {
	const batch = 500
	for {
		n, err := o.Store.PurgeSubmissions(ctx, o.Now().Add(-o.Retention), batch)
		if err != nil && ctx.Err() == nil {
			o.Logger.Error("remove submissions past their retention", "err", err)
		}
		if err != nil || n < batch {
			return
		}
	}
}
