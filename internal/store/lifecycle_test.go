package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// databases runs a test against a fresh database of each sort, by its URL.
func databases(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, filepath.Join(t.TempDir(), "folder", "mailgrant.db"))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("PostgreSQL is left out of short runs")
		}
		test(t, testbed.StartPostgres(t).NewDatabase(t))
	})
}

func tested(text string) event.Event {
	return event.New(time.Now(), event.MailboxTested, event.System(), text)
}

func count(t *testing.T, s *store.Store) int {
	t.Helper()
	found, err := s.Events(t.Context(), event.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore_OutlivesItsProcess(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, url string) {
		first := open(t, url)
		if err := first.WriteEvent(t.Context(), tested("Before.")); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		wantUnavailable(t, first.WriteEvent(t.Context(), tested("Closed.")))
		if n := count(t, storetest.OpenAt(t, url)); n != 1 {
			t.Errorf("%d events came back", n)
		}
	})
}

func TestStore_OpensOnceForAll(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, url string) {
		stores := make([]*store.Store, 4)
		var done sync.WaitGroup
		for i := range stores {
			done.Go(func() {
				var err error
				if stores[i], err = store.Open(t.Context(), store.Options{URL: url}); err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					if err := stores[i].WriteEvent(t.Context(), tested("Together.")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done.Wait()
		if t.Failed() {
			return
		}
		if n := count(t, stores[0]); n != 20 {
			t.Errorf("%d events of 20", n)
		}
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStore_RefusesWhatANewerProgramWrote(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, url string) {
		s := open(t, url)
		db, _ := s.Database()
		if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), store.Options{URL: url})
		if !fault.Has(err, "store.newer_schema") || !strings.Contains(err.Error(), "newer Mailgrant") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStore_EndsWithItsCaller(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, url string) {
		s := storetest.OpenAt(t, url)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.WriteEvent(ctx, tested("Never.")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Events(ctx, event.Filter{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := count(t, s); n != 0 {
			t.Errorf("%d events", n)
		}
	})
}

// wantUnavailable ends the test unless err says that the database cannot serve now.
func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.ID != "store.unavailable" || f.Kind != fault.Temporary || !f.Retry || f.Text == "" || f.Remedy == "" {
		t.Fatalf("got %v", err)
	}
}

func TestStore_SQLiteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a folder #1?", "mailgrant.db")
	s := storetest.OpenAt(t, path)
	if err := s.WriteEvent(t.Context(), tested("Here.")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	db, _ := s.Database()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v", pragma, got, err)
		}
	}
}

func TestStore_FullDisk(t *testing.T) {
	t.Parallel()
	s := storetest.OpenSQLite(t)
	db, _ := s.Database()
	var pages int64
	if err := db.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int64) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	long := strings.Repeat("x", 1<<16)
	err := s.WriteEvent(t.Context(), tested(long))
	wantUnavailable(t, err)
	if !strings.Contains(err.Error(), "full") {
		t.Errorf("got %v", err)
	}
	limit(pages * 100)
	if err := s.WriteEvent(t.Context(), tested(long)); err != nil {
		t.Errorf("it did not resume: %v", err)
	}
	if n := count(t, s); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestStore_RefusesAFolderItMayNotWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Options{URL: filepath.Join(file, "mailgrant.db")})
	if !fault.Has(err, "store.file") {
		t.Errorf("got %v", err)
	}
}

func TestStore_PostgreSQLLostAndBack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("PostgreSQL is left out of short runs")
	}
	server := testbed.StartOwnPostgres(t)
	s := storetest.OpenAt(t, server.NewDatabase(t))
	if err := s.WriteEvent(t.Context(), tested("Before.")); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	wantUnavailable(t, s.WriteEvent(t.Context(), tested("Lost.")))
	wantUnavailable(t, s.Ping(t.Context()))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("it did not come back: %v", err)
	}
	if err := s.WriteEvent(t.Context(), tested("After.")); err != nil {
		t.Errorf("it did not come back: %v", err)
	}
	if n := count(t, s); n != 2 {
		t.Errorf("%d events of the 2 that were acknowledged", n)
	}
}

func TestStore_RefusesAForgetfulPostgreSQL(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("PostgreSQL is left out of short runs")
	}
	url := testbed.StartPostgres(t).NewDatabase(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$")
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Options{URL: url})
	if !fault.Has(err, "store.not_durable") || !strings.Contains(err.Error(), "synchronous_commit") {
		t.Errorf("got %v", err)
	}
}

func TestStore_KeepsThePasswordOfItsURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://user:pass-marker@host:notaport/db", "postgres://user:pass-marker@127.0.0.1:1/db?connect_timeout=1"} {
		_, err := store.Open(t.Context(), store.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "pass-marker") {
			t.Errorf("got %v", err)
		}
		if fault.Of(err).ID == "internal" {
			t.Errorf("%v is not classified", err)
		}
	}
}
