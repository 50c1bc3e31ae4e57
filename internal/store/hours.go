package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

const microsPerHour = int64(time.Hour / time.Microsecond)

// countHours adds events to the counts of their hours, in one order, so that no
// two transactions wait for each other in a circle.
func (t *tx) countHours(events []event.Event) error {
	type place struct {
		hour int64
		kind event.Kind
	}
	counts := map[place]int64{}
	for _, e := range events {
		counts[place{stamp(e.At) / microsPerHour, e.Kind}]++
	}
	inOrder := func(a, b place) int { return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.kind, b.kind)) }
	for _, p := range slices.SortedFunc(maps.Keys(counts), inOrder) {
		_, err := t.exec(`
			INSERT INTO event_hours (hour, kind, number) VALUES ($1, $2, $3)
			ON CONFLICT (hour, kind) DO UPDATE SET number = event_hours.number + excluded.number`, p.hour, string(p.kind), counts[p])
		if err != nil {
			return err
		}
	}
	return nil
}

// EventHours counts the events of these kinds in each hour from a time on, in
// order; hours without any are left out. For mailboxes it counts theirs alone,
// which means reading their events of that time.
func (s *Store) EventHours(ctx context.Context, from time.Time, kinds []event.Kind, mailboxIDs []string) ([]event.Hour, error) {
	if err := s.placeLeft(ctx); err != nil {
		return nil, err
	}
	var c condition
	query := "SELECT hour, kind, number FROM event_hours"
	first := stamp(from) / microsPerHour
	if len(mailboxIDs) == 0 {
		c.add("hour >= ?", first)
		query += c.where() + " ORDER BY hour, kind"
	} else {
		// Only by mailbox and position: an index of kinds or times would lead through everybody's events.
		oneOf(&c, "mailbox_id", mailboxIDs)
		c.add("position >= COALESCE((SELECT MIN(position) FROM events WHERE at >= ?), 0)", first*microsPerHour)
		c.add("at / 3600000000 >= ?", first)
		query = "SELECT at / 3600000000, kind, COUNT(*) FROM events" + c.where() + " GROUP BY 1, 2 ORDER BY 1, 2"
	}
	var hours []event.Hour
	err := s.rows(ctx, query, c.args, func(row scanner) error {
		var h event.Hour
		var hour int64
		err := row.Scan(&hour, &h.Kind, &h.Number)
		h.At = time.UnixMicro(hour * microsPerHour).UTC()
		if slices.Contains(kinds, h.Kind) {
			hours = append(hours, h)
		}
		return err
	})
	return hours, fail(ctx, "count events by the hour", err)
}
