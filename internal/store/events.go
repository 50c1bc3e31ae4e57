package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailgrant/mailgrant/internal/event"
)

// WriteEvent writes an event that accompanies no other change.
func (s *Store) WriteEvent(ctx context.Context, e event.Event) error {
	return s.change(ctx, "write an event", func(t *tx) error { return t.addEvents(e) })
}

// addEvents writes events, which get their places in the timeline now or, on
// PostgreSQL, when they are committed; see places.go. An event without a kind is
// none. It is the last thing a transaction does.
func (t *tx) addEvents(events ...event.Event) error {
	events = slices.DeleteFunc(slices.Clone(events), func(e event.Event) bool { return e.Kind == "" })
	if len(events) == 0 {
		return nil
	}
	for _, e := range events {
		t.events = append(t.events, e.Kind)
	}
	if t.s.dialect.oneWriter {
		return t.place(events)
	}
	var rows [][]any
	for _, e := range events {
		row, err := eventRow(e)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if err := t.insert("unplaced_events ("+eventColumns+")", rows); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// plain makes foreign text storable: PostgreSQL takes neither NUL nor broken
// UTF-8.
func plain(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

const eventColumns = `id, at, kind, mailbox_id, mailbox, actor_kind, actor_name, cause, text, remedy, data`

func eventRow(e event.Event) ([]any, error) {
	data, err := text(e.Data)
	return []any{
		e.ID, stamp(e.At), string(e.Kind), e.MailboxID, e.Mailbox, string(e.Actor.Kind), plain(e.Actor.Name), e.Cause, plain(e.Text), plain(e.Remedy), data,
	}, err
}

func scanEvent(e *event.Event) []any {
	return []any{
		&e.ID, at(&e.At), &e.Kind, &e.MailboxID, &e.Mailbox, &e.Actor.Kind, &e.Actor.Name, &e.Cause, &e.Text, &e.Remedy, from(&e.Data),
	}
}

// Events lists the timeline, however far it has to look; see event.Filter.
func (s *Store) Events(ctx context.Context, f event.Filter) ([]event.Event, error) {
	f.Limit = atMost(f.Limit)
	cursor := &f.Before
	if f.After != "" {
		cursor = &f.After
	}
	var found []event.Event
	for {
		page, err := s.EventPage(ctx, f)
		if err != nil {
			return nil, err
		}
		found = append(found, page.Events...)
		if f.Limit -= len(page.Events); f.Limit <= 0 || page.Next == "" || page.Next == *cursor {
			return found, nil
		}
		*cursor = page.Next
	}
}

// EventPage gives one page of the timeline. An ID that is not known (any more)
// stands for the place its time gives it.
func (s *Store) EventPage(ctx context.Context, f event.Filter) (event.Page, error) {
	kinds := wanted(f)
	if kinds != nil && len(kinds) == 0 {
		return event.Page{}, nil
	}
	if err := s.placeLeft(ctx); err != nil {
		return event.Page{}, err
	}
	var newest mark
	l := listing{table: "events", columns: eventColumns, key: "position", ascending: f.After != "", limit: atMost(f.Limit), bounds: func(c *condition) { eventBounds(c, f, newest) }}
	if f.After != "" {
		var err error
		if newest, err = s.newestEvent(ctx); err != nil || newest.id == "" || newest.id == f.After {
			return event.Page{Next: f.After}, fail(ctx, "look for new events", err)
		}
	}
	follow(&l, "mailbox_id", f.MailboxIDs)
	if len(f.Actors) > 0 {
		followActors(&l, f.Actors)
	}
	follow(&l, "kind", kinds)
	l.contain("lower(text || ' ' || cause || ' ' || data)", f.Text)
	var page event.Page
	more, edge, err := l.page(ctx, s, func(row scanner) error {
		var e event.Event
		err := row.Scan(scanEvent(&e)...)
		page.Events = append(page.Events, e)
		return err
	})
	switch {
	case err != nil:
	case more:
		page.Next = page.Events[len(page.Events)-1].ID
	case edge != nil:
		err = s.read.QueryRowContext(ctx, "SELECT id FROM events WHERE position = $1", edge).Scan(&page.Next)
		if absent(err) { // removed just now, with all before it
			err = nil
		}
	case newest.id != "":
		page.Next = newest.id
	}
	return page, fail(ctx, "list events", err)
}

// mark is an event and its place.
type mark struct {
	id       string
	position int64
}

// newestEvent gives the place up to which the timeline can be read now: nothing
// appears before it any more.
func (s *Store) newestEvent(ctx context.Context) (mark, error) {
	var m mark
	err := s.read.QueryRowContext(ctx, "SELECT id, position FROM events ORDER BY position DESC LIMIT 1").Scan(&m.id, &m.position)
	if absent(err) {
		err = nil
	}
	return m, err
}

// slack is how far the order of events by their time may differ from that in
// which they became visible.
const slack = time.Minute

// eventBounds are the ranges of the position that a filter speaks of.
func eventBounds(c *condition, f event.Filter, newest mark) {
	if f.After != "" {
		c.add("position <= ?", newest.position)
		c.add("position > COALESCE((SELECT position FROM events WHERE id = ?), (SELECT position FROM events WHERE id <= ? ORDER BY id DESC LIMIT 1), 0)", f.After, f.After)
	} else if f.Before != "" {
		c.add("position < COALESCE((SELECT position FROM events WHERE id = ?), (SELECT position FROM events WHERE id >= ? ORDER BY id LIMIT 1), 9223372036854775807)", f.Before, f.Before)
	}
	if !f.Since.IsZero() {
		c.add("position >= (SELECT position FROM events WHERE at >= ? ORDER BY at LIMIT 1)", stamp(f.Since.Add(-slack)))
		c.add("at >= ?", stamp(f.Since))
	}
	if !f.Until.IsZero() {
		c.add("position <= (SELECT position FROM events WHERE at < ? ORDER BY at DESC LIMIT 1)", stamp(f.Until.Add(slack)))
		c.add("at < ?", stamp(f.Until))
	}
}

// followActors adds who caused an event. Mailgrant itself caused nearly all, so
// only the others have an index.
func followActors(l *listing, actors []event.Actor) {
	var kinds []event.ActorKind
	named := false
	for _, a := range actors {
		named = named || a.Name != ""
		if !slices.Contains(kinds, a.Kind) {
			kinds = append(kinds, a.Kind)
		}
	}
	if slices.Contains(kinds, event.ActorSystem) || l.path != "" {
		l.filter(func(c *condition) { oneOf(c, "actor_kind", kinds) })
	} else {
		follow(l, "actor_kind <> 'system' AND actor_kind", kinds)
	}
	if !named {
		return
	}
	l.filter(func(c *condition) {
		var ways []string
		for _, a := range actors {
			one := "actor_kind = " + c.arg(string(a.Kind))
			if a.Name != "" {
				one += " AND actor_name = " + c.arg(a.Name)
			}
			ways = append(ways, "("+one+")")
		}
		c.parts = append(c.parts, "("+strings.Join(ways, " OR ")+")")
	})
}

// wanted gives the kinds that a filter selects, of those there are; nil: all.
func wanted(f event.Filter) []event.Kind {
	if len(f.Patterns) == 0 && !f.Attention || slices.Contains(f.Patterns, "*") && !f.Attention {
		return nil
	}
	kinds := []event.Kind{}
	for _, k := range event.Kinds() {
		if f.Wants(k) {
			kinds = append(kinds, k.Kind)
		}
	}
	return kinds
}
