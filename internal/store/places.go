package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// The place of an event, its position, is the order in which events became visible.
// SQLite has one writer, which gives events their places as it writes them. On
// PostgreSQL changes commit at the same time, in an order that nobody knows before:
// they leave their events unplaced, and when they are committed a round places
// whatever it finds, one round at a time in all processes. So no change waits for
// another's commit, and one round serves all who came while the last one ran.

// mostPlaced bounds the events that one transaction places; longestRound is how
// long a change, which is committed, waits for its events to be placed.
const (
	mostPlaced   = 1024
	longestRound = 20 * time.Second
)

// places is where changes that are committed wait for their events to be placed.
type places struct {
	turn sync.Mutex // held by the round that runs

	mu   sync.Mutex
	next chan struct{} // closed when the round after that has ended; nil: nobody asked for one
}

// placeEvents has all events placed that were committed before it was called. Where
// that fails they are placed by the next who writes some or reads the timeline, or by
// the sweep for due deliveries.
func (s *Store) placeEvents(ctx context.Context) {
	p := &s.places
	p.mu.Lock()
	done := p.next
	if done != nil {
		p.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		return
	}
	done = make(chan struct{})
	p.next = done
	p.mu.Unlock()

	p.turn.Lock()
	p.mu.Lock()
	p.next = nil // who comes now may have committed too late to be seen
	p.mu.Unlock()
	defer close(done)
	defer p.turn.Unlock()
	// What is committed is not undone by a caller that gives up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestRound)
	defer cancel()
	if err := s.placeAll(ctx); err != nil {
		s.log.WarnContext(ctx, "events that are written could not be put into the timeline; it is tried again within seconds", "error", err)
	}
}

// placeLeft has placed what others committed and have not placed yet, or never
// will because they died. So who saw a change finds its event too.
func (s *Store) placeLeft(ctx context.Context) error {
	if s.dialect.oneWriter {
		return nil
	}
	var left bool
	err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM unplaced_events)").Scan(&left)
	if left {
		s.placeEvents(ctx)
	}
	return err
}

func (s *Store) placeAll(ctx context.Context) error {
	for {
		placed := 0
		err := s.change(ctx, "put events into the timeline", func(t *tx) error {
			if err := t.onePlacer(); err != nil {
				return err
			}
			events, err := t.unplaced()
			placed = len(events)
			if err != nil || placed == 0 {
				return err
			}
			return t.place(events)
		})
		if err != nil || placed < mostPlaced {
			return err
		}
	}
}

// onePlacer makes this transaction the one that may place events until it ends.
// Who changes the queues of many mailboxes asks for it too, before it locks one, so
// that nobody waits in a circle.
func (t *tx) onePlacer() error {
	if t.s.dialect.onePlacer == "" {
		return nil
	}
	_, err := t.exec(t.s.dialect.onePlacer)
	return err
}

// unplaced takes the oldest unplaced events. Changes of one mailbox that followed
// one another are in their order. One that was written twice, by somebody who did
// not learn that it was committed, stands once.
func (t *tx) unplaced() ([]event.Event, error) {
	type entry struct {
		number int64
		event.Event
	}
	var found []entry
	err := t.rows(`
		DELETE FROM unplaced_events WHERE entry IN (SELECT entry FROM unplaced_events ORDER BY entry LIMIT $1)
		RETURNING entry, EXISTS (SELECT 1 FROM events e WHERE e.id = unplaced_events.id), `+eventColumns, []any{mostPlaced}, func(row scanner) error {
		var e entry
		var placed bool
		err := row.Scan(append([]any{&e.number, &placed}, scanEvent(&e.Event)...)...)
		if !placed {
			found = append(found, e)
		}
		return err
	})
	slices.SortFunc(found, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	events := make([]event.Event, len(found))
	for i := range found {
		events[i] = found[i].Event
	}
	return events, err
}

// place puts events at the end of the timeline, into the queues of the webhooks
// that want them, and into the counts of their hours.
func (t *tx) place(events []event.Event) error {
	webhooks, err := t.listening()
	if err != nil {
		return err
	}
	var last int64
	if err := t.row("SELECT COALESCE(MAX(position), 0) FROM events").Scan(&last); err != nil {
		return err
	}
	var rows [][]any
	for i, e := range events {
		row, err := eventRow(e)
		if err != nil {
			return err
		}
		rows = append(rows, append([]any{last + int64(i) + 1}, row...))
	}
	if err := t.insert("events (position, "+eventColumns+")", rows); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	if err := t.fanOut(webhooks, events); err != nil {
		return fmt.Errorf("queue events: %w", err)
	}
	return t.countHours(events)
}
