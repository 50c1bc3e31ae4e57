package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Limits that keep one stuck process from holding up the others.
const (
	postgresConnections = 20
	// A process that stops within a transaction loses it, and its locks, after this.
	postgresIdleLimit = "10s"
	postgresLockLimit = "20s"
	postgresStatement = "60s"
)

// openPostgres opens the pool and refuses a server that acknowledges what it
// has not written.
func (s *Store) openPostgres(ctx context.Context, o Options) error {
	s.dialect = postgresDialect
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		// The library's own text may hold the password.
		return &fault.Error{
			ID: "store.url", Kind: fault.Invalid, Field: "database",
			Text: "The database URL cannot be understood.", Who: []fault.Who{fault.Operator},
			Remedy: "Write it as postgres://user:password@host:5432/database, or give the path of an SQLite file.",
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	for name, value := range map[string]string{
		"application_name": "mailgrant", "timezone": "UTC", "default_transaction_isolation": "read committed",
		"idle_in_transaction_session_timeout": postgresIdleLimit, "lock_timeout": postgresLockLimit, "statement_timeout": postgresStatement,
	} {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	s.write = stdlib.OpenDB(*config)
	s.write.SetMaxOpenConns(postgresConnections)
	s.write.SetMaxIdleConns(postgresConnections / 2)
	s.write.SetConnMaxIdleTime(5 * time.Minute)
	s.read = s.write
	return s.checkDurable(ctx, o.AllowLazyDisk)
}

func (s *Store) checkDurable(ctx context.Context, lazy bool) error {
	for _, check := range []struct {
		setting string
		allowed bool
	}{{"synchronous_commit", false}, {"fsync", lazy}} {
		var value string
		err := s.write.QueryRowContext(ctx, "SELECT current_setting($1)", check.setting).Scan(&value)
		if err != nil {
			return fmt.Errorf("ask PostgreSQL for %s: %w", check.setting, err)
		}
		if value == "off" && !check.allowed {
			return &fault.Error{
				ID: "store.not_durable", Kind: fault.Invalid, Field: "database",
				Text: fmt.Sprintf("PostgreSQL's setting %s is off: it would acknowledge what a power failure can still take, and a rotated refresh token would be lost.", check.setting),
				Who:  []fault.Who{fault.Operator}, Remedy: fmt.Sprintf("Set %s = on for this database, then start again.", check.setting),
			}
		}
	}
	return nil
}
