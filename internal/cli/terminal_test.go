package cli_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"rsc.io/qr"

	"github.com/mailgrant/mailgrant/internal/cli"
)

// terminal is a pseudo-terminal: near is the command's side, far the person's.
func terminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	far = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = far.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	near, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return near, far
}

// runAt runs one command at a terminal, at which a person types typed, and gives
// what the terminal showed.
func runAt(t *testing.T, s *scripted, environ []string, typed string, args ...string) (int, string) {
	t.Helper()
	return atTerminal(t, append([]string{"MAILGRANT_SERVER=" + s.URL, "MAILGRANT_API_KEY=mgk_planted"}, environ...), typed, args...)
}

func atTerminal(t *testing.T, environ []string, typed string, args ...string) (int, string) {
	t.Helper()
	near, far := terminal(t)
	if _, err := io.WriteString(far, typed); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(far) // It ends with an error when the near side is closed.
		shown <- strings.ReplaceAll(string(b), "\r\n", "\n")
	}()
	code := cli.Run(t.Context(), args, near, near, near, environ)
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	return code, <-shown
}

// A reader sees light and dark: each half block is read back and compared with
// the code itself, margin included.
func TestTerminal_ShowsAQRCodeThatCanBeReadBack(t *testing.T) {
	const text = "http://localhost:8025/authorize/abc"
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	s := serverThat(t, map[string][]string{linkPath: {link}})
	exit, shown := runAt(t, s, nil, "", "authorize", "desk@example.org", "--no-wait")
	var lines []string
	for _, line := range strings.Split(shown, "\n") {
		if rest, ok := strings.CutPrefix(line, "\x1b[97;40m"); ok {
			lines = append(lines, strings.TrimSuffix(rest, "\x1b[0m"))
		}
	}
	side := code.Size + 4
	if exit != 0 || len(lines) != (side+1)/2 {
		t.Fatalf("exit code %d, %d lines for %d modules:\n%s", exit, len(lines), side, shown)
	}
	for row, line := range lines {
		if utf8.RuneCountInString(line) != side {
			t.Fatalf("line %d has %d columns, want %d", row, utf8.RuneCountInString(line), side)
		}
		for x, r := range []rune(line) {
			light := map[rune][2]bool{' ': {false, false}, '▀': {true, false}, '▄': {false, true}, '█': {true, true}}[r]
			for half := range 2 {
				y := 2*row + half
				if y < side && light[half] == code.Black(x-2, y-2) {
					t.Fatalf("the module at %d, %d is the wrong colour", x, y)
				}
			}
		}
	}
}

func TestTerminal_AsksBeforeWhatCannotBeUndone(t *testing.T) {
	for typed, want := range map[string]string{"y\n": "was removed", "n\n": "Nothing was changed.", "\n": "Nothing was changed."} {
		t.Run(fmt.Sprintf("%q", typed), func(t *testing.T) {
			s := serverThat(t, map[string][]string{"DELETE /v1/providers/contoso": {`{}`}})
			code, shown := runAt(t, s, nil, typed, "provider", "delete", "contoso")
			removed := s.asked["DELETE /v1/providers/contoso"] > 0
			if (code == 0) != (typed == "y\n") || removed != (typed == "y\n") || !strings.Contains(shown, want) {
				t.Errorf("exit code %d, removed %v:\n%s", code, removed, shown)
			}
		})
	}
	t.Run("--yes", func(t *testing.T) {
		s := serverThat(t, map[string][]string{"DELETE /v1/providers/contoso": {`{}`}})
		if code, shown := runAt(t, s, nil, "", "provider", "delete", "contoso", "--yes"); code != 0 || strings.Contains(shown, "[y/N]") {
			t.Errorf("exit code %d:\n%s", code, shown)
		}
	})
}

func TestTerminal_Colour(t *testing.T) {
	event := `{"items":[{"id":"e1","at":"2026-01-01T00:00:00Z","kind":"grant.dead","actor":{"kind":"system"},"text":"It ended."}]}`
	for _, c := range []struct {
		outcome string
		environ []string
		colour  bool
	}{
		{"a person sees colours", []string{"TERM=xterm"}, true},
		{"unless they want none", []string{"TERM=xterm", "NO_COLOR=1"}, false},
		{"or the terminal has none", []string{"TERM=dumb"}, false},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			s := serverThat(t, map[string][]string{"GET /v1/events": {event}})
			_, shown := runAt(t, s, c.environ, "", "events")
			if strings.Contains(shown, "\x1b[") != c.colour || !strings.Contains(shown, "grant.dead") {
				t.Errorf("%q", shown)
			}
		})
	}
}

func TestTerminal_GetsRawMessagesWithoutControlCharacters(t *testing.T) {
	s := serverThat(t, map[string][]string{"GET /v1/messages/m1/raw": {"Subject: \x1b[2Jgone\nä\n"}})
	code, shown := runAt(t, s, nil, "", "messages", "raw", "m1")
	if code != 0 || strings.Contains(shown, "\x1b") || !strings.Contains(shown, "gone\nä\n") {
		t.Errorf("exit code %d: %q", code, shown)
	}
	code, out, _ := run(t.Context(), s, "", "messages", "raw", "m1")
	if code != 0 || out != "Subject: \x1b[2Jgone\nä\n" {
		t.Errorf("beside a terminal it is not as it arrived: %q", out)
	}
}
