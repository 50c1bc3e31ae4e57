package smtp_test

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// counting is a server that takes everything but mail to nobody@, and counts. A
// connection that has carried its most says enough to the next sender, or ends
// where there is nothing to say.
type counting struct {
	most   int
	enough string

	connections, messages, farewells, open atomic.Int32
}

func (c *counting) start(t *testing.T) protocol.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.connections.Add(1)
			c.open.Add(1)
			go func() {
				defer c.open.Add(-1)
				defer func() { _ = conn.Close() }()
				c.serve(conn)
			}()
		}
	}()
	return plain(ln.Addr().(*net.TCPAddr).Port)
}

func (c *counting) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(protocoltest.Patience))
	say := func(s string) { _, _ = conn.Write([]byte(s + "\r\n")) }
	say("220 mx ESMTP")
	carried, data := 0, false
	for in := bufio.NewScanner(conn); in.Scan(); {
		line := strings.ToUpper(in.Text())
		switch {
		case data && line != ".":
		case data:
			data = false
			carried++
			c.messages.Add(1)
			say("250 2.0.0 Ok: queued as 4XYZ12")
			if carried == c.most && c.enough == "" {
				return
			}
		case strings.HasPrefix(line, "EHLO"):
			say("250-mx\r\n250 AUTH XOAUTH2")
		case strings.HasPrefix(line, "AUTH"):
			say("235 2.7.0 ok")
		case strings.HasPrefix(line, "MAIL") && carried == c.most:
			say(c.enough)
		case strings.HasPrefix(line, "RCPT TO:<NOBODY@"):
			say("550 5.1.1 nobody")
		case line == "DATA":
			data = true
			say("354 go")
		case line == "QUIT":
			c.farewells.Add(1)
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestSend_KeepsTheConnectionForTheNextMessage(t *testing.T) {
	t.Parallel()
	to := func(address, accessToken string) func(*testing.T, *smtp.Client, protocol.Endpoint) error {
		return func(t *testing.T, c *smtp.Client, at protocol.Endpoint) error {
			out := protocoltest.Submission(t, "test")
			if address != "" {
				out.Envelope = message.Envelope{ReversePath: out.Envelope.ReversePath, ForwardPaths: []string{address}}
			}
			_, err := c.Send(protocoltest.Context(t), at, protocol.Login{User: "adele", AccessToken: seal.NewSecret(accessToken)}, out.Envelope, bytes.NewReader(out.Raw), int64(len(out.Raw)))
			return err
		}
	}
	usual := to("", "one")
	for _, c := range []struct {
		outcome     string
		most        int
		enough      string
		between     func(*testing.T, *smtp.Client, protocol.Endpoint) error
		refused     bool
		connections int32
	}{
		{"by the same connection", 100, "", usual, false, 1},
		{"another access token signs in by itself", 100, "", to("", "two"), false, 2},
		{"after a refused recipient the connection ends", 100, "", to("nobody@example.net", "one"), true, 2},
		{"a server that ends it after each message", 1, "", usual, false, 3},
		{"a server that has enough of it", 1, "421 4.7.0 enough", usual, false, 3},
		{"a server that refuses the sender on it", 2, "550 5.7.60 not now", usual, false, 2},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			server := &counting{most: c.most, enough: c.enough}
			at := server.start(t)
			client := smtp.New()
			client.Keep = time.Minute
			if err := usual(t, client, at); err != nil {
				t.Fatal(err)
			}
			if err := c.between(t, client, at); (err != nil) != c.refused {
				t.Fatal(err)
			}
			if err := usual(t, client, at); err != nil {
				t.Fatal(err)
			}
			want := int32(3)
			if c.refused {
				want = 2
			}
			if got := server.messages.Load(); got != want {
				t.Errorf("%d messages", got)
			}
			if got := server.connections.Load(); got != c.connections {
				t.Errorf("%d connections, want %d", got, c.connections)
			}
		})
	}
}

func TestSend_EndsAConnectionWithoutWork(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{0, 20 * time.Millisecond} {
		server := &counting{most: 100}
		at := server.start(t)
		client := smtp.New()
		client.Keep = keep
		out := protocoltest.Submission(t, "test")
		if _, err := client.Send(protocoltest.Context(t), at, protocoltest.Owner(protocoltest.Adele), out.Envelope, bytes.NewReader(out.Raw), int64(len(out.Raw))); err != nil {
			t.Fatal(err)
		}
		protocoltest.Await(t, "the farewell", func() bool { return server.farewells.Load() == 1 && server.open.Load() == 0 })
	}
}
