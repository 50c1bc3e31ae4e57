package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// EventQuery selects events.
type EventQuery struct {
	Paging
	Mailbox   string    `query:"mailbox" doc:"Address; empty: every mailbox the key may read."`
	Kinds     []string  `query:"kind" doc:"Kinds, families such as submission.*, or *."`
	Attention bool      `query:"attention" doc:"Only those for which a person has to act."`
	Actors    []string  `query:"actor" doc:"Who caused them: system, operator, api_key, local or owner, with a name after a colon where one is meant, such as operator:anna."`
	Text      string    `query:"text" maxLength:"200" doc:"Only those with this text in the sentence, the cause or the details, in capitals or not."`
	Since     time.Time `query:"since" doc:"Only those of this moment and later."`
	Until     time.Time `query:"until" doc:"Only those of before this moment."`
	After     string    `query:"after" maxLength:"64" doc:"When following: only events after this id."`
	Accept    string    `header:"Accept" hidden:"true"`
	LastID    string    `header:"Last-Event-ID" maxLength:"64"`
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
				done, err := a.Access.OpenStream(caller(ctx))
				if err != nil {
					return nil, err
				}
				return &huma.StreamResponse{Body: func(c huma.Context) {
					defer done()
					a.follow(c, f)
				}}, nil
			}
			found, err := a.Reads.EventPage(ctx, f)
			if err != nil {
				return nil, err
			}
			page := Page[event.Event]{Items: found.Events, Next: found.Next}
			if page.Items == nil {
				page.Items = []event.Event{}
			}
			return &huma.StreamResponse{Body: func(c huma.Context) {
				c.SetHeader("Content-Type", "application/json")
				_ = json.NewEncoder(c.BodyWriter()).Encode(page)
			}}, nil
		}, produces[Page[event.Event]](a, eventStream))
}

func (a *API) eventFilter(ctx context.Context, in *EventQuery) (event.Filter, error) {
	f := event.Filter{Attention: in.Attention, Text: in.Text, Since: in.Since, Until: in.Until, Before: in.Cursor, Limit: in.limit()}
	for i, k := range in.Kinds {
		p, err := event.ParsePattern(k)
		if err != nil {
			return f, indexed(err, i)
		}
		f.Patterns = append(f.Patterns, p)
	}
	for i, one := range in.Actors {
		actor, err := event.ParseActor(one)
		if err != nil {
			return f, indexed(err, i)
		}
		f.Actors = append(f.Actors, actor)
	}
	var err error
	f.MailboxIDs, err = a.readable(ctx, in.Mailbox)
	return f, err
}

// indexed names which of several values is wrong.
func indexed(err error, i int) error {
	bad := *fault.Of(err)
	bad.Field = fmt.Sprintf("%s[%d]", bad.Field, i)
	return &bad
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
// key ends or its rights change, or the server is to end.
func (a *API) follow(c huma.Context, f event.Filter) {
	ctx := c.Context()
	c.SetHeader("Content-Type", eventStream)
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
		// Whatever comes is later than the newest of all that the caller may see.
		newest, err := a.Reads.EventPage(ctx, event.Filter{MailboxIDs: f.MailboxIDs, Limit: 1})
		if err == nil && len(newest.Events) > 0 {
			f.After = newest.Events[0].ID
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
	began := caller(ctx)
	for {
		if good != nil {
			c, err := good(ctx)
			if err != nil || c.All != began.All || !slices.Equal(c.May, began.May) || !slices.Equal(c.Mailboxes, began.Mailboxes) {
				return // the API key was removed, has ended, or may do other things now
			}
		}
		page, err := a.Reads.EventPage(ctx, f)
		if err != nil {
			return
		}
		events := page.Events
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
		if page.Next != "" {
			f.After = page.Next // also past what was not wanted
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
