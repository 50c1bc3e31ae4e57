package testbed

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Ports are taken below the range from which the kernel picks the ports of outgoing connections, so that no client of another
// test can sit on a port between the moment it was found free and the moment the server listens.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// FreePort returns a TCP port on which nothing listens on 127.0.0.1, and which is this test's until it ends: no other test that
// asks here gets it, in this binary or in one that runs at the same time.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 500 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		// The mark is a socket in the kernel's own name space: it leaves no file, and goes with the process that holds it.
		mark, err := net.Listen("unix", fmt.Sprintf("@mailgrant-testbed-%d", port))
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			closeQuietly(mark)
			continue
		}
		closeQuietly(listener)
		t.Cleanup(func() { closeQuietly(mark) })
		return port
	}
	t.Fatalf("no free TCP port found on 127.0.0.1 between %d and %d", lowestPort, highestPort)
	return 0
}

// program finds a server's executable: on the path, then at the places where Debian puts what is not on the path of an
// ordinary user (patterns as for filepath.Glob; the last match wins, which is the newest version).
func program(t testing.TB, name, packages string, patterns ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	lacking(t, fmt.Sprintf("%s is not installed; run 'make test' as root, or: apt-get install --no-install-recommends %s", name, packages))
	return ""
}

// lacking ends the test because the machine has not what it needs: skipped in the short run, failed otherwise, so that a full
// run can never pass by leaving something out.
func lacking(t testing.TB, reason string) {
	t.Helper()
	if testing.Short() {
		t.Skip(reason)
	}
	t.Fatal(reason)
}

// identity is the operating system's user as whom a server runs; nil is the user of the test.
type identity struct {
	name     string
	uid, gid uint32
}

// systemUser looks up a user that a Debian package created. Without root nobody can become somebody else: then it is nil.
func systemUser(t testing.TB, name string) *identity {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("look up the system user %q: %v", name, err)
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		t.Fatalf("user id of %q: %v", name, err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		t.Fatalf("group id of %q: %v", name, err)
	}
	return &identity{name: name, uid: uint32(uid), gid: uint32(gid)}
}

func (i *identity) credential() *syscall.Credential {
	if i == nil {
		return nil
	}
	return &syscall.Credential{Uid: i.uid, Gid: i.gid}
}

// folder makes a private folder for one server, owned by the user it runs as. Its path is short, because a Unix socket's path
// must stay under 108 bytes, and every user may pass through it, which the folders of testing.T do not allow.
func folder(t testing.TB, prefix string, owner *identity) string {
	t.Helper()
	path, err := os.MkdirTemp("", "mailgrant-"+prefix+"-")
	if err != nil {
		t.Fatalf("make a folder for %s: %v", prefix, err)
	}
	if err := os.Chmod(path, 0o711); err != nil {
		t.Fatalf("open the folder of %s to its user: %v", prefix, err)
	}
	if owner != nil {
		if err := os.Chown(path, int(owner.uid), int(owner.gid)); err != nil {
			t.Fatalf("give the folder of %s to its user: %v", prefix, err)
		}
	}
	return path
}

// writeFile writes one file of a server's configuration.
func writeFile(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatalf("write %s: %v", filepath.Base(path), err)
	}
}

// tail returns the last lines of a log file, for the output of a failed test.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
