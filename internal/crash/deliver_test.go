package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sync/errgroup"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/jobs"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// The points of delivering; some have the names that they have in other flows.
const (
	answerSettling = "answer_received_before_settle"
	beforeParking  = "before_parking" // the last attempt has failed
	whileParking   = "while_parking"
	afterParking   = "after_parking"
)

func deliverFlow() flow {
	return flow{
		name: "deliver", lease: time.Minute, rooms: deliverRooms, stage: deliverStage,
		points: []string{
			beforeJob, afterClaim, requestOnWire, answerOnWire, answerSettling, whileSettling, afterSettle,
			beforeParking, whileParking, afterParking, anywhere,
		},
	}
}

// delivering is the webhooks of a process with its jobs, and seams around its store.
type delivering struct {
	g        *ground
	webhooks *webhook.Webhooks
	jobs     *jobs.Jobs
}

func loopback() *egress.Guard {
	return &egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func deliverRooms(t *testing.T, g *ground) (rooms, error) {
	w := webhook.New(webhook.Options{
		Store: deliverStore{g.store, g.seams}, Keys: g.keys, Guard: loopback(), Owner: g.Owner, Logger: g.log, Now: g.now, Timeout: g.Deadline,
	})
	wake := func(_ context.Context, webhookID, mailboxID string) error {
		w.Wake(webhookID, mailboxID)
		return nil
	}
	j, err := g.jobs(t, jobs.Options{Submission: func(context.Context, string) error { return nil }, Delivery: wake})
	return delivering{g, w, j}, err
}

func (d delivering) run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return d.webhooks.Run(ctx) })
	g.Go(func() error { return d.jobs.Run(ctx) })
	return g.Wait()
}

// do writes events, or, without any, delivers what waits.
func (d delivering) do(ctx context.Context, o order) any {
	var err error
	for n := range o.Events {
		err = errors.Join(err, d.g.store.WriteEvent(ctx, happened(d.g.now(), o.MailboxID, o.Mailbox, n)))
	}
	if o.Events == 0 {
		d.webhooks.Wake(o.WebhookID, o.MailboxID)
	}
	return fmt.Sprint(err)
}

func happened(now time.Time, id, address string, n int) event.Event {
	return event.New(now, event.MessageReceived, event.System(), fmt.Sprintf("Event %d.", n)).About(id, address)
}

type deliverStore struct {
	*store.Store
	s *seams
}

func (s deliverStore) ClaimHead(ctx context.Context, webhookID, mailboxID, owner string, now, until time.Time) (webhook.Claimed, error) {
	c, err := s.Store.ClaimHead(ctx, webhookID, mailboxID, owner, now, until)
	if err == nil {
		s.s.stop(afterClaim)
	}
	return c, err
}

func (s deliverStore) SettleDelivery(ctx context.Context, v webhook.Settlement) error {
	before, while, after := answerSettling, whileSettling, afterSettle
	if v.Parked {
		before, while, after = beforeParking, whileParking, afterParking
	}
	s.s.stop(before)
	s.s.pass(while)
	err := s.Store.SettleDelivery(ctx, v)
	s.s.told(err)
	if err == nil {
		s.s.stop(after)
	}
	return err
}

// receiver is where the webhooks of all lanes deliver, each under its own path.
type receiver struct {
	url string

	mu    sync.Mutex
	hooks map[string]*hook
}

// hook is a webhook, seen from its receiver.
type hook struct {
	d       *deliveries
	webhook webhook.Webhook
	order   order
	signer  *standardwebhooks.Webhook

	mu                 sync.Mutex
	came               []call
	refuseFirst        bool        // answer 500 to the event that comes first, whenever it comes
	refuse             string      // its ID
	arrived, processed *rendezvous // before and after a call is written down
}

