package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/mailgrant/mailgrant/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date. Several processes may start at once:
// PostgreSQL lets one of them at a time migrate, by an advisory lock; on SQLite
// the loser of the race finds the work done when it looks again.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open the migrations: %w", err)
	}
	kind := goose.DialectSQLite3
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.log)}
	if s.dialect.name == postgresDialect.name {
		kind = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("prepare the lock for migrating: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(kind, s.write, files, options...)
	if err != nil {
		return fmt.Errorf("prepare the migrations: %w", err)
	}
	for range 3 {
		if err = s.bring(ctx, provider); err == nil || errors.Is(err, &fault.Error{ID: "store.newer_schema"}) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (s *Store) bring(ctx context.Context, provider *goose.Provider) error {
	stored, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the schema: %w", err)
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	if stored > newest {
		return newerSchema(stored, newest)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema up to date: %w", err)
	}
	return nil
}
