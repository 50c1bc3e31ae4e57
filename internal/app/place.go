package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// leftAfter is how old a copy must be to have been left by a run that was cut off.
const leftAfter = 24 * time.Hour

// sweep removes the copies that runs which were cut off have left in a folder.
// What cannot be removed is left for the next time.
func sweep(dir string, now time.Time) {
	for _, pattern := range []string{".backup-*", ".restore-*"} {
		left, _ := filepath.Glob(filepath.Join(dir, pattern)) // only a wrong pattern is an error
		for _, path := range left {
			if info, err := os.Lstat(path); err == nil && info.IsDir() && now.Sub(info.ModTime()) > leftAfter {
				_ = os.RemoveAll(path)
			}
		}
	}
}

// placeKeys puts a key file in place, whole or not at all, also on another file
// system than the one it was unpacked on. An equal one stays untouched; whether
// another one stands there was looked at before.
func placeKeys(packed, keyFile string) (err error) {
	content, err := os.ReadFile(packed)
	if err != nil {
		return notPlaced("key_file", keyFile, err)
	}
	if present, err := os.ReadFile(keyFile); err == nil && bytes.Equal(present, content) {
		return nil
	}
	dir := filepath.Dir(keyFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return notPlaced("key_file", keyFile, err)
	}
	f, err := os.CreateTemp(dir, ".keys-*") // mode 600
	if err != nil {
		return notPlaced("key_file", keyFile, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), keyFile)
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return notPlaced("key_file", keyFile, errors.Join(err, removeFile(f.Name())))
	}
	return nil
}

// placeDatabase puts a restored database in place of the present one, which is
// kept aside. If that fails, the present one stands where it stood.
func placeDatabase(restored, target, aside string) error {
	var moved []string
	undone := func(err error) error {
		f := notPlaced("database", target, err)
		for _, part := range slices.Backward(moved) {
			if err := os.Rename(aside+part, target+part); err != nil {
				f.Err = errors.Join(f.Err, err)
				f.Text = fmt.Sprintf("The backup could not be put in place at %s.", target)
				f.Remedy = fmt.Sprintf("The database that was here is now %s and could not be moved back: move it there, and what else begins with that name, before the server is started.", aside)
				return f
			}
		}
		return f
	}
	// A write-ahead log goes along also where its database is gone: it would be
	// played into the restored one.
	for _, part := range []string{"", "-wal", "-shm"} {
		err := os.Rename(target+part, aside+part)
		switch {
		case err == nil:
			moved = append(moved, part)
		case !errors.Is(err, fs.ErrNotExist):
			return undone(err)
		}
	}
	if err := os.Rename(restored, target); err != nil {
		return undone(err)
	}
	return syncFolder(filepath.Dir(target))
}

// syncFolder makes the names in a folder last.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the folder %s: %w", dir, err)
	}
	return errors.Join(f.Sync(), f.Close())
}

func notPlaced(field, path string, err error) *fault.Error {
	return &fault.Error{
		ID: "restore.not_placed", Kind: fault.Invalid, Field: field, Text: fmt.Sprintf("The backup could not be put in place at %s; what was there stays.", path),
		Who: []fault.Who{fault.Operator}, Remedy: "Check that its folder can be written and has room, and restore again.", Err: err,
	}
}
