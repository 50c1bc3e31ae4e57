package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// The pauses after the database was away: between tries to write down what came
// of an attempt, and before an attempt that it did not let begin; and before
// another attempt where the mailbox was nudged during this one.
const (
	recordAgain = time.Second / 2
	storeAgain  = 2 * time.Second
	nudgedAgain = time.Second
)

// foundAmongSent stands for the server's reply where nobody heard it.
const foundAmongSent = "found among the sent messages of the mailbox"

// Send makes one attempt at a submission, if it is due and nobody else's. It is
// the work of the job that Accept and Retry enqueue. The error tells only of
// what could not be recorded; the outcome of the attempt is in the submission.
func (o *Outbox) Send(ctx context.Context, id string) error {
	now := o.Now()
	s, err := o.Store.ClaimSubmission(ctx, id, o.Owner, now, now.Add(o.Lease))
	if fault.Has(err, "work.none") || fault.Has(err, "work.later") {
		return nil
	}
	if err != nil {
		return err
	}
	a := &attempt{Outbox: o, s: s, unknown: s.InData || s.PossiblyDuplicated, nudgesBefore: o.nudgesOf(s.MailboxID)}
	work, cancel := context.WithTimeout(ctx, o.Lease-time.Minute)
	defer cancel()
	err = a.run(work)
	if fault.Has(err, "work.fenced") {
		return nil // another has taken over; what it finds counts
	}
	return err
}

// attempt is one turn at one submission.
type attempt struct {
	*Outbox
	s    Submission
	box  mailbox.Mailbox
	kind provider.Kind
	reg  provider.Registration
	// unknown says that an earlier attempt may have sent it, and nothing has decided that yet.
	unknown bool
	// detourBy is the second way, once it took the message.
	detourBy protocol.Name
	// nudgesBefore is how often its mailbox had been nudged when it began.
	nudgesBefore int
	// asked is the wait that the provider asked for in this attempt.
	asked Hold
}

func (a *attempt) run(ctx context.Context) error {
	if !a.Now().Before(a.s.ExpiresAt) {
		return a.expire(ctx)
	}
	var err error
	a.box, err = a.Directory.MailboxByID(ctx, a.s.MailboxID)
	if fault.Has(err, "mailbox.unknown") {
		return a.settle(ctx, Failed, "", removed(a.s.Mailbox))
	}
	if err != nil {
		return a.stumble(ctx, err)
	}
	if a.box.Paused {
		wait := 5 * time.Minute
		if a.nudgedMeanwhile() {
			wait = nudgedAgain
		}
		return a.postpone(ctx, wait, paused(a.box.Address))
	}
	if a.kind, a.reg, err = a.Directory.Registration(ctx, a.box.Provider); err != nil {
		return a.stumble(ctx, err)
	}
	h, held, err := a.held(ctx)
	if err != nil {
		return a.stumble(ctx, err)
	}
	if held {
		return a.postpone(ctx, h.until.Sub(a.Now()), h.fault)
	}
	traits := a.kind.Traits()
	release, ok := a.Budget.Connect(a.box.ID, orDefault(traits.Connections, a.Connections))
	if !ok {
		return a.postpone(ctx, time.Second, nil)
	}
	defer release()
	if wait := a.Budget.Take(a.box.ID, a.s.ID, traits.RatePerMinute, a.Now()); wait > 0 {
		return a.postpone(ctx, wait, nil)
	}
	if a.unknown {
		sent, err := a.resolve(ctx, traits.SavesSent)
		if err != nil {
			return a.retry(ctx, fault.Of(err), time.Minute)
		}
		if sent {
			return a.settle(ctx, Sent, foundAmongSent, nil)
		}
	}
	return a.transmit(ctx)
}

// resolve looks whether an attempt without a known outcome has sent the
// message. Undecided, it gives an error while it is worth looking again, and
// after that leaves unknown set.
func (a *attempt) resolve(ctx context.Context, savesSent bool) (sent bool, err error) {
	at, _ := a.box.Endpoints(a.kind, a.reg.Record)
	if at == nil {
		return false, nil
	}
	finder := a.SentFinders(at.Protocol)
	if finder == nil {
		return false, nil
	}
	accessToken, err := a.lend(ctx, at.Resource)
	if err == nil {
		sent, err = finder.FindSent(ctx, *at, protocol.Login{User: a.box.UserAt(a.box.Receive.Server), AccessToken: accessToken}, a.s.MessageID)
	}
	switch {
	case err == nil && sent:
		return true, nil
	case err == nil:
		a.unknown = !savesSent
		return false, nil
	case fault.KindOf(err) == fault.NotFound, a.s.Attempts >= 5:
		return false, nil
	}
	return false, err
}

