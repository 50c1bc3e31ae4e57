// Package storetest says what the store means: a suite that runs against every
// database, and databases for other packages' tests.
package storetest

import (
	"path/filepath"
	"testing"

	"github.com/mailgrant/mailgrant/internal/store"
)

// OpenSQLite opens a new, empty SQLite database that ends with the test.
func OpenSQLite(t testing.TB) *store.Store {
	t.Helper()
	return OpenAt(t, filepath.Join(t.TempDir(), "mailgrant.db"))
}

// OpenAt opens the database at url, an SQLite path or a PostgreSQL URL, and
// closes it when the test ends.
func OpenAt(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
