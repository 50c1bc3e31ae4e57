package crash_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/jobs"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// The points of sending.
const (
	whileAccepting  = "while_accepting"         // somewhere in the commit
	beforeJob       = "after_commit_before_job" // the caller was not answered
	afterClaim      = "after_claim"
	beforeEnterData = "before_enter_data"
	afterEnterData  = "after_enter_data_before_bytes"
	dataOnWire      = "data_on_the_wire" // in the middle of the message
	messageRead     = "message_read_before_its_end_is_sent"
	replyOnWire     = "data_sent_before_reply"
	replyReceived   = "reply_received_before_settle"
	whileSettling   = "while_settling"
	afterSettle     = "after_settle"
	retryStored     = "retry_stored"
)

func sendFlow() flow {
	return flow{
		name: "send", lease: 15 * time.Minute, rooms: sendRooms, stage: sendStage,
		points: []string{
			whileAccepting, beforeJob, afterClaim, beforeEnterData, afterEnterData, dataOnWire, messageRead, replyOnWire, replyReceived,
			whileSettling, afterSettle, retryStored, anywhere,
		},
	}
}

// mayDouble says where a server may have taken a message without the store
// knowing: it is then looked for, and where that cannot decide, sent and marked.
// A process that dies while it accepts may have come that far already.
func mayDouble(point string) bool {
	return slices.Contains([]string{whileAccepting, replyOnWire, replyReceived, whileSettling, anywhere}, point)
}

// mayMark says where the store knows only that the message was on the wire.
func mayMark(point string) bool {
	return mayDouble(point) || point == afterEnterData || point == dataOnWire || point == messageRead
}

// sending is the outbox of a process with its jobs, and seams around its store.
type sending struct {
	outbox *outbox.Outbox
	jobs   *jobs.Jobs
}

func sendRooms(t *testing.T, g *ground) (rooms, error) {
	h := house{g.store, g}
	member, sender := imap.New(), smtp.New()
	box := outbox.New(outbox.Options{
		Store: sendStore{g.store, g.seams}, Lender: h, Directory: h, Owner: g.Owner, Now: g.now, Logger: g.log, Lease: g.Lease,
		Senders:     func(protocol.Name) protocol.Sender { return seamedSender{sender, g.seams} },
		SentFinders: func(protocol.Name) protocol.SentFinder { return member },
	})
	j, err := g.jobs(t, jobs.Options{Submission: box.Send, Delivery: func(context.Context, string, string) error { return nil }})
	return sending{box, j}, err
}

func (s sending) run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return s.outbox.Run(ctx) })
	g.Go(func() error { return s.jobs.Run(ctx) })
	return g.Wait()
}

// accepted is what a caller hears of a submission.
type accepted struct {
	ID       string
	Replayed bool
	Fault    string
}

func (s sending) do(ctx context.Context, o order) any {
	got, replayed, err := s.outbox.Submit(ctx, outbox.Request{
		Actor: event.System(), Caller: "crash", IdempotencyKey: o.Key,
		Draft: &message.Draft{
			From: message.Party{Address: o.Mailbox}, To: []message.Party{{Address: o.Mailbox}}, Subject: "Report",
			Text: strings.Repeat(strings.Repeat("x", 70)+"\n", o.Size/71),
		},
	})
	out := accepted{ID: got.ID, Replayed: replayed}
	if err != nil {
		out.Fault = err.Error()
	}
	return out
}

// seamedSender stops when the whole message was read, and its end is still to go out.
type seamedSender struct {
	protocol.Sender
	s *seams
}

func (s seamedSender) Send(ctx context.Context, at protocol.Endpoint, login protocol.Login, env message.Envelope, raw io.Reader, size int64) (protocol.Receipt, error) {
	return s.Sender.Send(ctx, at, login, env, seamedEnd{raw, s.s}, size)
}

type seamedEnd struct {
	io.Reader
	s *seams
}

func (r seamedEnd) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		r.s.stop(messageRead)
	}
	return n, err
}

type sendStore struct {
	*store.Store
	s *seams
}

func (s sendStore) Accept(ctx context.Context, v outbox.Submission, raw []byte, e event.Event) (outbox.Submission, bool, error) {
	s.s.pass(whileAccepting)
	return s.Store.Accept(ctx, v, raw, e)
}

func (s sendStore) ClaimSubmission(ctx context.Context, id, owner string, now, until time.Time) (outbox.Submission, error) {
	v, err := s.Store.ClaimSubmission(ctx, id, owner, now, until)
	if err == nil {
		s.s.stop(afterClaim)
	}
	return v, err
}

func (s sendStore) EnterData(ctx context.Context, id string, fence int64) error {
	s.s.stop(beforeEnterData)
	err := s.Store.EnterData(ctx, id, fence)
	s.s.told(err)
	if err == nil {
		s.s.stop(afterEnterData)
	}
	return err
}

func (s sendStore) Settle(ctx context.Context, v outbox.Settlement) error {
	s.s.stop(replyReceived)
	s.s.pass(whileSettling)
	err := s.Store.Settle(ctx, v)
	s.s.told(err)
	if err == nil {
		s.s.stop(afterSettle)
	}
	return err
}

func (s sendStore) Retry(ctx context.Context, r outbox.Retry) error {
	err := s.Store.Retry(ctx, r)
	s.s.told(err)
	if err == nil {
		s.s.stop(retryStored)
	}
	return err
}

