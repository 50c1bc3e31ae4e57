package testbed_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestPostgres_GivesEachCallerAnEmptyDatabase(t *testing.T) {
	server := testbed.StartPostgres(t)
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			db := open(t, testbed.StartPostgres(t).NewDatabase(t))
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE thing (id bigint PRIMARY KEY)"); err != nil {
				t.Fatalf("a fresh database refused the table: %v", err)
			}
			var fsync string
			if err := db.QueryRowContext(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "on" {
				t.Fatalf("fsync is %q (%v), want on", fsync, err)
			}
		})
	}
	if again := testbed.StartPostgres(t); again != server {
		t.Fatal("a second server was started in one test binary")
	}
}

func TestPostgres_IsLostAndComesBack(t *testing.T) {
	server := testbed.StartOwnPostgres(t)
	db := open(t, server.NewDatabase(t))
	ctx := t.Context()
	if _, err := db.ExecContext(ctx, "CREATE TABLE kept (id bigint PRIMARY KEY); INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}

	t.Run("stopped: refused; started: what was committed is there", func(t *testing.T) {
		server.Stop()
		if err := db.PingContext(ctx); err == nil {
			t.Fatal("a stopped server answered")
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		var count int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM kept").Scan(&count); err != nil || count != 1 {
			t.Fatalf("after the restart: %d rows, %v; want 1", count, err)
		}
	})

	t.Run("paused: hangs; resumed: answers", func(t *testing.T) {
		server.Pause(t)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if err := db.PingContext(short); err == nil {
			if _, err := db.ExecContext(short, "SELECT 1"); err == nil {
				t.Fatal("a paused server answered")
			}
		}
		server.Resume(t)
		long, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if _, err := db.ExecContext(long, "SELECT 1"); err != nil {
			t.Fatalf("a resumed server did not answer: %v", err)
		}
	})
}
