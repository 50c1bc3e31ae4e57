package store

import "context"

// Counts says how much of everything there is, without saying whose.
type Counts struct {
	Mailboxes   map[string]int64 // by the state of their grant; "none" for those without one
	Quarantined int64            // authorizations that wait to be verified
	Submissions map[string]int64 // by state, those within their retention
	Deliveries  map[string]int64 // by state; delivered ones are not counted
	Messages    int64            // received messages that are kept
}

const countsQuery = `
	SELECT 'mailbox', COALESCE(g.state, 'none'), COUNT(*) FROM mailboxes m LEFT JOIN grants g ON g.mailbox_id = m.id GROUP BY g.state
	UNION ALL SELECT 'quarantine', '', COUNT(*) FROM quarantines
	UNION ALL SELECT 'submission', state, COUNT(*) FROM submissions GROUP BY state
	UNION ALL SELECT 'delivery', state, COUNT(*) FROM deliveries WHERE state <> 'delivered' GROUP BY state
	UNION ALL SELECT 'message', '', COUNT(*) FROM messages`

// Counts counts in one query, and so at one instant.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	if err := s.placeLeft(ctx); err != nil {
		return Counts{}, err
	}
	c := Counts{Mailboxes: map[string]int64{}, Submissions: map[string]int64{}, Deliveries: map[string]int64{}}
	err := s.rows(ctx, countsQuery, nil, func(row scanner) error {
		var of, state string
		var n int64
		if err := row.Scan(&of, &state, &n); err != nil {
			return err
		}
		switch of {
		case "mailbox":
			c.Mailboxes[state] += n
		case "quarantine":
			c.Quarantined = n
		case "submission":
			c.Submissions[state] = n
		case "delivery":
			c.Deliveries[state] = n
		case "message":
			c.Messages = n
		}
		return nil
	})
	if err != nil {
		return Counts{}, fail(ctx, "count what is stored", err)
	}
	return c, nil
}