// transmit sends, by the second way while the first is shut.
func (a *attempt) transmit(ctx context.Context) error {
	_, first := a.box.Endpoints(a.kind, a.reg.Record)
	if first == nil {
		return a.settle(ctx, Failed, "", invalidFault(a.box.Address))
	}
	second := a.box.Fallback(a.kind, a.reg.Record)
	if second == nil {
		return a.sent(ctx, a.through(ctx, *first, a.box.UserAt(a.box.Send.Server)))
	}
	return a.sent(ctx, a.eitherWay(ctx, *first, *second))
}

// handover is what came of handing the message over by one way.
type handover struct {
	receipt protocol.Receipt
	asked   bool // the server was called; else the fault is of something before it
	entered bool // the message was begun to be handed over
	err     error
}

// through sends by one way.
func (a *attempt) through(ctx context.Context, at protocol.Endpoint, user string) handover {
	sender := a.Senders(at.Protocol)
	if sender == nil {
		return handover{err: invalidFault(a.box.Address)}
	}
	accessToken, err := a.lend(ctx, at.Resource)
	if err != nil {
		return handover{err: err}
	}
	raw, err := a.Store.Raw(ctx, a.s.ID)
	if err != nil {
		return handover{err: err}
	}
	defer func() { _ = raw.Close() }()
	data := &entering{
		Reader: raw, enter: func() error { return a.Store.EnterData(ctx, a.s.ID, a.s.Lease.Fence) }, now: a.Now, until: a.s.Lease.Until,
	}
	receipt, err := sender.Send(ctx, at, protocol.Login{User: user, AccessToken: accessToken}, a.s.Envelope, data, a.s.Size)
	if f := fault.Of(err); err != nil && protocol.AuthRefused(f) {
		a.Lender.Refused(ctx, a.box.ID, at.Resource, accessToken)
	}
	return handover{receipt: receipt, asked: true, entered: data.enter == nil, err: err}
}

// sent records what came of handing the message over.
func (a *attempt) sent(ctx context.Context, h handover) error {
	if h.err == nil {
		err := a.settle(ctx, Sent, h.receipt.Reply, nil)
		if fault.Has(err, "work.fenced") {
			return a.late(ctx)
		}
		return err
	}
	if fault.Has(h.err, "work.fenced") {
		return h.err
	}
	if errors.Is(h.err, errLeaseOver) {
		return a.postpone(ctx, time.Second, nil) // unless another has taken over
	}
	if f := fault.Of(h.err); protocol.NoReply(f) {
		a.unknown = true
		return a.retry(ctx, f, time.Minute)
	}
	return a.stumble(ctx, h.err)
}

func (a *attempt) lend(ctx context.Context, resource string) (seal.Secret, error) {
	accessToken, _, err := a.Lender.Lend(ctx, a.box.ID, resource, 2*time.Minute)
	return accessToken, err
}

func invalidFault(address string) *fault.Error {
	return &fault.Error{
		ID: "submission.cannot_send", Kind: fault.Invalid, Field: "send", Text: fmt.Sprintf("The mailbox %s is not set up to send any more.", address),
		Who: []fault.Who{fault.Operator}, Remedy: "Add send to the mailbox's settings, and send the message again.",
	}
}

// stumble decides what a failure means: for good, for the whole mailbox, or for
// a while.
func (a *attempt) stumble(ctx context.Context, err error) error {
	f := fault.Of(err)
	switch {
	case ctx.Err() != nil && f.ID == "net.cancelled":
		return a.postpone(ctx, time.Second, nil) // the process ends; nothing was sent
	case f.ID == "store.unavailable":
		return a.postpone(ctx, storeAgain, nil) // our own database was away; no server has taken the message
	case f.Kind == fault.NotFound, f.Kind == fault.Refused && !f.Retry, f.Kind == fault.Invalid && !f.Retry:
		return a.settle(ctx, Failed, f.Detail.Reply, f)
	case f.Kind == fault.Limited:
		return a.holdBack(ctx, f, max(f.RetryAfter, time.Minute))
	case f.Kind == fault.Dead, f.Kind == fault.Conflict, f.Kind == fault.Refused, f.Kind == fault.Invalid:
		// Nobody may send from this mailbox until somebody acts. The first time
		// may be an access token that has just been renewed.
		wait := time.Minute
		if a.s.Cause == f.ID {
			wait = 5 * time.Minute
		}
		return a.holdBack(ctx, f, wait)
	}
	return a.retry(ctx, f, schedule(a.s.Attempts))
}

// schedule gives the wait after an attempt that failed for now.
func schedule(attempts int) time.Duration {
	minutes := [...]time.Duration{1, 5, 10, 20, 40, 60, 120}
	return minutes[min(attempts, len(minutes)-1)] * time.Minute
}

