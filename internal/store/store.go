package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/mailgrant/mailgrant/internal/event"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	write   *sql.DB // SQLite: one connection; PostgreSQL: the pool
	read    *sql.DB // SQLite: read-only connections; PostgreSQL: the same pool
	line    line    // SQLite: where changes wait for their turn
	places  places  // PostgreSQL: what gives events their places
	dialect dialect
	url     string
	log     *slog.Logger
	queue   atomic.Pointer[Enqueuer]
	wrote   func(event.Kind)
}

// Options say what to open.
type Options struct {
	// URL is the path of an SQLite file, which is made when it does not exist,
	// or a PostgreSQL URL (postgres://…).
	URL string
	// Logger; nil: nothing is logged.
	Logger *slog.Logger
	// Wrote is told the kind of each event that this process has committed; it
	// must not wait. nil: nobody is told.
	Wrote func(event.Kind)
	// AllowLazyDisk lets a PostgreSQL whose fsync is off be opened. For tests only:
	// a power failure then loses what was acknowledged.
	AllowLazyDisk bool
	// AsItIs leaves the schema as it stands, for looking at a database or copying
	// it. One that a newer Mailgrant has written is refused all the same.
	AsItIs bool
}

// Open opens the database and brings its schema up to date. A database that a
// newer Mailgrant has written, or one that does not write durably, is refused.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{url: o.URL, log: o.Logger, wrote: o.Wrote}
	s.places.ended, s.places.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.wrote == nil {
		s.wrote = func(event.Kind) {}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if IsPostgres(o.URL) {
		err = s.openPostgres(ctx, o)
	} else {
		err = s.openSQLite(o)
	}
	switch {
	case err != nil:
	case o.AsItIs:
		err = s.known(ctx)
	default:
		err = s.migrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(fail(ctx, "open the database", err), s.Close())
	}
	return s, nil
}

// IsPostgres reports whether a database is named by a PostgreSQL URL.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// Close gives back every connection. A transaction under way is rolled back
// when its context ends.
func (s *Store) Close() error {
	s.places.close()
	var errs []error
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return errors.Join(errs...)
}

// Ping asks the database for a sign of life, to tell whether requests can be
// served.
func (s *Store) Ping(ctx context.Context) error {
	var version int64
	// A table is read: SQLite answers a bare SELECT without touching its file.
	err := s.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version").Scan(&version)
	return fail(ctx, "ask the database for a sign of life", err)
}

// Dialect is "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.dialect.name }
