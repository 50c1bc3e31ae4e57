package seal_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const marker = "marker-7f3a-refresh-token"

func TestSecret_NeverShowsItself(t *testing.T) {
	t.Parallel()
	s := seal.NewSecret(marker)
	holder := struct {
		S seal.Secret
		P *seal.Secret
	}{s, &s}
	hidden := struct{ s seal.Secret }{s}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "h", holder)
	for _, out := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %q %x %s %d", s, holder, holder, s, s, s, s),
		fmt.Sprintf("%v %+v %#v", hidden, hidden, &hidden),
		string(asJSON), log.String(), fmt.Errorf("wrapped %v", s).Error(),
	} {
		if strings.Contains(out, marker) || strings.Contains(out, fmt.Sprintf("%x", marker)) {
			t.Errorf("the secret shows: %s", out)
		}
	}
	if s.Reveal() != marker {
		t.Error("Reveal does not give the value")
	}
}

func TestKeyset_OpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	k, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	here := seal.Where("grant", "1", "refresh_token")
	c, err := k.Seal(seal.NewSecret(marker), here)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(c.Bytes()), marker) {
		t.Fatal("sealed bytes hold the clear value")
	}
	if p, err := k.Unseal(c, here); err != nil || p.Reveal() != marker {
		t.Fatalf("Unseal in place: %v", err)
	}
	if _, err := k.Unseal(c, seal.Where("grant", "2", "refresh_token")); !fault.Has(err, "seal.cannot_open") {
		t.Fatalf("Unseal in another row: %v, want a refusal", err)
	}
	if string(seal.Where("a", "bc")) == string(seal.Where("ab", "c")) {
		t.Fatal("Where is ambiguous")
	}
}

func TestKeyset_RotationKeepsOldValuesAndReseals(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := seal.OpenKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	where := seal.Where("x")
	old, _ := k.Seal(seal.NewSecret(marker), where)
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	reopened, err := seal.OpenKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	if old.KeyID() == reopened.PrimaryKeyID() {
		t.Fatal("rotation did not change the primary key")
	}
	fresh, changed, err := reopened.Reseal(old, where)
	if err != nil || !changed || fresh.KeyID() != reopened.PrimaryKeyID() {
		t.Fatalf("Reseal: changed %v, err %v", changed, err)
	}
	if p, err := reopened.Unseal(fresh, where); err != nil || p.Reveal() != marker {
		t.Fatalf("resealed value: %v", err)
	}
	if _, changed, _ := reopened.Reseal(fresh, where); changed {
		t.Fatal("a value under the primary key was sealed again")
	}
}

func TestOpenKeyset_ProcessesThatStartTogetherHaveOneKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	const n = 8
	ids, errs := make([]uint32, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			k, err := seal.OpenKeyset(path)
			if errs[i] = err; err == nil {
				ids[i] = k.PrimaryKeyID()
			}
		})
	}
	all.Wait()
	for i := range n {
		if errs[i] != nil || ids[i] != ids[0] {
			t.Errorf("process %d: key %d, %v", i, ids[i], errs[i])
		}
	}
}

func TestOpenKeyset_Refuses(t *testing.T) {
	t.Parallel()
	t.Run("a file that others may read", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "keys.json")
		if _, err := seal.OpenKeyset(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKeyset(path); !fault.Has(err, "seal.key_file") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a damaged file, and leaves it as it is", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKeyset(path); !fault.Has(err, "seal.key_file") {
			t.Fatalf("got %v", err)
		}
		if b, _ := os.ReadFile(path); string(b) != "{broken" {
			t.Fatal("the damaged file was overwritten")
		}
	})
}
