package pop3

import (
	"bytes"
	"strings"
	"testing"
)

func TestTopReceived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ outcome, raw, want string }{
		{"the topmost counts", "Return-Path: <a@b>\r\nReceived: from a\r\n\tby b; Tue, 24 Nov 2026 09:00:00 +0000\r\nReceived: by c; Mon, 23 Nov 2026 09:00:00 +0000\r\n\r\n", "Tue, 24 Nov 2026 09:00:00 +0000"},
		{"without a date", "received: by b\r\nReceived: by c; Mon, 23 Nov 2026 09:00:00 +0000\r\n\r\n", ""},
		{"not in the body", "Subject: x\r\n\r\nReceived: by c; Mon, 23 Nov 2026 09:00:00 +0000\r\n", ""},
		{"nothing", "", ""},
	} {
		if got := topReceived([]byte(c.raw)); got != c.want {
			t.Errorf("%s: %q", c.outcome, got)
		}
	}
}

// FuzzWire holds the parser of replies, lists and messages to its bounds.
func FuzzWire(f *testing.F) {
	f.Add([]byte("+OK [X] y\r\n1 a\r\n2 b\r\n.\r\nSubject: x\r\n\r\n..\r\n.\r\n"))
	f.Add([]byte("-ERR [IN-USE\r\n"))
	f.Add([]byte("+ e30=\r\n.\r\n\n.\r\n\r\n.\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		w := newWire(&bytes.Buffer{})
		w.in.Reset(bytes.NewReader(said))
		if r, err := w.reply(); err == nil && (r.ok && r.more || strings.ContainsAny(r.code, "[] ")) {
			t.Fatalf("%+v", r)
		}
		_ = w.list(10, func(line string) error {
			if n, name, err := named(line); err == nil && (n < 1 || name == "" || len(name) > longestName) {
				t.Fatalf("%d %q", n, name)
			}
			if n, size, err := sized(line); err == nil && (n < 1 || size < 0) {
				t.Fatalf("%d %d", n, size)
			}
			return nil
		})
		const limit = 64
		raw, err := w.content(1<<40, limit)
		if len(raw) > limit || err != nil && raw != nil {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
	})
}
