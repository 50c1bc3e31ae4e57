package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// EventQuery selects events.
type EventQuery struct {
	Paging
	Mailbox string   `query:"mailbox" doc:"Address; empty: every mailbox the key may read."`
	Kinds   []string `query:"kind" doc:"Kinds, families such as submission.*, or *."`
	After   string   `query:"after" maxLength:"64" doc:"When following: only events after this id."`
	Accept  string   `header:"Accept"`
	LastID  string   `header:"Last-Event-ID" maxLength:"64"`
}

// followEvery is how often a follower looks for new events; heartbeat keeps
// idle connections of proxies open.
const (
	followEvery = 500 * time.Millisecond
	heartbeat   = 20 * time.Second
)

func (a *API) events() {
	register(a, "list-events", http.MethodGet, "/v1/events", "The timeline, newest first; with Accept: text/event-stream it is followed", "Events",
		func(ctx context.Context, in *EventQuery) (*huma.StreamResponse, error) {
			f, err := a.eventFilter(ctx, in)
			if err != nil {
				return nil, err
			}
			if wantsStream(in.Accept) {
				f.After = in.LastID
				if f.After == "" {
					f.After = in.After
				}
				return &huma.StreamResponse{Body: func(c huma.Context) { a.follow(c, f) }}, nil
			}
			f.Limit++ // one more tells whether there is a next page
			events, err := a.Reads.Events(ctx, f)
			if err != nil {
				return nil, err
			}
			page := Page[event.Event]{Items: events}
			if page.Items == nil {
				page.Items = []event.Event{}
			}
			if len(events) == f.Limit {
				page.Items = events[:f.Limit-1]
				page.Next = page.Items[f.Limit-2].ID
			}
			return &huma.StreamResponse{Body: func(c huma.Context) {
				c.SetHeader("Content-Type", "application/json")
				_ = json.NewEncoder(c.BodyWriter()).Encode(page)
			}}, nil
		}, produces[Page[event.Event]](a, "text/event-stream"))
}

func (a *API) eventFilter(ctx context.Context, in *EventQuery) (event.Filter, error) {
	f := event.Filter{Before: in.Cursor, Limit: in.limit()}
	for i, k := range in.Kinds {
		p := event.Pattern(k)
		if err := p.Check(); err != nil {
			bad := *fault.Of(err)
			bad.Field = fmt.Sprintf("kind[%d]", i)
			return f, &bad
		}
		f.Patterns = append(f.Patterns, p)
	}
	var err error
	f.MailboxIDs, err = a.readable(ctx, in.Mailbox)
	return f, err
}

// readable gives the IDs of the mailboxes a caller may read: the named one, or
// all of a caller's; nil for every mailbox there is.
func (a *API) readable(ctx context.Context, address string) ([]string, error) {
	return a.visible(ctx, address, access.Read)
}

// visible does so for another right.
func (a *API) visible(ctx context.Context, address string, right access.Right) ([]string, error) {
	c := caller(ctx)
	if address != "" {
		m, err := a.find(ctx, address, right)
		return []string{m.ID}, err
	}
	if err := c.Allows(right, ""); err != nil {
		return nil, err
	}
	if c.All || len(c.Mailboxes) == 0 {
		return nil, nil
	}
	ids := []string{}
	for _, address := range c.Mailboxes {
		m, err := a.Connect.Mailboxes.Get(ctx, address)
		if fault.Has(err, "mailbox.unknown") {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, m.ID)
	}
	if len(ids) == 0 {
		ids = append(ids, "none") // an empty list would mean all
	}
	return ids, nil
}

// follow streams events as server-sent events until the caller goes away, its API
// key ends, or the server is to end.
func (a *API) follow(c huma.Context, f event.Filter) {
	ctx := c.Context()
	c.SetHeader("Content-Type", "text/event-stream")
	w := c.BodyWriter()
	var flush func() error
	if rw, ok := w.(http.ResponseWriter); ok {
		rc := http.NewResponseController(rw)
		_ = rc.SetWriteDeadline(time.Time{})
		flush = rc.Flush
	} else {
		flush = func() error { return nil }
	}
	if f.After == "" {
		newest, err := a.Reads.Events(ctx, event.Filter{MailboxIDs: f.MailboxIDs, Patterns: f.Patterns, Limit: 1})
		if err == nil && len(newest) > 0 {
			f.After = newest[0].ID
		} else {
			f.After = "0"
		}
	}
	_, _ = fmt.Fprint(w, ": following\n\n")
	_ = flush()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	last := time.Now()
	good, _ := ctx.Value(stillKey{}).(still) // none through the socket
	for {
		if good != nil && good(ctx) != nil {
			return // the API key was removed, or has ended
		}
		events, err := a.Reads.Events(ctx, f)
		if err != nil {
			return
		}
		for _, e := range events {
			b, err := json.Marshal(e)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, b); err != nil {
				return
			}
			f.After = e.ID
		}
		if len(events) == 0 && time.Since(last) > heartbeat {
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil {
				return
			}
		}
		if len(events) > 0 || time.Since(last) > heartbeat {
			last = time.Now()
			if flush() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-a.Draining:
			return
		case <-tick.C:
		}
	}
}
