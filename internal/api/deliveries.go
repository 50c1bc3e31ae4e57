package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID            string        `json:"id" doc:"The webhook-id header: the same at every attempt."`
	State         webhook.State `json:"state" enum:"pending,delivered,parked"`
	Since         time.Time     `json:"since" doc:"When it came into this state."`
	Kind          event.Kind    `json:"kind"`
	Mailbox       string        `json:"mailbox,omitempty"`
	Text          string        `json:"text"`
	EventID       string        `json:"event_id"`
	Attempts      int           `json:"attempts" doc:"Since it was queued, or replayed."`
	LastStatus    int           `json:"last_status,omitempty" doc:"What the receiver answered last; absent where no answer came."`
	LastError     string        `json:"last_error,omitempty"`
	NextAttemptAt time.Time     `json:"next_attempt_at,omitzero" doc:"Of a pending one. Only the first of a mailbox is tried; the others follow it."`
	CreatedAt     time.Time     `json:"created_at"`
}

// DeliveryAttempt is one try at a delivery and what came of it.
type DeliveryAttempt struct {
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status int       `json:"status,omitempty"`
	Error  string    `json:"error,omitempty" doc:"Absent where the receiver took it."`
	Remedy string    `json:"remedy,omitempty"`
	Answer string    `json:"answer,omitempty" doc:"How the receiver's answer began, where it was no success."`
}

// DeliveryWhole is a delivery with what is sent and what came of it.
type DeliveryWhole struct {
	Delivery
	Headers map[string]string `json:"headers" doc:"As at the last attempt, or as they would be now; the signature is made anew each time."`
	Body    json.RawMessage   `json:"body" doc:"Byte for byte what is signed and sent, but for white space."`
	Tries   []DeliveryAttempt `json:"tries" doc:"The last ten attempts, oldest first."`
}

// Tested is what came of a test event.
type Tested struct {
	Delivered bool            `json:"delivered"`
	ID        string          `json:"id" doc:"The webhook-id header that was sent."`
	Body      json.RawMessage `json:"body"`
	DeliveryAttempt
}

// Replayed says how much is made again.
type Replayed struct {
	Replayed int    `json:"replayed"`
	Disabled string `json:"disabled,omitempty" doc:"Why they wait all the same: the webhook is switched off."`
}

// NewSecret is a rotation of a signing secret.
type NewSecret struct {
	Secret  string `json:"secret,omitempty" writeOnly:"true" maxLength:"1024" doc:"Left out: one is generated, and shown once in the answer."`
	Overlap string `json:"overlap,omitempty" maxLength:"32" example:"24h" doc:"How long deliveries are signed with the previous secret too, up to 168h; 0s: not at all. Default: 24h."`
}

// ByDelivery is the path of a delivery.
type ByDelivery struct {
	ByName
	ID string `path:"id" maxLength:"64"`
}

// DeliveryQuery selects deliveries.
type DeliveryQuery struct {
	ByName
	Paging
	State   string `query:"state" maxLength:"20" doc:"pending, delivered or parked; empty: all."`
	Mailbox string `query:"mailbox" doc:"Address; empty: all."`
}

func deliveryOut(r webhook.Recorded) Delivery {
	d, e := r.Delivery, r.Event
	out := Delivery{
		ID: d.ID, State: d.State, Since: d.StateSince, Kind: e.Kind, Mailbox: e.Mailbox, Text: e.Text, EventID: e.ID,
		Attempts: d.Attempts, LastStatus: d.LastStatus, LastError: d.LastError, CreatedAt: d.CreatedAt,
	}
	if d.State == webhook.Waiting {
		out.NextAttemptAt = d.NextAttemptAt
	}
	return out
}

func attemptOut(t webhook.Try) DeliveryAttempt {
	return DeliveryAttempt{At: t.At, TookMS: t.Took.Milliseconds(), Status: t.Status, Error: t.Error, Remedy: t.Remedy, Answer: t.Answer}
}

func (a *API) deliveryWhole(r webhook.Recorded) (*Out[DeliveryWhole], error) {
	out := DeliveryWhole{Delivery: deliveryOut(r), Headers: map[string]string{}, Tries: []DeliveryAttempt{}}
	at := a.Now()
	for _, t := range r.Delivery.Tries {
		out.Tries = append(out.Tries, attemptOut(t))
		at = t.At
	}
	for name, values := range webhook.Headers(r.Delivery.ID, at) {
		out.Headers[name] = values[0]
	}
	var err error
	out.Body, err = webhook.Body(r.Event)
	return &Out[DeliveryWhole]{out}, err
}

// managed registers an operation on webhooks for callers that manage everything.
func managed[I, O any](a *API, id, method, path, summary string, h func(context.Context, *I) (*O, error), with func(*huma.Operation)) {
	register(a, id, method, path, summary, "Webhooks", func(ctx context.Context, in *I) (*O, error) {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
		return h(ctx, in)
	}, with)
}

