package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
)

// openSQLite opens the file, which only its owner may read, with a write-ahead
// log that is synced at every commit.
func (s *Store) openSQLite(o Options) error {
	s.dialect = sqliteDialect
	path, err := filepath.Abs(o.URL)
	if err != nil {
		return fmt.Errorf("find the database file: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fileFault(path, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fileFault(path, err)
	}
	// SQLite gives the files it puts beside this one the same mode.
	err = file.Chmod(0o600)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fileFault(path, err)
	}
	writing, err := newRemembering(sqliteURL(path, "rw", "_txlock=immediate",
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)",
		// A batch of messages is changed in memory, and not beside it on the disk.
		"_pragma=cache_size(-8000)", "_pragma=temp_store(MEMORY)",
		// The log goes into the file after a few batches, and not with each: that costs
		// writes to the disk that the one who commits waits for.
		"_pragma=wal_autocheckpoint(4000)",
		// After a burst the log on the disk shrinks again.
		"_pragma=journal_size_limit(67108864)"))
	if err != nil {
		return fmt.Errorf("open SQLite to write: %w", err)
	}
	s.write = sql.OpenDB(writing)
	s.write.SetMaxOpenConns(1)
	s.write.SetMaxIdleConns(1)
	reading, err := newRemembering(sqliteURL(path, "ro", "_pragma=query_only(1)"))
	if err != nil {
		return fmt.Errorf("open SQLite to read: %w", err)
	}
	s.read = sql.OpenDB(reading)
	readers := max(4, runtime.GOMAXPROCS(0))
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	return nil
}

// sqliteURL is SQLite's own form of a file name with settings
// (https://www.sqlite.org/uri.html). A writer of another process is waited for.
func sqliteURL(path, mode string, settings ...string) string {
	u := url.URL{Scheme: "file", Path: path}
	u.RawQuery = "mode=" + mode + "&_busy_timeout=10000"
	for _, setting := range settings {
		u.RawQuery += "&" + setting
	}
	return u.String()
}
