package app_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// packed is an archive of these files: name, content, name, content…
func packed(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for i := 0; i+1 < len(files); i += 2 {
		must(t, archive.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}))
		_, err := archive.Write([]byte(files[i+1]))
		must(t, err)
	}
	must(t, archive.Close())
	must(t, zipped.Close())
	return b.Bytes()
}

const about = `{"format":1,"mailgrant":"x","schema":1,"keys":false}`

func TestRestoreBackup_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		archive []byte
		id      string
	}{
		"nothing":                 {nil, "restore.wrong_backup"},
		"no archive":              {[]byte("hello"), "restore.wrong_backup"},
		"no database":             {packed(t, "backup.json", about), "restore.wrong_backup"},
		"a file twice":            {packed(t, "backup.json", about, "backup.json", about), "restore.wrong_backup"},
		"a path that leads away":  {packed(t, "backup.json", about, "../mailgrant.db", "x"), "restore.wrong_backup"},
		"another form":            {packed(t, "backup.json", `{"format":2}`, "mailgrant.db", "x"), "restore.wrong_backup"},
		"promised keys":           {packed(t, "backup.json", `{"format":1,"keys":true}`, "mailgrant.db", "x"), "restore.wrong_backup"},
		"a database that is none": {packed(t, "backup.json", about, "mailgrant.db", "this is no database file at all"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg, err := config.Load("/dev/null", []string{"MAILGRANT_DATA_DIR=" + dir})
			must(t, err)
			_, _, err = app.RestoreBackup(t.Context(), cfg, bytes.NewReader(c.archive), false, time.Now())
			if f := fault.Of(err); err == nil || c.id != "" && f.ID != c.id {
				t.Errorf("got %v", err)
			}
			left, err := os.ReadDir(dir)
			if must(t, err); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func FuzzRestoreBackup(f *testing.F) {
	f.Add(packed(f, "backup.json", about, "mailgrant.db", "x"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir := t.TempDir()
		cfg, err := config.Load("/dev/null", []string{"MAILGRANT_DATA_DIR=" + filepath.Join(dir, "data")})
		must(t, err)
		if _, _, err := app.RestoreBackup(t.Context(), cfg, bytes.NewReader(archive), false, time.Now()); err == nil {
			t.Error("it was taken")
		}
		if _, err := os.Stat(filepath.Join(dir, "data", "mailgrant.db")); err == nil {
			t.Error("something was put in place")
		}
	})
}

func TestRestoreBackup_KeepsThePresentDatabaseUntilAllElseStands(t *testing.T) {
	t.Parallel()
	load := func(data, keyFile string) *config.Config {
		t.Helper()
		cfg, err := config.Load("/dev/null", []string{"MAILGRANT_DATA_DIR=" + data, "MAILGRANT_KEY_FILE=" + keyFile})
		must(t, err)
		return cfg
	}
	root, now := t.TempDir(), time.Now()
	old := load(filepath.Join(root, "old"), filepath.Join(root, "old", "keys.json"))
	must(t, os.Mkdir(old.DataDir, 0o700))
	_, err := seal.OpenKeyset(old.KeyFile)
	must(t, err)
	s, err := store.Open(t.Context(), store.Options{URL: old.Database.Reveal()})
	must(t, err)
	id := event.NewID()
	_, _, err = s.Accept(t.Context(), outbox.Submission{ID: id, NextAttemptAt: now, ExpiresAt: now, CreatedAt: now}, []byte("x"),
		event.New(now, event.SubmissionAccepted, event.System(), "Accepted."))
	must(t, err)
	must(t, s.Close())
	left := filepath.Join(old.DataDir, ".backup-cut-off")
	must(t, os.Mkdir(left, 0o700))
	must(t, os.Chtimes(left, now.Add(-25*time.Hour), now.Add(-25*time.Hour)))
	var archive bytes.Buffer
	_, err = app.MakeBackup(t.Context(), old, "x", true, now, &archive)
	must(t, err)
	if _, err := os.Stat(left); err == nil {
		t.Error("the copy of a run that was cut off stays for ever")
	}

	present := filepath.Join(root, "new", "mailgrant.db")
	must(t, os.Mkdir(filepath.Dir(present), 0o700))
	must(t, os.WriteFile(present, []byte("present"), 0o600))
	must(t, os.WriteFile(present+"-wal", []byte("log"), 0o600))
	cfg := load(filepath.Dir(present), filepath.Join(root, "secrets", "of", "keys.json"))
	refused := func(what string, cfg *config.Config) {
		t.Helper()
		_, aside, err := app.RestoreBackup(t.Context(), cfg, bytes.NewReader(archive.Bytes()), true, now)
		if !fault.Has(err, "restore.not_placed") || aside != "" {
			t.Fatalf("%s: %q, %v", what, aside, err)
		}
		for path, want := range map[string]string{present: "present", present + "-wal": "log"} {
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Fatalf("%s: %s is %q, %v", what, path, b, err)
			}
		}
	}
	// /dev/null is no folder, also for root.
	refused("a key file that cannot be written", load(cfg.DataDir, "/dev/null/keys.json"))
	inTheWay := present + ".before-restore-" + now.UTC().Format("20060102T150405Z") + "-wal"
	must(t, os.Mkdir(inTheWay, 0o700))
	refused("a database that cannot be put aside whole", cfg)
	must(t, os.Remove(inTheWay))

	var aside string
	for range 2 { // the second time the key file is there already
		if _, aside, err = app.RestoreBackup(t.Context(), cfg, bytes.NewReader(archive.Bytes()), true, now); err != nil || aside == "" {
			t.Fatalf("%q, %v", aside, err)
		}
		now = now.Add(time.Second)
	}
	if info, err := os.Stat(cfg.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info, err)
	}
	s, err = store.Open(t.Context(), store.Options{URL: present})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if v, err := s.Submission(t.Context(), id); err != nil || !v.InData {
		t.Errorf("a message that may have been sent since would be sent unlooked: %+v, %v", v, err)
	}
}
