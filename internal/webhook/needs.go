package webhook

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Webhook is where events are delivered. Its signing secrets are sealed to
// seal.Where("webhook", ID, "secret"), both of them, so that one becomes the
// previous one as it is.
type Webhook struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Secret    seal.Sealed     `json:"-"`
	Events    []event.Pattern `json:"events"`
	Mailboxes []string        `json:"mailboxes,omitempty"` // addresses; empty: all
	CAPEM     string          `json:"ca_pem,omitempty"`
	Version   int64           `json:"version"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`

	// After a rotation deliveries are signed with the previous secret too, until then.
	PreviousSecret      seal.Sealed `json:"-"`
	PreviousSecretUntil time.Time   `json:"-"`

	Disabled   string    `json:"-"` // why it was switched off; empty: it is on
	DisabledBy string    `json:"-"` // ByReceiver or ByOperator
	DisabledAt time.Time `json:"-"`
}

// Who switched a webhook off.
const (
	ByReceiver = "receiver" // it answered 410 Gone
	ByOperator = "operator"
)

// Wants reports whether an event is to be delivered to the webhook. The store calls it inside the
// transaction that writes the event.
func (w Webhook) Wants(e event.Event) bool {
	if w.Disabled != "" {
		return false
	}
	// What befalls deliveries to a receiver is not sent to that receiver: the
	// alert would be parked in turn, for ever, and a test would come twice.
	if e.Data["webhook"] == w.Name {
		switch e.Kind {
		case event.DeliveryParked, event.DeliveryReplayed, event.DeliveriesDropped, event.WebhookDisabled, event.WebhookPing:
			return false
		}
	}
	if len(w.Mailboxes) > 0 {
		found := false
		for _, m := range w.Mailboxes {
			found = found || m == e.Mailbox
		}
		if !found {
			return false
		}
	}
	for _, p := range w.Events {
		if p.Matches(e.Kind) {
			return true
		}
	}
	return false
}

// State is what a delivery has come to.
type State string

// The states of a delivery.
const (
	Waiting   State = "pending"   // for its turn, or for the next attempt
	Delivered State = "delivered" // the receiver answered 2xx
	Parked    State = "parked"    // it failed for a day and was put aside
)

// States lists them in the order in which people are told of them.
func States() []State { return []State{Waiting, Delivered, Parked} }

// Delivery is one event on its way to one webhook. Deliveries of a webhook and
// mailbox form a queue, in order of Sequence; only the head is tried.
type Delivery struct {
	ID            string // the webhook-id header: stable over retries
	WebhookID     string
	MailboxID     string // the queue, with WebhookID; empty for events about no mailbox
	Sequence      int64
	EventID       string
	Attempts      int // since it was queued or replayed
	Lease         work.Lease
	State         State
	StateSince    time.Time
	NextAttemptAt time.Time
	FirstTriedAt  time.Time
	CreatedAt     time.Time
	LastStatus    int
	LastError     string
	Tries         []Try // the last few, oldest first
}

// Try is one attempt and what came of it.
type Try struct {
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took"`
	Status int           `json:"status,omitempty"` // 0: no answer came
	Error  string        `json:"error,omitempty"`  // empty: the receiver took it
	Remedy string        `json:"remedy,omitempty"`
	Answer string        `json:"answer,omitempty"` // how the answer began, of one that is no success
}

// Recorded is a delivery with the event that it tells of.
type Recorded struct {
	Delivery Delivery
	Event    event.Event
}

// Filter selects deliveries of one webhook, newest first.
type Filter struct {
	WebhookID string
	MailboxID string // empty: of all
	State     State  // empty: in any
	Before    string // the ID of the last one seen
	Limit     int
}

// Standing is how a webhook gets on.
type Standing struct {
	Waiting       int
	Parked        int
	WaitingSince  time.Time // of the one that waits longest
	LastDelivered time.Time
}

// Store keeps webhooks and deliveries.
type Store interface {
	Registry
	Queues
	Ledger
}

