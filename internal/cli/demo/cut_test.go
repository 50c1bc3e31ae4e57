package demo_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheck_FailsWithoutTheIdentityCheck cuts the comparison of who signed in
// with who was expected out of a copy of the product, and lets that copy play
// the story: it has to notice.
func TestCheck_FailsWithoutTheIdentityCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole program a second time")
	}
	t.Parallel()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	const file, check = "internal/connect/bind.go", "b := identify(expected, who)"
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), check) != 1 {
		t.Fatalf("%s does not hold %q once; the cut has to follow the code", file, check)
	}
	patched := strings.Replace(string(source), check, "b := Binding{Verdict: mailbox.VerdictMatch, Decision: MakeProbe}\n\t_ = identify", 1)
	dir := t.TempDir()
	cut, overlay, binary := filepath.Join(dir, "bind.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mailgrant")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, file): cut}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(cut, []byte(patched), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", binary, "./cmd/mailgrant")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, binary, "demo", "--check").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("demo --check ended with %v, want exit 1\n%s", err, out)
	}
	if !strings.Contains(string(out), "✗") || strings.Contains(string(out), "Every step came out as it must") {
		t.Fatalf("the story does not say what is wrong:\n%s", out)
	}
}
