package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// fail classifies what came out of the database. Faults pass through, and so
// does the end of the caller's own context.
func fail(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	// A driver whose statement was interrupted says so in its own words.
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %w", doing, ended)
	}
	if text := unavailable(err); text != "" {
		return &fault.Error{
			ID: "store.unavailable", Kind: fault.Temporary, Text: text, Who: []fault.Who{fault.Operator}, Retry: true,
			Remedy: "Mailgrant tries again by itself and resumes when the database answers; nothing that it acknowledged is lost.",
			Err:    fmt.Errorf("%s: %w", doing, err),
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// unavailable says in a sentence why the database cannot serve now; empty when
// it can and the failure is another.
func unavailable(err error) string {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return unavailableSQLite(lite.Code())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return unavailablePostgres(pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "conn closed"):
		return "The database cannot be reached."
	case errors.Is(err, syscall.ENOSPC):
		return "The disk of the database is full."
	case strings.Contains(err.Error(), "database is closed"):
		return "The database has been closed: Mailgrant is stopping."
	}
	return ""
}

func unavailableSQLite(code int) string {
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "Another program holds the database file locked."
	case sqlite3.SQLITE_FULL:
		return "The disk of the database is full."
	case sqlite3.SQLITE_READONLY:
		return "The database file can be read but not written."
	case sqlite3.SQLITE_CANTOPEN:
		return "The database file cannot be opened."
	case sqlite3.SQLITE_IOERR:
		return "The disk of the database reports an error."
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return "The database file is damaged."
	}
	return ""
}

// unavailablePostgres goes by SQLSTATE (PostgreSQL's appendix A).
func unavailablePostgres(code string) string {
	switch {
	case code == "53100":
		return "The disk of the database is full."
	case code == "25006":
		return "The database is read-only now."
	case code == "55P03", code == "57014", code == "25P03":
		return "The database did not come free in time."
	case tryAgain(code):
		return "The database is too busy with conflicting changes."
	case strings.HasPrefix(code, "28"), strings.HasPrefix(code, "3D"):
		return "The database does not let Mailgrant in."
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"):
		return "The database cannot be reached."
	}
	return ""
}

// tryAgain reports a serialization failure or a deadlock: the whole
// transaction is to be run once more.
func tryAgain(code string) bool { return code == "40001" || code == "40P01" }

func mayRetry(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && tryAgain(pg.Code)
}

// isDuplicate reports that a row with such a key exists.
func isDuplicate(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

// isReference reports that a row another one refers to does not exist, or must
// stay because of it.
func isReference(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23503"
}

// unknown says that there is no such thing.
func unknown(id, what, remedy string) error {
	return &fault.Error{ID: id, Kind: fault.NotFound, Text: what, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

// conflict says that a change is at odds with what is stored.
func conflict(id, what, remedy string) error {
	return &fault.Error{ID: id, Kind: fault.Conflict, Text: what, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

// fenced says that somebody else has taken over.
func fenced(what string) error {
	return &fault.Error{
		ID: "work.fenced", Kind: fault.Conflict, Text: "Another process has taken over " + what + "; nothing was changed.",
		Who: []fault.Who{fault.Nobody}, Remedy: "Nothing to do: the other process carries on.",
	}
}

func fileFault(path string, err error) error {
	return &fault.Error{
		ID: "store.file", Kind: fault.Invalid, Field: "database", Text: "The database file " + path + " cannot be opened or made.",
		Who: []fault.Who{fault.Operator}, Remedy: "Give the service user a folder that it may write to.", Err: err,
	}
}
