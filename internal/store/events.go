package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/event"
)

// WriteEvent writes an event that accompanies no other change.
func (s *Store) WriteEvent(ctx context.Context, e event.Event) error {
	return s.change(ctx, "write an event", func(t *tx) error { return t.addEvents(e) })
}

// oneEventWriter makes this transaction the one that writes events until it
// ends. Taken before the queues are locked, so that nobody waits in a circle.
func (t *tx) oneEventWriter() error {
	if t.s.dialect.oneEventWriter == "" {
		return nil
	}
	_, err := t.exec(t.s.dialect.oneEventWriter)
	return err
}

const insertEvent = `
INSERT INTO events (position, id, at, kind, mailbox_id, mailbox, actor_kind, actor_name, cause, text, remedy, data)
SELECT COALESCE(MAX(position), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM events`

// addEvents writes events and puts them into the queues of the webhooks that
// want them. An event without a kind is none. It is the last thing a
// transaction does.
func (t *tx) addEvents(events ...event.Event) error {
	events = slices.DeleteFunc(slices.Clone(events), func(e event.Event) bool { return e.Kind == "" })
	if len(events) == 0 {
		return nil
	}
	if err := t.oneEventWriter(); err != nil {
		return err
	}
	webhooks, err := t.listening()
	if err != nil {
		return err
	}
	for _, e := range events {
		data, err := text(e.Data)
		if err != nil {
			return err
		}
		_, err = t.exec(insertEvent, e.ID, stamp(e.At), string(e.Kind), e.MailboxID, e.Mailbox, string(e.Actor.Kind), plain(e.Actor.Name),
			e.Cause, plain(e.Text), plain(e.Remedy), data)
		if err != nil {
			return fmt.Errorf("write the event %s: %w", e.Kind, err)
		}
		t.events = append(t.events, e.Kind)
		if err := t.fanOut(webhooks, e); err != nil {
			return fmt.Errorf("queue the event %s: %w", e.Kind, err)
		}
	}
	return nil
}

// plain makes foreign text storable: PostgreSQL takes neither NUL nor broken
// UTF-8.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

const eventColumns = `id, at, kind, mailbox_id, mailbox, actor_kind, actor_name, cause, text, remedy, data`

func scanEvent(e *event.Event) []any {
	return []any{
		&e.ID, at(&e.At), &e.Kind, &e.MailboxID, &e.Mailbox, &e.Actor.Kind, &e.Actor.Name, &e.Cause, &e.Text, &e.Remedy, from(&e.Data),
	}
}

// Events lists the timeline; see event.Filter. An ID that is not known (any
// more) stands for the place its time gives it.
func (s *Store) Events(ctx context.Context, f event.Filter) ([]event.Event, error) {
	var c condition
	oneOf(&c, "mailbox_id", f.MailboxIDs)
	addPatterns(&c, f.Patterns)
	order := "DESC"
	if f.After != "" {
		order = "ASC"
		c.add("position > COALESCE((SELECT position FROM events WHERE id = ?), (SELECT MAX(position) FROM events WHERE id <= ?), 0)", f.After, f.After)
	} else if f.Before != "" {
		c.add("position < COALESCE((SELECT position FROM events WHERE id = ?), (SELECT MIN(position) FROM events WHERE id >= ?), 9223372036854775807)", f.Before, f.Before)
	}
	query := "SELECT " + eventColumns + " FROM events" + c.where() + " ORDER BY position " + order + " LIMIT " + c.arg(atMost(f.Limit))
	var events []event.Event
	err := s.rows(ctx, query, c.args, func(row scanner) error {
		var e event.Event
		err := row.Scan(scanEvent(&e)...)
		events = append(events, e)
		return err
	})
	if err != nil {
		return nil, fail(ctx, "list events", err)
	}
	return events, nil
}

// addPatterns selects the kinds that any of the patterns matches: the list of
// kinds is known, so a pattern becomes names.
func addPatterns(c *condition, patterns []event.Pattern) {
	if len(patterns) == 0 {
		return
	}
	var kinds []event.Kind
	for _, k := range event.Kinds() {
		for _, p := range patterns {
			if p.Matches(k.Kind) {
				kinds = append(kinds, k.Kind)
				break
			}
		}
	}
	if len(kinds) == 0 {
		c.add("1 = 0")
		return
	}
	oneOf(c, "kind", kinds)
}