// postpone waits without having tried: for the budget (no fault), or for what
// holds the whole mailbox.
func (a *attempt) postpone(ctx context.Context, wait time.Duration, f *fault.Error) error {
	r := Retry{ID: a.s.ID, Fence: a.s.Lease.Fence, InData: a.unknown, Now: a.Now(), Reply: a.s.Reply, Cause: a.s.Cause, CauseText: a.s.CauseText, Remedy: a.s.Remedy}
	if f != nil {
		r.Cause, r.CauseText, r.Remedy = f.ID, f.Text, f.Remedy
	}
	r.NextAttemptAt = a.next(wait)
	return a.record(ctx, func(ctx context.Context) error { return a.Store.Retry(ctx, r) })
}

// record keeps what came of an attempt. A database that is away for a moment is
// waited for while the attempt may last: otherwise the submission would stand
// still until its lease ends, and what was sent might be sent again.
func (a *attempt) record(ctx context.Context, write func(context.Context) error) error {
	for {
		err := write(context.WithoutCancel(ctx))
		if f := fault.Of(err); err == nil || f.Kind != fault.Temporary {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(recordAgain):
		}
	}
}

// next is when to try again, but no later than the end.
func (a *attempt) next(wait time.Duration) time.Time {
	at := a.Now().Add(wait)
	if at.After(a.s.ExpiresAt) {
		return a.s.ExpiresAt
	}
	return at
}

// retry puts the submission back after an attempt, and says so.
func (a *attempt) retry(ctx context.Context, f *fault.Error, wait time.Duration) error {
	wait = max(wait, f.RetryAfter)
	e := event.New(a.Now(), event.SubmissionRetrying, event.System(), fmt.Sprintf("Sending a message to %s failed for now: %s It is tried again.", recipients(a.s.Envelope), ended(f.Text))).
		About(a.s.MailboxID, a.s.Mailbox).Because(f).With("submission_id", a.s.ID)
	if a.s.Cause == f.ID && a.s.Attempts > 0 && !protocol.NoReply(f) {
		e = event.Event{} // told already
	}
	r := Retry{
		ID: a.s.ID, Fence: a.s.Lease.Fence, NextAttemptAt: a.next(wait), Attempted: true, InData: a.unknown,
		Reply: f.Detail.Reply, Cause: f.ID, CauseText: f.Text, Remedy: f.Remedy, Now: a.Now(), Event: e, Hold: a.asked,
	}
	return a.record(ctx, func(ctx context.Context) error { return a.Store.Retry(ctx, r) })
}

// settle ends the submission.
func (a *attempt) settle(ctx context.Context, state State, reply string, f *fault.Error) error {
	v := Settlement{ID: a.s.ID, Fence: a.s.Lease.Fence, State: state, PossiblyDuplicated: a.unknown, Reply: fault.Shorten(reply, 500), Now: a.Now()}
	kind, text := event.SubmissionSent, fmt.Sprintf("A message to %s was sent.", recipients(a.s.Envelope))
	if a.detourBy != "" {
		text = fmt.Sprintf("A message to %s was sent by %s, because %s is shut.", recipients(a.s.Envelope), a.detourBy, a.box.Send.Protocol)
	}
	switch {
	case state == Sent && reply == foundAmongSent:
		v.PossiblyDuplicated, v.Found = false, true
	case state == Sent && a.unknown:
		text += " An earlier attempt broke off before the server's answer, so the recipient may have it twice."
	case state == Failed:
		kind, text = event.SubmissionFailed, fmt.Sprintf("A message to %s cannot be sent: %s", recipients(a.s.Envelope), f.Text)
	case state == Expired:
		kind, text = event.SubmissionExpired, fmt.Sprintf("A message to %s waited until %s and will not be sent: %s",
			recipients(a.s.Envelope), a.s.ExpiresAt.UTC().Format(time.RFC3339), f.Text)
	}
	if state != Sent && a.unknown {
		text = ended(text) + " An earlier attempt broke off before the server's answer, so it may have been sent all the same."
	}
	v.Event = event.New(a.Now(), kind, event.System(), text).About(a.s.MailboxID, a.s.Mailbox)
	if f != nil {
		v.Cause, v.CauseText, v.Remedy = f.ID, f.Text, f.Remedy
		v.Event = v.Event.Because(f)
	}
	v.Event = v.Event.With("submission_id", a.s.ID)
	return a.record(ctx, func(ctx context.Context) error { return a.Store.Settle(ctx, v) })
}

// expire ends a submission that waited too long, with what it waited for.
func (a *attempt) expire(ctx context.Context) error {
	f := &fault.Error{
		ID: a.s.Cause, Text: a.s.CauseText, Remedy: a.s.Remedy, Who: []fault.Who{fault.Operator},
		Detail: fault.Detail{Reply: a.s.Reply},
	}
	if f.ID == "" {
		f.ID, f.Text, f.Remedy = "submission.expired", "It never came to its turn.", "See why the mailbox could not send, and send the message again."
	}
	return a.settle(ctx, Expired, a.s.Reply, f)
}

// ended gives a text its full stop.
func ended(s string) string {
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
