package testbed

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// npmFolder returns the folder of that name here, after npm has installed what its lock file names, once for all test
// binaries.
func npmFolder(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(moduleRoot(t), "internal", "testbed", name)
	lock, err := os.Open(filepath.Join(path, "package-lock.json"))
	if err != nil {
		t.Fatalf("open the lock file of %s: %v", name, err)
	}
	defer closeQuietly(lock)
	// Several test binaries run at the same time; one of them installs, the others wait.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("wait for another test that installs %s: %v", name, err)
	}
	if _, err := os.Stat(filepath.Join(path, "node_modules", ".package-lock.json")); err == nil {
		return path
	}
	if testing.Short() {
		t.Skipf("%s is not installed; run: npm ci --prefix internal/testbed/%s", name, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "npm", "npm"), "ci", "--no-progress")
	cmd.Dir = path
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in internal/testbed/%s: %v\n%s", name, err, output)
	}
	return path
}

// moduleRoot finds the module's folder above the package under test.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("the test does not run inside the module: no go.mod above it")
		}
		dir = parent
	}
}
