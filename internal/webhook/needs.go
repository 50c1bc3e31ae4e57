package webhook

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Webhook is where events are delivered. Its signing secret is sealed to
// seal.Where("webhook", ID, "secret").
type Webhook struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Secret    seal.Sealed     `json:"-"`
	Events    []event.Pattern `json:"events"`
	Mailboxes []string        `json:"mailboxes,omitempty"` // addresses; empty: all
	CAPEM     string          `json:"ca_pem,omitempty"`
	Disabled  string          `json:"disabled,omitempty"` // why it was switched off; empty: it is on
	Version   int64           `json:"version"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

// Wants reports whether an event is to be delivered to the webhook. The store calls it inside the
// transaction that writes the event.
func (w Webhook) Wants(e event.Event) bool {
	if w.Disabled != "" {
		return false
	}
	// The alert about a receiver that does not answer is not sent to that
	// receiver: it would be parked in turn, for ever.
	if (e.Kind == event.DeliveryParked || e.Kind == event.WebhookDisabled) && e.Data["webhook"] == w.Name {
		return false
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

// Delivery is one event on its way to one webhook. Deliveries of a webhook and
// mailbox form a queue, in order of Sequence; only the head is tried.
type Delivery struct {
	ID            string // the webhook-id header: stable over retries
	WebhookID     string
	MailboxID     string // the queue, with WebhookID; empty for events about no mailbox
	Sequence      int64
	EventID       string
	Attempts      int
	Lease         work.Lease
	State         string // pending | delivered | parked
	NextAttemptAt time.Time
	FirstTriedAt  time.Time
	CreatedAt     time.Time
	LastStatus    int
	LastError     string
}

// Store keeps webhooks and deliveries.
type Store interface {
	Webhook(ctx context.Context, name string) (Webhook, error) // "webhook.unknown" (NotFound)
	Webhooks(ctx context.Context) ([]Webhook, error)
	// SaveWebhook inserts (ifVersion 0) or replaces: "webhook.exists", "webhook.changed" (Conflict).
	SaveWebhook(ctx context.Context, w Webhook, ifVersion int64, e event.Event) error
	DeleteWebhook(ctx context.Context, name string, e event.Event) error
	// ClaimHead takes the lease of the head of a queue when it is due. "work.none" (NotFound)
	// says that the queue is empty; "work.later" (Conflict) that its head is leased or not
	// due, with the delivery as it stands.
	ClaimHead(ctx context.Context, webhookID, mailboxID, owner string, now, until time.Time) (Claimed, error)
	// Settle ends an attempt under the fence ("work.fenced").
	SettleDelivery(ctx context.Context, s Settlement) error
	// DueQueues lists queues whose head is due: the sweep that heals lost jobs.
	DueQueues(ctx context.Context, now time.Time, limit int) ([]Queue, error)
	// Replay puts a parked or delivered delivery back to pending, as a new head.
	Replay(ctx context.Context, deliveryID string, now time.Time) error
}

// Queue names one ordered queue.
type Queue struct {
	WebhookID string
	MailboxID string
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
	// Disable switches the webhook off and says why, only where it is still at
	// DisableVersion: an operator who changed it meanwhile is asked for by the
	// new receiver. The delivery is then due again at once and nothing is told.
	Disable        string
	DisableVersion int64
	NextAttemptAt  time.Time
	Status         int
	Error          string
	Now            time.Time
	Events         []event.Event
}
