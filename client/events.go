package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Event is one thing that happened. IDs sort by time.
type Event struct {
	ID      string            `json:"id"`
	At      time.Time         `json:"at"`
	Kind    string            `json:"kind"`
	Mailbox string            `json:"mailbox,omitempty"`
	Actor   Actor             `json:"actor"`
	Cause   string            `json:"cause,omitempty"`
	Text    string            `json:"text"`
	Remedy  string            `json:"remedy,omitempty"`
	Data    map[string]string `json:"data,omitempty"`
}

// Actor is who caused an event. Kind is system, operator, api_key, local or owner.
type Actor struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
}

// EventFilter selects events. Kinds are kinds, families such as submission.*,
// or *; none: every kind. Actors are who caused them: system, operator, api_key,
// local or owner, with a name after a colon where one is meant, such as
// operator:anna; none: anybody.
type EventFilter struct {
	Mailbox   string
	Kinds     []string
	Actors    []string
	Attention bool      // only those for which a person has to act
	Text      string    // in the sentence, the cause or the details, in capitals or not
	Since     time.Time // this moment and later
	Until     time.Time // before this moment
	PageSize  int
	// After is, for Follow, the ID of the last event known; empty: from now on.
	After string
}

func (f EventFilter) query() url.Values {
	q := url.Values{}
	set(q, "mailbox", f.Mailbox)
	set(q, "kind", strings.Join(f.Kinds, ","))
	set(q, "actor", strings.Join(f.Actors, ","))
	set(q, "text", f.Text)
	set(q, "since", moment(f.Since))
	set(q, "until", moment(f.Until))
	if f.Attention {
		q.Set("attention", "true")
	}
	return q
}

const eventsPath = "/v1/events"

// Events lists the timeline, newest first.
func (c *Client) Events(ctx context.Context, f EventFilter) iter.Seq2[Event, error] {
	return list[Event](ctx, c, eventsPath, f.query(), f.PageSize)
}

// Follow yields events as they happen, until ctx ends or the caller stops. A
// broken stream is taken up again where it broke, so that no event is missed
// or given twice; only a refusal of the server, or a first call that fails,
// ends it with an error.
func (c *Client) Follow(ctx context.Context, f EventFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if f.After == "" {
			// Whatever comes is later than the newest of all that the caller may see.
			newest, err := Collect(c.Events(ctx, EventFilter{Mailbox: f.Mailbox, PageSize: 1}), 1)
			if err != nil {
				yield(Event{}, err)
				return
			}
			// What comes before every ID: with no event yet, all that come are new.
			f.After = "0"
			if len(newest) > 0 {
				f.After = newest[0].ID
			}
		}
		c.follow(ctx, f, yield)
	}
}

func (c *Client) follow(ctx context.Context, f EventFilter, yield func(Event, error) bool) {
	wait := c.options.Reconnect
	for first := true; ; first = false {
		stopped, heard := false, false
		var bad error
		in := call{method: http.MethodGet, path: eventsPath, query: f.query(), header: http.Header{"Last-Event-Id": {f.After}}}
		err := c.stream(ctx, in, func(s sent) bool {
			heard = true
			var e Event
			if bad = json.Unmarshal([]byte(s.data), &e); bad != nil {
				return false
			}
			if s.id != "" {
				f.After = s.id
			}
			stopped = !yield(e, nil)
			return !stopped
		})
		var p *Problem
		switch {
		case stopped:
			return
		case ctx.Err() != nil:
			yield(Event{}, ctx.Err())
			return
		case bad != nil:
			yield(Event{}, fmt.Errorf("an event of the stream cannot be read: %w", bad))
			return
		case errors.As(err, &p) && p.Status < 500 && p.Status != http.StatusTooManyRequests, errors.Is(err, ErrTooLarge), first && err != nil && !heard && !errors.Is(err, errSilent):
			yield(Event{}, err)
			return
		}
		if heard {
			wait = c.options.Reconnect
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		wait = min(2*wait, longestReconnect)
	}
}
