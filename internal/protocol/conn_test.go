package protocol_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
)

func dial(t *testing.T, script protocoltest.Script) *protocol.Conn {
	t.Helper()
	c, err := new(protocol.Dialer).Dial(protocoltest.Context(t), protocol.Endpoint{Protocol: protocol.IMAP, Host: "localhost", Port: script.Start(t), TLS: protocol.TLSNone, Setting: "receive"}, protocol.Climb{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestConn_ReadsLinesAheadAndPutsThemBack(t *testing.T) {
	t.Parallel()
	c := dial(t, protocoltest.Script{Greeting: "one\r\ntwo\r\nthree"})
	for _, want := range []string{"one", "two"} {
		if line, err := c.ReadLine(); line != want || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
	}
	c.Unread("back\r\n")
	if line, err := c.ReadLine(); line != "back" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	p := make([]byte, 3)
	if n, err := c.Read(p); err != nil || !strings.HasPrefix("three", string(p[:n])) {
		t.Fatalf("%q, %v", p[:n], err)
	}
}

func TestConn_RemembersTheFarewell(t *testing.T) {
	t.Parallel()
	c := dial(t, protocoltest.Script{Greeting: strings.Repeat("x", 5000) + "\r\n* BYE too much\r\n"})
	var seen int
	p := make([]byte, 100)
	for seen < 5000+len("\r\n* BYE too much\r\n") {
		n, err := c.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		seen += n
	}
	if got := c.LastLine("* BYE"); got != "too much" {
		t.Fatalf("%q", got)
	}
	if got := c.LastLine("BYE"); got != "" {
		t.Fatalf("the middle of a line was taken for one: %q", got)
	}
}

func TestGreeting_SaysWhatIsThereInstead(t *testing.T) {
	t.Parallel()
	for greeting, want := range map[string]string{
		"220 mx ESMTP\r\n":           "as in SMTP",
		"HTTP/1.1 400 Bad\r\n":       "as in HTTP",
		"\x15\x03\x01\x00\x02\x02\n": "speaks TLS from its first byte",
		strings.Repeat("y", 9000):    "is no IMAP server",
	} {
		c := dial(t, protocoltest.Script{Greeting: greeting})
		_, err := c.Greeting("IMAP", func(l string) bool { return strings.HasPrefix(l, "* OK") })
		if f := fault.Of(err); f == nil || !strings.Contains(f.Text, want) || !strings.Contains(f.Remedy, "receive.tls") || f.Field != "receive.port" {
			t.Errorf("%.20q: %v", greeting, err)
		}
	}
}

func TestBounded_EndsWithItsLimit(t *testing.T) {
	t.Parallel()
	c := dial(t, protocoltest.Script{})
	read := func() error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	if err := c.Bounded(protocoltest.Context(t), 20*time.Millisecond, read); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, net.ErrClosed) {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Bounded(ctx, time.Minute, func() error { t.Error("it was begun"); return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
}

func TestDial_RefusesPlainTextToOthers(t *testing.T) {
	t.Parallel()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		_, err = new(protocol.Dialer).Dial(protocoltest.Context(t), protocol.Endpoint{Host: ip.IP.String(), Port: ln.Addr().(*net.TCPAddr).Port, TLS: protocol.TLSNone, Setting: "send"}, protocol.Climb{})
		if f := fault.Of(err); f == nil || f.ID != "protocol.plaintext" || f.Field != "send.tls" {
			t.Fatalf("%v", err)
		}
		return
	}
	t.Skip("this machine has no address but loopback")
}
