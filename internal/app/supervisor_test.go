package app_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A service manager is told when the server is ready, that it lives, and that
// it ends; a load balancer is sent elsewhere meanwhile.
func TestServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(int((100 * time.Millisecond).Microseconds())))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	told := func(want string) string {
		t.Helper()
		must(t, socket.SetReadDeadline(time.Now().Add(patience)))
		for buf := make([]byte, 4096); ; {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if text := string(buf[:n]); strings.Contains("\n"+text+"\n", "\n"+want+"\n") {
				return text
			}
		}
	}

	s := run(t, newFolder(t), nil)
	if text := told("READY=1"); !strings.Contains(text, "STATUS=Serving http://") {
		t.Errorf("told %q", text)
	}
	told("WATCHDOG=1")
	told("WATCHDOG=1")

	// A stream holds the drain up until it is told to end.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mailgrant/v1/events", nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	stream, err := s.client(t).Do(r)
	must(t, err)
	defer func() { _ = stream.Body.Close() }()
	ended := s.ending()
	if text := told("STOPPING=1"); !strings.Contains(text, "EXTEND_TIMEOUT_USEC=") {
		t.Errorf("told %q", text)
	}
	within(t, "the server ends", ended)
}
