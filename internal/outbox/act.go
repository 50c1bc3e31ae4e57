package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
)

// cancelled is the cause of a submission that somebody called off.
const cancelled = "submission.cancelled"

// RetryNow makes a waiting submission due at once, whatever it waits for, except
// for a wait that its provider asked for. One that is under way is
// "submission.under_way", one that has ended "submission.settled" (Conflict).
func (o *Outbox) RetryNow(ctx context.Context, id string, by event.Actor) (Submission, error) {
	s, err := o.waiting(ctx, id)
	if err != nil {
		return Submission{}, err
	}
	o.mu.Lock()
	if h, ok := o.holds[s.MailboxID]; ok && h.fault.Kind != fault.Limited {
		delete(o.holds, s.MailboxID)
	}
	o.mu.Unlock()
	now := o.Now()
	e := event.New(now, event.SubmissionHastened, by, fmt.Sprintf("A message to %s that waits is to be tried at once.", recipients(s.Envelope))).
		About(s.MailboxID, s.Mailbox).With("submission_id", s.ID)
	return o.act(ctx, id, o.Store.Hasten(ctx, id, s.Lease.Fence, now, e))
}

// Cancel calls a waiting submission off: it fails with the cause
// "submission.cancelled" and is not sent. One that is under way may be sent any
// moment and cannot be called off ("submission.under_way").
func (o *Outbox) Cancel(ctx context.Context, id string, by event.Actor) (Submission, error) {
	s, err := o.waiting(ctx, id)
	if err != nil {
		return Submission{}, err
	}
	f := &fault.Error{
		ID: cancelled, Text: "It was called off before it was sent.", Who: []fault.Who{fault.Nobody}, Remedy: "Send it again if it is wanted after all.",
	}
	text := fmt.Sprintf("A message to %s was called off and will not be sent.", recipients(s.Envelope))
	doubtful := s.InData || s.PossiblyDuplicated
	if doubtful {
		f.Text = "It was called off. An earlier attempt broke off before the server's answer, so it may have been sent all the same."
		text = fmt.Sprintf("A message to %s was called off. An earlier attempt broke off before the server's answer, so it may have been sent all the same.", recipients(s.Envelope))
	}
	now := o.Now()
	return o.act(ctx, id, o.Store.Cancel(ctx, Settlement{
		ID: id, Fence: s.Lease.Fence, State: Failed, PossiblyDuplicated: doubtful, Reply: s.Reply, Cause: f.ID, CauseText: f.Text, Remedy: f.Remedy, Now: now,
		Event: event.New(now, event.SubmissionFailed, by, text).About(s.MailboxID, s.Mailbox).Because(f).With("submission_id", s.ID),
	}))
}

// act gives the submission after an act. One that moved on since it was looked at
// is told as it stands now.
func (o *Outbox) act(ctx context.Context, id string, err error) (Submission, error) {
	if fault.Has(err, "work.fenced") {
		if _, stands := o.waiting(ctx, id); stands != nil {
			return Submission{}, stands
		}
		return Submission{}, underWay() // it was tried in between, and waits again
	}
	if err != nil {
		return Submission{}, err
	}
	return o.Store.Submission(ctx, id)
}

// waiting gives a submission that is neither under way nor settled.
func (o *Outbox) waiting(ctx context.Context, id string) (Submission, error) {
	s, err := o.Store.Submission(ctx, id)
	switch {
	case err != nil:
		return s, err
	case s.State == Sending:
		return s, underWay()
	case s.State != Queued:
		return s, &fault.Error{
			ID: "submission.settled", Kind: fault.Conflict, Who: []fault.Who{fault.Operator}, Text: fmt.Sprintf("The submission has ended: it is %s.", s.State),
			Remedy: "What has ended stays as it is. One that failed or expired can be sent again as a new submission.",
		}
	}
	return s, nil
}

func underWay() error {
	return &fault.Error{
		ID: "submission.under_way", Kind: fault.Conflict, Who: []fault.Who{fault.Operator}, Text: "The message is being sent right now.",
		Remedy: "Look again in a moment: it is sent then, or waits for its next attempt.",
	}
}

// Again is a request to send once more what failed or expired.
type Again struct {
	ID             string
	Actor          event.Actor
	Caller         string // the scope of IdempotencyKey
	IdempotencyKey string // empty: none
}

// SendAgain accepts a message that failed or expired as a new submission: the
// same message to the same recipients, under its old Message-ID, by which a
// recipient who has it already can tell. What may have been sent before keeps its
// mark, and is looked for among the sent messages first.
func (o *Outbox) SendAgain(ctx context.Context, r Again) (Submission, bool, error) {
	old, err := o.Store.Submission(ctx, r.ID)
	if err != nil {
		return Submission{}, false, err
	}
	if old.State != Failed && old.State != Expired {
		return Submission{}, false, &fault.Error{
			ID: "submission.not_failed", Kind: fault.Conflict, Who: []fault.Who{fault.Operator}, Text: fmt.Sprintf("The submission is %s; only one that failed or expired can be sent again.", old.State),
			Remedy: "To send the same message once more all the same, hand it over as a new one.",
		}
	}
	box, err := o.home(ctx, old)
	if err != nil {
		return Submission{}, false, err
	}
	raw, err := o.Store.Raw(ctx, old.ID)
	if err != nil {
		return Submission{}, false, err
	}
	defer func() { _ = raw.Close() }()
	content, err := io.ReadAll(io.LimitReader(raw, message.MaxOutgoing+1))
	if err != nil {
		return Submission{}, false, err
	}
	if r.IdempotencyKey != "" {
		r.IdempotencyKey = "again:" + old.ID + ":" + r.IdempotencyKey // another key than the same one of a message that is handed over
	}
	digest := sha256.Sum256(bytes.Join([][]byte{[]byte("again"), []byte(old.ID)}, []byte{0}))
	return o.accept(ctx, box, message.Outgoing{Raw: content, Envelope: old.Envelope, MessageID: old.MessageID, Subject: old.Subject},
		Request{Actor: r.Actor, Caller: r.Caller, IdempotencyKey: r.IdempotencyKey}, digest[:], old.PossiblyDuplicated)
}

// home finds the mailbox of a submission, also where it was removed and added anew.
func (o *Outbox) home(ctx context.Context, s Submission) (mailbox.Mailbox, error) {
	box, err := o.Directory.MailboxByID(ctx, s.MailboxID)
	if fault.Has(err, "mailbox.unknown") {
		box, err = o.Directory.Mailbox(ctx, s.Mailbox)
	}
	if err == nil && box.Send == nil {
		err = invalidFault(box.Address)
	}
	return box, err
}
