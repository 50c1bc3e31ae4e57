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
	"github.com/mailgrant/mailgrant/internal/fault"
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