// letters is a lane of the flow.
type letters struct{ *posts }

func sendStage(t *testing.T) func(*lane) play {
	up := startUpstream(t)
	return func(l *lane) play { return &letters{newPosts(l, up)} }
}

// letter is one message that a caller wants sent.
type letter struct {
	l     *letters
	box   mailbox.Mailbox
	order order
	// decidable says that the sent messages of the mailbox can be looked at.
	decidable bool
}

func (l *letters) letter(decidable bool) (*letter, error) {
	id := event.NewID()
	address := id + "@contoso.test"
	l.up.open(address)
	v := &letter{l: l, decidable: decidable, order: order{Mailbox: address, Key: "key-" + id, Size: 80 << 10}}
	var err error
	v.box, err = l.connected(id, "refresh", func(m *mailbox.Mailbox) {
		m.Address, m.Send = address, &mailbox.Send{Protocol: protocol.SMTP}
		if !decidable {
			m.Receive = nil
		}
	})
	return v, err
}

func (l *letters) begin(p *process, point string, n int) (*trial, error) {
	v, err := l.letter(n%2 == 0)
	if err != nil {
		return nil, err
	}
	l.meet = nil
	switch point {
	case dataOnWire:
		l.meet = l.out.arm(40<<10, true, !l.patient)
	case replyOnWire:
		l.meet = l.up.meetAtPoint(v.box.Address, exchange.FaultSMTPDataBeforeReply)
	case retryStored:
		l.up.putOff(v.box.Address)
	}
	o := v.order
	o.Point = point
	if err := p.order(o); err != nil {
		return nil, err
	}
	err = reach(p, point, l.meet, 150*time.Millisecond)
	return &trial{done: v.done, judge: func(next *process) (string, error) { return v.judge(next, point) }}, err
}

// judge repeats the caller's request, as one does who was not answered, and
// waits for the end.
func (v *letter) judge(next *process, point string) (string, error) {
	before, err := v.submissions()
	if err != nil {
		return failed, err
	}
	var again accepted
	if err := next.order(v.order); err != nil {
		return failed, err
	}
	if err := next.outcome(&again); err != nil {
		return failed, err
	}
	if again.Fault != "" || len(before) > 0 && (!again.Replayed || again.ID != before[0].ID) {
		return failed, fmt.Errorf("the repeated request came to %+v, of %d submissions before", again, len(before))
	}
	if len(before) == 0 && point != whileAccepting && point != anywhere {
		return failed, errors.New("what was accepted is gone")
	}
	s, err := v.settled()
	if err != nil {
		return failed, err
	}
	taken := v.taken(s)
	told, err := v.told()
	if err != nil {
		return failed, err
	}
	switch {
	case s.State != outbox.Sent || told != "submission.accepted 1, submission.sent 1":
	case taken == 1 && !s.PossiblyDuplicated:
		return recovered, nil
	case taken == 1 && mayMark(point) && !v.decidable:
		return named, nil
	case taken == 2 && s.PossiblyDuplicated && mayDouble(point) && !v.decidable:
		return named, nil
	}
	return failed, fmt.Errorf("the server took it %d times; it is %s, possibly duplicated: %v, sent messages can be looked at: %v; events: %s; %q %q",
		taken, s.State, s.PossiblyDuplicated, v.decidable, told, s.Reply, s.CauseText)
}

func (v *letter) submissions() ([]outbox.Submission, error) {
	found, err := v.l.store.Submissions(v.l.t.Context(), outbox.Filter{MailboxIDs: []string{v.box.ID}, Limit: 10})
	return found.Submissions, err
}

// done reports that what was accepted is sent.
func (v *letter) done() (bool, error) {
	all, err := v.submissions()
	return len(all) == 1 && all[0].State == outbox.Sent, err
}

// settled waits until the one submission is settled.
func (v *letter) settled() (outbox.Submission, error) {
	var s outbox.Submission
	err := await("the submission is settled", func() (bool, error) {
		all, err := v.submissions()
		if err != nil || len(all) != 1 {
			return false, errors.Join(err, fmt.Errorf("%d submissions", len(all)))
		}
		s = all[0]
		return s.State != outbox.Queued && s.State != outbox.Sending, nil
	})
	if err != nil {
		err = fmt.Errorf("%w; it is %s until %s, next %s, because of %q", err, s.State, s.Lease.Until, s.NextAttemptAt, fault.Shorten(s.CauseText, 200))
	}
	return s, err
}

// taken counts how often the server has taken the message.
func (v *letter) taken(s outbox.Submission) int {
	n := 0
	for _, m := range v.l.up.Messages(v.box.Address, "Sent Items") {
		if message.Parse(m.Raw).MessageID == s.MessageID {
			n++
		}
	}
	return n
}

// told lists the events of acceptance and outcome.
func (v *letter) told() (string, error) {
	var all []string
	for _, k := range []event.Kind{event.SubmissionAccepted, event.SubmissionSent, event.SubmissionFailed, event.SubmissionExpired} {
		found, err := v.l.store.Events(v.l.t.Context(), event.Filter{MailboxIDs: []string{v.box.ID}, Patterns: []event.Pattern{event.Pattern(k)}, Limit: 10})
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			all = append(all, fmt.Sprintf("%s %d", k, len(found)))
		}
	}
	return strings.Join(all, ", "), nil
}
