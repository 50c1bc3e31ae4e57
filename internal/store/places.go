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
// another's commit, and one round serves all who came while the last one ran. Who
// reads what rounds write has one run first, where something is left.

// mostPlaced bounds the events that one transaction places; longestRound is how
// long a round may take before it is given up, for the next to place its events.
const (
	mostPlaced   = 1024
	longestRound = 20 * time.Second
)

// places runs the rounds of one process.
type places struct {
	turn    sync.Mutex // held by the round that runs
	running sync.WaitGroup
	ended   context.Context //nolint:containedctx // of the store; ends a round that runs
	end     context.CancelFunc

	mu     sync.Mutex
	next   chan struct{} // closed when the round has ended that begins next; nil: nobody asked for one
	closed bool
}

// close ends what runs. What it leaves unplaced another process places, or this one
// when it opens the database again.
func (p *places) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.running.Wait()
}

// round has a round run that places all events which are committed by now; nobody
// has to wait for its end, which it gives.
func (s *Store) round() <-chan struct{} {
	p := &s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return p.next
	}
	done := make(chan struct{})
	if p.closed {
		close(done)
		return done
	}
	p.next = done
	p.running.Go(func() {
		defer close(done)
		p.turn.Lock()
		defer p.turn.Unlock()
		p.mu.Lock()
		p.next = nil // who comes now may have committed too late to be seen
		p.mu.Unlock()
		ctx, cancel := context.WithTimeout(p.ended, longestRound)
		defer cancel()
		if err := s.placeAll(ctx); err != nil && p.ended.Err() == nil {
			s.log.WarnContext(ctx, "events that are written could not be put into the timeline; it is tried again within seconds", "error", err)
		}
	})
	return done
}

// placeLeft has placed what is committed and not placed yet, by a round that is
// under way or by a process that died. So who saw a change finds its event, and
// what waits for delivery of it.
func (s *Store) placeLeft(ctx context.Context) error {
	if s.dialect.oneWriter {
		return nil
	}
	var left bool
	err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM unplaced_events)").Scan(&left)
	if err == nil && left {
		select {
		case <-s.round():
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return fail(ctx, "put events into the timeline", err)
}

func (s *Store) placeAll(ctx context.Context) error {
	for {
		taken := 0
		err := s.change(ctx, "put events into the timeline", func(t *tx) error {
			var err error
			taken, err = t.placeSome()
			return err
		})
		if err != nil || taken < mostPlaced {
			return err
		}
	}
}

// placeUnplaced places all events that are committed. Until it ends no other
// transaction may. Who changes what webhooks there are, or the queues of many
// mailboxes, begins with it: what happened before goes to those that listened
// before, and nobody waits in a circle for the rows of queues.
func (t *tx) placeUnplaced() error {
	for {
		if taken, err := t.placeSome(); err != nil || taken < mostPlaced {
			return err
		}
	}
}

// placeSome places the oldest mostPlaced of them, and gives how many there were.
func (t *tx) placeSome() (int, error) {
	if t.s.dialect.oneWriter {
		return 0, nil
	}
	if _, err := t.exec(t.s.dialect.onePlacer); err != nil {
		return 0, err
	}
	taken, events, err := t.unplaced()
	if err != nil || len(events) == 0 {
		return taken, err
	}
	return taken, t.place(events)
}

// unplaced takes the oldest unplaced events. Changes of one mailbox that followed
// one another are in their order. One that was written twice, by somebody who did
// not learn that it was committed, stands once, though it is counted as taken.
func (t *tx) unplaced() (taken int, events []event.Event, err error) {
	type entry struct {
		number int64
		event.Event
	}
	var found []entry
	err = t.rows(`
		DELETE FROM unplaced_events WHERE entry IN (SELECT entry FROM unplaced_events ORDER BY entry LIMIT $1)
		RETURNING entry, EXISTS (SELECT 1 FROM events e WHERE e.id = unplaced_events.id), `+eventColumns, []any{mostPlaced}, func(row scanner) error {
		var e entry
		var placed bool
		err := row.Scan(append([]any{&e.number, &placed}, scanEvent(&e.Event)...)...)
		taken++
		if !placed {
			found = append(found, e)
		}
		return err
	})
	slices.SortFunc(found, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	for _, e := range found {
		events = append(events, e.Event)
	}
	return taken, events, err
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
