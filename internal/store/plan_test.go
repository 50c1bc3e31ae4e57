package store

import (
	"database/sql"
	"strings"
	"testing"
)

// TestPlans holds SQLite to the indexes that what is asked for often, or while
// much is stored, was given.
func TestPlans(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{URL: t.TempDir() + "/mailgrant.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for what, c := range map[string]struct {
		query string
		args  []any
		want  string
	}{
		"due queues":         {dueQueues, []any{"w", 1, 1}, "SEARCH delivery_queues USING INDEX delivery_queues_due (webhook_id=? AND head_due_at>? AND head_due_at<?)"},
		"parked deliveries":  {recorded + " WHERE d.webhook_id = $1 AND d.state = $2 AND d.state <> 'delivered' ORDER BY d.id DESC LIMIT $3", []any{"w", "parked", 1}, "SEARCH d USING INDEX deliveries_undelivered (webhook_id=? AND state=?)"},
		"a page of them all": {recorded + " WHERE d.webhook_id = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3", []any{"w", "x", 1}, "SEARCH d USING INDEX deliveries_listed (webhook_id=? AND id<?)"},
		"outdated":           {outdated, []any{1, 1}, "SEARCH d USING INDEX deliveries_ageing (state_since<?)"},
	} {
		rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+c.query, c.args...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		plan := steps(t, rows)
		if !strings.Contains(plan, c.want) || strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") {
			t.Errorf("%s:\n%swant %s", what, plan, c.want)
		}
	}
}

func steps(t *testing.T, rows *sql.Rows) string {
	t.Helper()
	defer func() { _ = rows.Close() }()
	var all strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		all.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}