// call is one that was answered with success.
type call struct{ id, event string }

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{hooks: map[string]*hook{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		h := r.hooks[strings.TrimPrefix(q.URL.Path, "/")]
		r.mu.Unlock()
		if h == nil {
			http.NotFound(w, q)
			return
		}
		h.receive(w, q)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (h *hook) receive(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var p webhook.Payload
	if err == nil {
		err = errors.Join(h.signer.VerifyIgnoringTimestamp(body, q.Header), json.Unmarshal(body, &p))
	}
	if err != nil {
		h.d.t.Errorf("a delivery that cannot be read: %v", err)
	}
	if h.arrived.meet() && q.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	h.mu.Lock()
	if h.refuseFirst && h.refuse == "" {
		h.refuse = p.Data.EventID
	}
	refused := h.refuse == p.Data.EventID
	if !refused {
		h.came = append(h.came, call{q.Header.Get(standardwebhooks.HeaderWebhookID), p.Data.EventID})
	}
	h.mu.Unlock()
	h.processed.meet()
	if refused {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// deliveries is a lane of the flow.
type deliveries struct {
	*lane
	to   *receiver
	hook *hook
}

func deliverStage(t *testing.T) func(*lane) play {
	to := startReceiver(t)
	return func(l *lane) play { return &deliveries{lane: l, to: to} }
}

// hooked makes a webhook for the events of one mailbox.
func (d *deliveries) hooked() (*hook, error) {
	now, id, box := time.Now(), event.NewID(), event.NewID()
	h := &hook{d: d, order: order{MailboxID: box, Mailbox: box + "@contoso.test", WebhookID: id}}
	d.hook = h
	secret := strings.Repeat("secret!", 5)
	sealed, err := d.keys.Seal(seal.NewSecret(secret), seal.Where("webhook", id, "secret"))
	if err == nil {
		h.signer, err = standardwebhooks.NewWebhookRaw([]byte(secret))
	}
	if err != nil {
		return nil, err
	}
	h.webhook = webhook.Webhook{
		ID: id, Name: "hook-" + id, URL: d.to.url + "/" + id, Secret: sealed, Events: []event.Pattern{"message.*"}, Mailboxes: []string{h.order.Mailbox},
		Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	d.to.mu.Lock()
	d.to.hooks[id] = h
	d.to.mu.Unlock()
	return h, d.store.SaveWebhook(d.t.Context(), webhook.Saving{
		Webhook: h.webhook, Event: event.New(now, event.WebhookCreated, event.System(), "The webhook was added."),
	})
}

func (d *deliveries) begin(p *process, point string, _ int) (*trial, error) {
	h, err := d.hooked()
	if err != nil {
		return nil, err
	}
	var meet *rendezvous
	switch point {
	case requestOnWire:
		meet = newRendezvous()
		h.arrived = meet
	case answerOnWire:
		meet = newRendezvous()
		h.processed = meet
	}
	o := h.order
	o.Point, o.Events = point, 3
	if strings.HasSuffix(point, "_parking") {
		if err := h.failFor25Hours(p, o); err != nil {
			return nil, err
		}
		o.Events = 0
	}
	if err := p.order(o); err != nil {
		return nil, err
	}
	return &trial{done: h.done, judge: h.judge}, reach(p, point, meet, 60*time.Millisecond)
}

func (d *deliveries) release() {
	if d.hook != nil {
		d.hook.arrived.release()
		d.hook.processed.release()
	}
}

// failFor25Hours has the process write events by a clock that is 25 hours slow;
// the first is refused, and will be again when the clock is right.
func (h *hook) failFor25Hours(p *process, o order) error {
	h.mu.Lock()
	h.refuseFirst = true
	h.mu.Unlock()
	const day = 25 * time.Hour
	if err := errors.Join(p.order(order{Slept: -day}), p.order(o)); err != nil {
		return err
	}
	err := await("the first attempt has failed", func() (bool, error) {
		waiting, err := h.waiting()
		return len(waiting) == 3 && slices.ContainsFunc(waiting, func(r webhook.Recorded) bool { return r.Delivery.Attempts > 0 }), err
	})
	return errors.Join(err, p.order(order{Slept: day}))
}

// judge has one more event written, and waits until the queue is empty.
func (h *hook) judge(next *process) (string, error) {
	ctx := h.d.t.Context()
	o := h.order
	o.Events = 1
	if err := next.order(o); err != nil {
		return failed, err
	}
	if _, err := next.await("outcome"); err != nil {
		return failed, err
	}
	if err := await("the queue is empty", h.done); err != nil {
		waiting, _ := h.waiting()
		return failed, fmt.Errorf("%w: %+v", err, waiting)
	}
	if err := h.exact(ctx); err != nil {
		return failed, err
	}
	return recovered, h.d.store.DeleteWebhook(ctx, h.webhook.Name, event.New(time.Now(), event.WebhookDeleted, event.System(), "The webhook was removed."))
}

func (h *hook) waiting() ([]webhook.Recorded, error) {
	return h.d.store.Deliveries(h.d.t.Context(), webhook.Filter{WebhookID: h.webhook.ID, State: webhook.Waiting, Limit: 100})
}

// done reports that the queue is empty.
func (h *hook) done() (bool, error) {
	waiting, err := h.waiting()
	return err == nil && len(waiting) == 0, err
}

// exact checks that every event came, in order, repeats only at once and under
// the same ID, and that what was put aside is told of once.
func (h *hook) exact(ctx context.Context) error {
	written, err := h.d.store.Events(ctx, event.Filter{MailboxIDs: []string{h.order.MailboxID}, Limit: 100})
	if err != nil {
		return err
	}
	slices.Reverse(written) // oldest first
	var want []string
	parked := 0
	for _, e := range written {
		if e.Kind == event.DeliveryParked {
			parked++
		} else if e.ID != h.refuse {
			want = append(want, e.ID)
		}
	}
	h.mu.Lock()
	came := slices.Clone(h.came)
	h.mu.Unlock()
	once := slices.Compact(slices.Clone(came))
	var got []string
	ids := map[string]bool{}
	for _, c := range once {
		got = append(got, c.event)
		ids[c.id] = true
	}
	aside, err := h.d.store.Deliveries(ctx, webhook.Filter{WebhookID: h.webhook.ID, State: webhook.Parked, Limit: 100})
	expected := 0
	if h.refuse != "" {
		expected = 1
	}
	switch {
	case err != nil:
		return err
	case !slices.Equal(got, want) || len(ids) != len(once) || len(came)-len(once) > 1:
		return fmt.Errorf("the receiver got %v; want %v", came, want)
	case parked != expected || len(aside) != expected:
		return fmt.Errorf("%d deliveries are parked, and %d events tell of it; want %d", len(aside), parked, expected)
	}
	return nil
}
