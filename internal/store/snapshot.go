package store

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Snapshot writes the database as it is at one instant to a new SQLite file,
// while others read and write it. PostgreSQL has its own tools for that:
// "store.no_snapshot" (Invalid).
func (s *Store) Snapshot(ctx context.Context, path string) error {
	if s.dialect.name != sqliteDialect.name {
		return &fault.Error{
			ID: "store.no_snapshot", Kind: fault.Invalid, Field: "database", Text: "The database is PostgreSQL, which makes its own backups.",
			Who: []fault.Who{fault.Operator}, Remedy: "Back it up with pg_dump or by archiving its write-ahead log, and keep a copy of the key file apart.",
		}
	}
	_, err := s.write.ExecContext(ctx, "VACUUM INTO $1", path)
	return fail(ctx, "copy the database", err)
}

// DoubtSubmissions notes of every submission that waits, or is under way, that it
// may have been sent already: so it is with those of a copy, since whoever the
// copy was made of went on.
func (s *Store) DoubtSubmissions(ctx context.Context) error {
	return s.change(ctx, "doubt the submissions that wait", func(t *tx) error {
		_, err := t.exec("UPDATE submissions SET in_data = TRUE WHERE state IN ('queued', 'sending')")
		return err
	})
}

// Sound checks the pages and indexes of an SQLite file; "store.damaged" (Invalid).
func (s *Store) Sound(ctx context.Context) error {
	var found string
	if err := s.read.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return damaged(err)
	}
	if found != "ok" {
		return damaged(fmt.Errorf("quick_check: %s", found))
	}
	return nil
}

func damaged(err error) error {
	return &fault.Error{
		ID: "store.damaged", Kind: fault.Invalid, Field: "database", Text: "The database file is damaged.",
		Who: []fault.Who{fault.Operator}, Remedy: "Use another backup.", Err: err,
	}
}

// Schema is the version of the schema that stands in the database.
func (s *Store) Schema(ctx context.Context) (int64, error) {
	var version int64
	err := s.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version").Scan(&version)
	return version, fail(ctx, "read the version of the schema", err)
}

// NewestSchema is the version that this program brings a database to.
func NewestSchema() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, fmt.Errorf("list the migrations: %w", err)
	}
	var newest int64
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			return 0, fmt.Errorf("number of %s: %w", f, err)
		}
		newest = max(newest, v)
	}
	return newest, nil
}

// known refuses a database whose schema this program does not know.
func (s *Store) known(ctx context.Context) error {
	stored, err := s.Schema(ctx)
	if err != nil {
		return err
	}
	newest, err := NewestSchema()
	if err == nil && stored > newest {
		err = newerSchema(stored, newest)
	}
	return err
}

// newerSchema refuses a database that a newer program has written.
func newerSchema(stored, newest int64) error {
	return &fault.Error{
		ID: "store.newer_schema", Kind: fault.Conflict, Field: "database",
		Text:   fmt.Sprintf("The database was written by a newer Mailgrant: its schema is version %d, and this program knows up to %d.", stored, newest),
		Who:    []fault.Who{fault.Operator},
		Remedy: "Start the newer program again, or restore the backup that was made before the upgrade.",
	}
}