func (a *API) deliveries() {
	const one = "/v1/webhooks/{name}"
	managed(a, "list-deliveries", http.MethodGet, one+"/deliveries", "List the deliveries of a webhook, newest first", a.listDeliveries, answers(http.StatusOK))
	managed(a, "get-delivery", http.MethodGet, one+"/deliveries/{id}", "Show a delivery: what is sent, every attempt and its answer",
		func(ctx context.Context, in *ByDelivery) (*Out[DeliveryWhole], error) {
			r, err := a.Webhooks.Delivery(ctx, in.Name, in.ID)
			if err != nil {
				return nil, err
			}
			return a.deliveryWhole(r)
		}, answers(http.StatusOK))
	managed(a, "replay-delivery", http.MethodPost, one+"/deliveries/{id}/replay", "Make a delivery again, as the next of its mailbox; one that waits is tried at once",
		func(ctx context.Context, in *ByDelivery) (*Out[Delivery], error) {
			r, err := a.Webhooks.Replay(ctx, caller(ctx).Actor, in.Name, in.ID)
			return &Out[Delivery]{deliveryOut(r)}, err
		}, answers(http.StatusOK))
	managed(a, "replay-webhook", http.MethodPost, one+"/replay", "Make every parked delivery of a webhook again, in order", a.replayWebhook, answers(http.StatusOK))
	managed(a, "enable-webhook", http.MethodPost, one+"/enable", "Switch a webhook on; what waits for it is tried at once",
		func(ctx context.Context, in *ByName) (*Out[Webhook], error) {
			w, err := a.Webhooks.Enable(ctx, caller(ctx).Actor, in.Name)
			return a.webhookNow(ctx, w, seal.Secret{}, err)
		}, answers(http.StatusOK))
	managed(a, "disable-webhook", http.MethodPost, one+"/disable", "Switch a webhook off; what waits for it stays, and nothing more is queued",
		func(ctx context.Context, in *ByName) (*Out[Webhook], error) {
			w, err := a.Webhooks.Disable(ctx, caller(ctx).Actor, in.Name)
			return a.webhookNow(ctx, w, seal.Secret{}, err)
		}, answers(http.StatusOK))
	managed(a, "test-webhook", http.MethodPost, one+"/test", "Post a signed webhook.ping to the receiver now and say what it answered",
		func(ctx context.Context, in *ByName) (*Out[Tested], error) {
			p, err := a.Webhooks.Ping(ctx, caller(ctx).Actor, in.Name)
			return &Out[Tested]{Tested{Delivered: p.Delivered, ID: p.ID, Body: p.Body, DeliveryAttempt: attemptOut(p.Try)}}, err
		}, answers(http.StatusOK))
	managed(a, "rotate-webhook-secret", http.MethodPost, one+"/secret", "Give a webhook a new signing secret; a generated one is shown this once", a.rotateSecret, creating(http.StatusCreated))
}

func (a *API) listDeliveries(ctx context.Context, in *DeliveryQuery) (*Out[Page[Delivery]], error) {
	f := webhook.Filter{State: webhook.State(in.State), Before: in.Cursor, Limit: in.limit() + 1} // one more tells whether there is a next page
	if in.Mailbox != "" {
		m, err := a.find(ctx, in.Mailbox, access.Manage)
		if err != nil {
			return nil, err
		}
		f.MailboxID = m.ID
	}
	all, err := a.Webhooks.Deliveries(ctx, in.Name, f)
	if err != nil {
		return nil, err
	}
	page := Page[Delivery]{Items: []Delivery{}}
	if len(all) == f.Limit {
		all = all[:f.Limit-1]
		page.Next = all[f.Limit-2].Delivery.ID
	}
	for _, r := range all {
		page.Items = append(page.Items, deliveryOut(r))
	}
	return &Out[Page[Delivery]]{page}, nil
}

func (a *API) replayWebhook(ctx context.Context, in *ByName) (*Out[Replayed], error) {
	n, err := a.Webhooks.ReplayParked(ctx, caller(ctx).Actor, in.Name)
	if err != nil {
		return nil, err
	}
	w, err := a.Webhooks.Get(ctx, in.Name)
	return &Out[Replayed]{Replayed{Replayed: n, Disabled: w.Disabled}}, err
}

func (a *API) rotateSecret(ctx context.Context, in *struct {
	ByName
	Body *NewSecret
},
) (*Out[Webhook], error) {
	var r webhook.Rotation
	if in.Body != nil {
		r.Secret = seal.NewSecret(in.Body.Secret)
		if in.Body.Overlap != "" {
			d, err := time.ParseDuration(in.Body.Overlap)
			if err != nil {
				return nil, &fault.Error{
					ID: "webhook.field", Kind: fault.Invalid, Field: "overlap", Who: []fault.Who{fault.Operator},
					Text: "This is not a duration.", Remedy: "Write it as 24h, 90m or 0s.",
				}
			}
			r.Overlap = &d
		}
	}
	w, generated, err := a.Webhooks.RotateSecret(ctx, caller(ctx).Actor, in.Name, r)
	return a.webhookNow(ctx, w, generated, err)
}
