package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/mailgrant/mailgrant/internal/event"
)

// tx is a transaction that changes something. Its jobs are handed on to the
// enqueuer before it commits, and announced afterwards.
type tx struct {
	*sql.Tx
	s    *Store
	ctx  context.Context //nolint:containedctx // lives as long as the one method call that made it
	jobs []Job

	events []event.Kind // written, and told once they are committed
}

// mostTries bounds how often a transaction that lost a race is run.
const mostTries = 6

// change runs fn in one transaction, again when PostgreSQL asks for it.
func (s *Store) change(ctx context.Context, doing string, fn func(*tx) error) error {
	var err error
	for range mostTries {
		if err = s.once(ctx, fn); err == nil || !mayRetry(err) || ctx.Err() != nil {
			break
		}
		s.log.DebugContext(ctx, "transaction lost a race", "doing", doing, "error", err)
	}
	return fail(ctx, doing, err)
}

func (s *Store) once(ctx context.Context, fn func(*tx) error) error {
	if s.dialect.oneWriter {
		return s.together(ctx, fn)
	}
	begun, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := &tx{Tx: begun, s: s, ctx: ctx}
	err = fn(t)
	if err == nil {
		err = t.enqueue()
	}
	if err != nil {
		// A connection that is gone cannot be rolled back, and need not be.
		if undo := begun.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			s.log.DebugContext(ctx, "roll back", "error", undo)
		}
		return err
	}
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	t.committed()
	if len(t.events) > 0 { // they are unplaced
		s.round()
	}
	return nil
}

// committed tells those who wait for it that the change is true now.
func (t *tx) committed() {
	t.announce()
	for _, k := range t.events {
		t.s.wrote(k)
	}
}

// exec runs a statement and gives how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	result, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// insert adds rows to a table, which is named with its columns; many in one
// statement, in few sizes, so that the statements are remembered.
func (t *tx) insert(table string, rows [][]any) error {
	for _, size := range [...]int{64, 8, 1} {
		for len(rows) >= size {
			var query strings.Builder
			query.WriteString("INSERT INTO " + table + " VALUES ")
			var args []any
			for i, row := range rows[:size] {
				query.WriteString(strings.Repeat(", ", min(1, i)) + "(")
				for j := range row {
					query.WriteString(strings.Repeat(", ", min(1, j)) + t.s.dialect.placeholder(len(args)+j+1))
				}
				query.WriteString(")")
				args = append(args, row...)
			}
			if _, err := t.exec(query.String(), args...); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
}

// row asks for one row.
func (t *tx) row(query string, args ...any) *sql.Row { return t.QueryRowContext(t.ctx, query, args...) }

// scanner is a row to scan.
type scanner interface{ Scan(into ...any) error }

// rows runs a query on the reading side and hands each row on.
func (s *Store) rows(ctx context.Context, query string, args []any, each func(scanner) error) error {
	found, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return drain(found, each)
}

// rows is the same within the transaction.
func (t *tx) rows(query string, args []any, each func(scanner) error) error {
	found, err := t.QueryContext(t.ctx, query, args...)
	if err != nil {
		return err
	}
	return drain(found, each)
}

func drain(found *sql.Rows, each func(scanner) error) error {
	for found.Next() {
		if err := each(found); err != nil {
			return errors.Join(err, found.Close())
		}
	}
	return errors.Join(found.Err(), found.Close())
}

// absent reports that a query found no row.
func absent(err error) bool { return errors.Is(err, sql.ErrNoRows) }
