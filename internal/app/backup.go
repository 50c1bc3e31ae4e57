package app

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// A backup is a gzipped tar archive of these files, in this order.
const (
	backupAbout    = "backup.json"
	backupDatabase = "mailgrant.db"
	backupKeys     = "keys.json"
)

// backupFormat is the form of the archive; another one is refused.
const backupFormat = 1

// Backup says what an archive holds.
type Backup struct {
	Format  int       `json:"format"`
	Version string    `json:"mailgrant"` // of the program that made it
	Schema  int64     `json:"schema"`
	MadeAt  time.Time `json:"made_at"`
	Keys    bool      `json:"keys"` // the key file is in it
}

// MakeBackup writes the database as it is at one instant, and with keys the key
// file too, to w. A server may run on it meanwhile. Whoever has a backup with keys
// has every token.
func MakeBackup(ctx context.Context, cfg *config.Config, version string, keys bool, now time.Time, w io.Writer) (b Backup, err error) {
	s, err := openAsItIs(ctx, cfg)
	if err != nil {
		return Backup{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	sweep(cfg.DataDir, now)
	dir, err := os.MkdirTemp(cfg.DataDir, ".backup-*")
	if err != nil {
		return Backup{}, fmt.Errorf("make room for the copy: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := filepath.Join(dir, backupDatabase)
	if err := s.Snapshot(ctx, copied); err != nil {
		return Backup{}, err
	}
	b = Backup{Format: backupFormat, Version: version, MadeAt: now.UTC().Truncate(time.Second), Keys: keys}
	if b.Schema, err = s.Schema(ctx); err != nil {
		return Backup{}, err
	}
	about, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return Backup{}, err
	}
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	if err := pack(archive, backupAbout, b.MadeAt, int64(len(about)), strings.NewReader(string(about))); err != nil {
		return Backup{}, err
	}
	files := map[string]string{backupDatabase: copied}
	order := []string{backupDatabase}
	if keys {
		files[backupKeys] = cfg.KeyFile
		order = append(order, backupKeys)
	}
	for _, name := range order {
		if err := packFile(archive, name, b.MadeAt, files[name]); err != nil {
			return Backup{}, err
		}
	}
	return b, errors.Join(archive.Close(), zipped.Close())
}

// openAsItIs opens the configured database without bringing its schema up to
// date: the server that runs on it may be an older one.
func openAsItIs(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	url := cfg.Database.Reveal()
	if !store.IsPostgres(url) {
		if _, err := os.Stat(url); err != nil {
			return nil, &fault.Error{
				ID: "app.no_database", Kind: fault.NotFound, Field: "database", Text: fmt.Sprintf("There is no database at %s.", url),
				Who: []fault.Who{fault.Operator}, Remedy: "Name the server's configuration file with --config, or its data folder with MAILGRANT_DATA_DIR.", Err: err,
			}
		}
	}
	return store.Open(ctx, store.Options{URL: url, AsItIs: true})
}

func packFile(archive *tar.Writer, name string, at time.Time, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	return pack(archive, name, at, info.Size(), f)
}

func pack(archive *tar.Writer, name string, at time.Time, size int64, r io.Reader) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := io.Copy(archive, r); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// RestoreBackup puts the database of an archive, and its key file where it holds
// one, in place. The server must not run. An existing database stays, and is an
// error, unless replace says that it may go: it is then kept aside under the
// name that is returned.
func RestoreBackup(ctx context.Context, cfg *config.Config, r io.Reader, replace bool, now time.Time) (b Backup, aside string, err error) {
	target := cfg.Database.Reveal()
	if store.IsPostgres(target) {
		return Backup{}, "", wrongBackup("database", "The configured database is PostgreSQL; this archive holds an SQLite file.",
			"Restore PostgreSQL with its own tools, or set database to a path.", nil)
	}
	if err := prepareFolder(cfg.DataDir); err != nil {
		return Backup{}, "", err
	}
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return Backup{}, "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	folder := filepath.Dir(target)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Backup{}, "", notPlaced("database", target, err)
	}
	sweep(folder, now)
	dir, err := os.MkdirTemp(folder, ".restore-*")
	if err != nil {
		return Backup{}, "", notPlaced("database", target, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b, err = unpack(r, dir); err != nil {
		return Backup{}, "", err
	}
	if err := readyRestored(ctx, cfg, dir, b); err != nil {
		return Backup{}, "", err
	}
	kept := target + ".before-restore-" + now.UTC().Format("20060102T150405Z")
	switch _, err := os.Stat(target); {
	case err == nil && !replace:
		return Backup{}, "", &fault.Error{
			ID: "restore.exists", Kind: fault.Conflict, Field: "database", Text: fmt.Sprintf("There is a database at %s already.", target),
			Who: []fault.Who{fault.Operator}, Remedy: "Restore with --replace: the present one is then kept beside it under another name.",
		}
	case err == nil:
		aside = kept
	case !errors.Is(err, fs.ErrNotExist):
		return Backup{}, "", notPlaced("database", target, err)
	}
	if b.Keys { // first: as long as it is missing, the present database is not touched
		if err := placeKeys(filepath.Join(dir, backupKeys), cfg.KeyFile); err != nil {
			return Backup{}, "", err
		}
	}
	if err := placeDatabase(filepath.Join(dir, backupDatabase), target, kept); err != nil {
		return Backup{}, "", err
	}
	return b, aside, nil
}

func wrongBackup(field, text, remedy string, err error) error {
	return &fault.Error{ID: "restore.wrong_backup", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}, Err: err}
}

// unpack writes the archive's files to a folder. Other names than those of a
// backup are refused, so nothing is written anywhere else.
func unpack(r io.Reader, dir string) (Backup, error) {
	notOurs := func(err error) error {
		return wrongBackup("", "This is not a whole backup of Mailgrant.", "Give the file that “mailgrant backup” wrote; if it was copied, copy it again.", err)
	}
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return Backup{}, notOurs(err)
	}
	var b Backup
	seen := map[string]bool{}
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Backup{}, notOurs(err)
		}
		if h.Typeflag != tar.TypeReg || seen[h.Name] || h.Name != backupAbout && h.Name != backupDatabase && h.Name != backupKeys {
			return Backup{}, notOurs(fmt.Errorf("it holds %q", fault.Shorten(h.Name, 100)))
		}
		seen[h.Name] = true
		if h.Name == backupAbout {
			if err := json.NewDecoder(io.LimitReader(archive, 64<<10)).Decode(&b); err != nil {
				return Backup{}, notOurs(err)
			}
			continue
		}
		if err := unpackFile(archive, filepath.Join(dir, h.Name)); err != nil {
			return Backup{}, notOurs(err)
		}
	}
	if !seen[backupAbout] || !seen[backupDatabase] || b.Keys != seen[backupKeys] {
		return Backup{}, notOurs(errors.New("a file is missing"))
	}
	if b.Format != backupFormat {
		return Backup{}, wrongBackup("", fmt.Sprintf("The backup has the form %d, and this program knows the form %d.", b.Format, backupFormat),
			"Restore it with the Mailgrant that made it, "+fault.Shorten(b.Version, 40)+", or a newer one.", nil)
	}
	return b, nil
}