// Registry keeps webhooks, and the timeline what happens to them.
type Registry interface {
	Webhook(ctx context.Context, name string) (Webhook, error) // "webhook.unknown" (NotFound)
	Webhooks(ctx context.Context) ([]Webhook, error)
	// SaveWebhook inserts or replaces: "webhook.exists", "webhook.changed" (Conflict).
	SaveWebhook(ctx context.Context, s Saving) error
	DeleteWebhook(ctx context.Context, name string, e event.Event) error
	// ForgetSecrets removes previous secrets whose time is over.
	ForgetSecrets(ctx context.Context, now time.Time) error
	WriteEvent(ctx context.Context, e event.Event) error
}

// Saving is a webhook to store.
type Saving struct {
	Webhook   Webhook
	IfVersion int64 // the version it replaces; 0: it is new
	// Afresh: the receiver is another one, or there again. What waits is due at
	// once, and the day after which it is parked begins anew.
	Afresh bool
	Event  event.Event
}

// Queues hands out deliveries to make.
type Queues interface {
	// ClaimHead takes the lease of the head of a queue when it is due. "work.none" (NotFound)
	// says that the queue is empty, or its webhook off; "work.later" (Conflict) that its head is
	// leased or not due, with the delivery as it stands.
	ClaimHead(ctx context.Context, webhookID, mailboxID, owner string, now, until time.Time) (Claimed, error)
	// Settle ends an attempt under the fence ("work.fenced").
	SettleDelivery(ctx context.Context, s Settlement) error
	// DueQueues lists queues of webhooks that are on whose head is due: the sweep that
	// heals lost jobs. Of each webhook it lists at most so many, the longest due first,
	// so that a crowd of one hides none of another.
	DueQueues(ctx context.Context, now time.Time, ofEach int) ([]Queue, error)
}

// Ledger shows deliveries, and puts them back or away.
type Ledger interface {
	Delivery(ctx context.Context, webhookID, id string) (Recorded, error) // "delivery.unknown" (NotFound)
	Deliveries(ctx context.Context, f Filter) ([]Recorded, error)
	// Standings gives what there is to say of each webhook, by ID.
	Standings(ctx context.Context) (map[string]Standing, error)
	// Replay puts a parked or delivered delivery back as the head of its queue; one that
	// waits is due at once. "delivery.unknown" (NotFound), "delivery.under_way" (Conflict).
	Replay(ctx context.Context, webhookID, id string, e event.Event) error
	// ReplayParked puts everything parked of at most so many queues back before what
	// waits there, in its order, and gives how many deliveries that were. Their number
	// becomes part of the event, which is not written for none.
	ReplayParked(ctx context.Context, webhookID string, queues int, e event.Event) (int, error)
	// Outdated lists deliveries that have been waiting or parked since before that
	// moment, by queue.
	Outdated(ctx context.Context, before time.Time, limit int) ([]Outdated, error)
	// DropDeliveries removes those of one queue, all of them or none:
	// "delivery.changed" (Conflict) where one of them has moved since.
	DropDeliveries(ctx context.Context, o Outdated, before time.Time, e event.Event) error
}

// Queue names one ordered queue.
type Queue struct {
	WebhookID string
	MailboxID string
}

// Outdated is what has stood in one queue for longer than anything is kept.
type Outdated struct {
	Queue
	Webhook string // its name
	Mailbox string // its address
	IDs     []string
	Parked  int // of them; the others never came to their turn
}

// Claimed is a delivery to make now.
type Claimed struct {
	Delivery Delivery
	Webhook  Webhook
	Event    event.Event
}

// Settlement is the outcome of one attempt.
type Settlement struct {
	DeliveryID string
	Fence      int64
	Delivered  bool
	Parked     bool // put aside; the queue goes on
	// Unmade gives the lease back: the attempt was cut off by our own end and
	// counts for nothing.
	Unmade bool
	// Disable switches the webhook off and says why, only where it is still at
	// DisableVersion: an operator who changed it meanwhile is asked for by the
	// new receiver. The delivery stays the head of its queue either way; where the
	// webhook has changed it is due again at once and nothing is told.
	Disable        string
	DisableVersion int64
	NextAttemptAt  time.Time
	Tries          []Try // with the one that is settled, which is the last
	Now            time.Time
	Events         []event.Event
}
