package store

import (
	"database/sql"
	"strings"
	"testing"
)

// TestPlans holds both databases to the indexes that what is asked for often, or
// while much is stored, was given.
func TestPlans(t *testing.T) {
	t.Parallel()
	plans := []struct {
		what             string
		query            string
		args             []any
		sqlite, postgres string
	}{
		{
			"due queues", dueQueues,
			[]any{"w", 1, 1},
			"SEARCH delivery_queues USING INDEX delivery_queues_due (webhook_id=? AND head_due_at>? AND head_due_at<?)",
			"Index Scan using delivery_queues_due on delivery_queues Index Cond: ((webhook_id = 'w'::text) AND (head_due_at <= '1'::bigint))",
		},
		{
			"parked deliveries", recorded + " WHERE d.webhook_id = $1 AND d.state = $2 AND d.state <> 'delivered' ORDER BY d.id DESC LIMIT $3",
			[]any{"w", "parked", 1},
			"SEARCH d USING INDEX deliveries_undelivered (webhook_id=? AND state=?)",
			"Index Scan Backward using deliveries_undelivered on deliveries d Index Cond: ((webhook_id = 'w'::text) AND (state = 'parked'::text))",
		},
		{
			"a page of them all", recorded + " WHERE d.webhook_id = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3",
			[]any{"w", "x", 1},
			"SEARCH d USING INDEX deliveries_listed (webhook_id=? AND id<?)",
			"Index Scan Backward using deliveries_listed on deliveries d Index Cond: ((webhook_id = 'w'::text) AND (id < 'x'::text))",
		},
		{
			"outdated", outdated,
			[]any{1, 1},
			"SEARCH d USING INDEX deliveries_ageing (state_since<?)",
			"Index Scan using deliveries_ageing on deliveries d Index Cond: (state_since < '1'::bigint)",
		},
		{
			"due grants", dueGrants,
			[]any{1, 1},
			"SEARCH grants USING INDEX grants_due (state=? AND next_refresh_at>? AND next_refresh_at<?)",
			"Index Scan using grants_due on grants Index Cond: ((state = 'active'::text) AND (next_refresh_at > 0) AND (next_refresh_at <= '1'::bigint))",
		},
		{
			"next due grant", nextDue, nil,
			"SEARCH grants USING COVERING INDEX grants_due (state=? AND next_refresh_at>?)",
			"Limit Index Only Scan using grants_due on grants Index Cond: ((state = 'active'::text) AND (next_refresh_at > 0))",
		},
		{
			"due submissions", dueSubmissions,
			[]any{1, 1},
			"SEARCH submissions USING INDEX submissions_due (due_at>? AND due_at<?)",
			"Index Scan using submissions_due on submissions Index Cond: (due_at <= '1'::bigint)",
		},
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for _, p := range plans {
			plan := explain(t, s.read, "EXPLAIN QUERY PLAN "+p.query, p.args)
			if !strings.Contains(plan, p.sqlite) || strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") {
				t.Errorf("%s:\n%s\nwant %s", p.what, plan, p.sqlite)
			}
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		s := processes(t, 1)[0]
		// An empty table is best read from its beginning to its end: that is not what is asked here.
		for _, way := range []string{"seqscan", "bitmapscan", "sort"} {
			if _, err := s.write.ExecContext(t.Context(), "ALTER ROLE CURRENT_USER IN DATABASE "+database(t, s)+" SET enable_"+way+" = off"); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Open(t.Context(), Options{URL: s.url, AsItIs: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = again.Close() })
		for _, p := range plans {
			plan := explain(t, again.read, "EXPLAIN (COSTS OFF) "+p.query, p.args)
			if !strings.Contains(plan, p.postgres) || strings.Contains(plan, "Sort") {
				t.Errorf("%s:\n%s\nwant %s", p.what, plan, p.postgres)
			}
		}
	})
}

func database(t *testing.T, s *Store) string {
	t.Helper()
	var name string
	if err := s.read.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// explain gives the steps of a plan, one after another.
func explain(t *testing.T, db *sql.DB, query string, args []any) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(string)
	}
	var steps []string
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		step, _ := into[len(into)-1].(*string) // the last column tells
		steps = append(steps, strings.TrimSpace(*step))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.Join(steps, " "), "->  ", "")
}
