// Package webhook delivers events to programs: signed after the Standard
// Webhooks specification, in order per webhook and mailbox, at least once.
//
// Deliveries wait in our own tables, written in the transaction of the event;
// a job only wakes the work. The head of a queue is tried until the receiver
// answers 2xx; after a day of failure it is parked with an alert and the rest
// goes on. Whoever mended the receiver replays what was parked. The delivery's
// ID is the webhook-id header and stays the same over retries and replays, so
// that a receiver can drop doubles. 410 Gone switches the webhook off: what
// waits keeps its place until it is on again. Private networks are refused when
// dialling, unless the server's own configuration allows them; redirects are not
// followed.
//
// Every webhook has lanes of its own (lanes.go): a receiver that hangs holds up
// its own queues and takes no place that another one needs.
//
// What was delivered goes with its event. What waited or was parked for longer
// than the retention is removed, and an event says so.
package webhook

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const (
	firstWait   = 5 * time.Second
	longestWait = time.Hour
	leaseMargin = 15 * time.Second
	recordAgain = time.Second / 2
)

// Options shapes the room.
type Options struct {
	Store  Store
	Keys   *seal.Keyset
	Guard  *egress.Guard // nil: a guard without exceptions
	Owner  string        // names this process in leases
	Logger *slog.Logger
	Now    func() time.Time // nil: the real clock

	Timeout   time.Duration // of one attempt; default 15 s
	GiveUp    time.Duration // from the first attempt to parking; default 24 h
	Retention time.Duration // of what waits or is parked; default 30 days
}

// Webhooks keeps webhooks and delivers to them.
type Webhooks struct {
	store   Store
	keys    *seal.Keyset
	guard   *egress.Guard
	owner   string
	log     *slog.Logger
	now     func() time.Time
	timeout time.Duration
	giveUp  time.Duration
	keep    time.Duration

	clients *egress.Pool
	lanes   lanes
}

// New makes the room.
func New(o Options) *Webhooks {
	if o.Guard == nil {
		o.Guard = &egress.Guard{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.GiveUp == 0 {
		o.GiveUp = 24 * time.Hour
	}
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	return &Webhooks{
		store: o.Store, keys: o.Keys, guard: o.Guard, owner: o.Owner, log: o.Logger, now: o.Now,
		timeout: o.Timeout, giveUp: o.GiveUp, keep: o.Retention, clients: egress.NewPool(egress.Options{Timeout: o.Timeout, Guard: o.Guard}),
	}
}

// client gives the HTTP client for a webhook's trust; clients are kept, so
// that connections are.
func (w *Webhooks) client(h Webhook) (*http.Client, error) {
	c, err := w.clients.Client(h.CAPEM)
	if err != nil {
		return nil, fmt.Errorf("make a client for the webhook %s: %w", h.Name, err)
	}
	return c, nil
}