func unpackFile(r io.Reader, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readyRestored looks whether what was unpacked can be used here: the database
// is sound and not too new, and its secrets can be opened.
func readyRestored(ctx context.Context, cfg *config.Config, dir string, b Backup) (err error) {
	s, err := store.Open(ctx, store.Options{URL: filepath.Join(dir, backupDatabase), AsItIs: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Sound(ctx); err != nil {
		return err
	}
	keyFile := cfg.KeyFile
	if b.Keys {
		keyFile = filepath.Join(dir, backupKeys)
		if present, err := os.ReadFile(cfg.KeyFile); err == nil {
			packed, err := os.ReadFile(keyFile)
			if err != nil {
				return err
			}
			if string(present) != string(packed) {
				return wrongBackup("key_file", fmt.Sprintf("There is another key file at %s than the one in the backup.", cfg.KeyFile),
					"Move it away if the secrets that were sealed with it are no longer needed, and restore again.", nil)
			}
		}
	} else if _, err := os.Stat(keyFile); errors.Is(err, fs.ErrNotExist) {
		return wrongBackup("key_file", fmt.Sprintf("The backup holds no key file, and there is none at %s: no stored token could be opened.", keyFile),
			"Put the key file of the server that was backed up there (mode 600), and restore again.", nil)
	}
	keys, err := seal.OpenKeyset(keyFile)
	if err != nil {
		return err
	}
	sealed, err := s.SealedCount(ctx)
	if err != nil {
		return err
	}
	for id, n := range sealed {
		if !keys.Knows(id) {
			return wrongBackup("key_file", fmt.Sprintf("%d secrets of the backup were sealed with a key that is not in the key file %s.", n, cfg.KeyFile),
				"Put the key file of the server that was backed up there (mode 600), and restore again.", nil)
		}
	}
	return s.DoubtSubmissions(ctx)
}

// Migrate brings the configured database up to date without serving, and gives
// the versions of its schema before and after. The server must not run on
// this data folder.
func Migrate(ctx context.Context, cfg *config.Config) (from, to int64, err error) {
	if err := prepareFolder(cfg.DataDir); err != nil {
		return 0, 0, err
	}
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	before, err := openAsItIs(ctx, cfg)
	if err != nil {
		return 0, 0, err
	}
	from, err = before.Schema(ctx)
	if err = errors.Join(err, before.Close()); err != nil {
		return 0, 0, err
	}
	s, err := store.Open(ctx, store.Options{URL: cfg.Database.Reveal()})
	if err != nil {
		return from, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	to, err = s.Schema(ctx)
	return from, to, err
}
