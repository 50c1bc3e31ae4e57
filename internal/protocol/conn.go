package protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// Conn is a connection to a mail server whose first lines are read by hand, so
// that a wrong port or TLS mode is known by what answers there. It remembers
// the last bytes that came in: a server's farewell stands there.
type Conn struct {
	net.Conn
	config *tls.Config
	at     Endpoint
	ahead  []byte // read already, or put back

	mu   sync.Mutex
	tail []byte
}

// tailSize is how much of what came in is remembered.
const tailSize = 256

// Read reads what was put back first.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		c.remember(p[:n])
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.remember(p[:n])
	return n, err
}

func (c *Conn) remember(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) >= tailSize {
		c.tail = append(c.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	if over := len(c.tail) + len(p) - tailSize; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	c.tail = append(c.tail, p...)
}

// LastLine gives the last line that came in and begins with prefix, without
// the prefix; empty when there is none.
func (c *Conn) LastLine(prefix string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := bytes.LastIndex(c.tail, []byte(prefix))
	if at < 0 || at > 0 && c.tail[at-1] != '\n' {
		return ""
	}
	line, _, _ := strings.Cut(string(c.tail[at+len(prefix):]), "\n")
	return strings.TrimSpace(line)
}

// ReadLine reads one line of the dialogue before a protocol library takes over.
func (c *Conn) ReadLine() (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(greetingTimeout)); err != nil {
		return "", err
	}
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	var line []byte
	for {
		if i := bytes.IndexByte(c.ahead, '\n'); i >= 0 {
			line = append(line, c.ahead[:i]...)
			c.ahead = c.ahead[i+1:]
			return strings.TrimRight(string(line), "\r"), nil
		}
		line = append(line, c.ahead...)
		c.ahead = nil
		if len(line) > longestLine {
			return string(line), errors.New("the line does not end")
		}
		buf := make([]byte, 1024)
		n, err := c.Conn.Read(buf)
		c.ahead = buf[:n]
		if n == 0 && err != nil {
			return string(line), err
		}
	}
}

// Unread puts text before what is still to be read.
func (c *Conn) Unread(text string) { c.ahead = append([]byte(text), c.ahead...) }

// Greeting reads a server's first line and checks with ok that it is one of
// the protocol; a fault otherwise says what seems to be there instead.
func (c *Conn) Greeting(name string, ok func(line string) bool) (string, error) {
	line, err := c.ReadLine()
	if ok(line) && err == nil {
		return line, nil
	}
	f := &fault.Error{
		ID: string(c.at.Protocol) + ".greeting", Kind: fault.Temporary, Field: c.at.Field("port"), Retry: true,
		Who: []fault.Who{fault.Operator}, Err: err, Detail: fault.Detail{Reply: fault.Shorten(line, 200)},
		Remedy: fmt.Sprintf("Check %s, %s and %s. %s", c.at.Field("host"), c.at.Field("port"), c.at.Field("tls"), portHint),
	}
	var timeout net.Error
	switch {
	case strings.HasPrefix(line, "\x15\x03"):
		f.ID, f.Text = "net.tls_port", fmt.Sprintf("%s speaks TLS from its first byte, but the connection was begun in plain text.", c.at)
	case line != "" || err == nil: // an empty line is no greeting either
		f.Text = fmt.Sprintf("%s is no %s server: it greets with “%s”%s.", c.at, name, fault.Shorten(line, 60), foreign(line))
	case errors.As(err, &timeout) && timeout.Timeout() && c.at.TLS != TLSImplicit:
		f.Text = fmt.Sprintf("%s accepts the connection and then says nothing. So does a server that expects TLS from the first byte.", c.at)
	default:
		return line, egress.Classify(err, c.at.target("port"))
	}
	return line, f
}

const portHint = "Usual are 993 for IMAP, 995 for POP3 and 465 for submission with implicit TLS, 143, 110 and 587 with STARTTLS."

// foreign names the protocol that a greeting seems to be of.
func foreign(line string) string {
	for _, p := range []struct{ prefix, name string }{
		{"* ", "IMAP"}, {"220", "SMTP"}, {"+OK", "POP3"}, {"HTTP/", "HTTP"}, {"SSH-", "SSH"}, {"<", "a web page"},
	} {
		if strings.HasPrefix(line, p.prefix) {
			return ", as in " + p.name
		}
	}
	return ""
}

// StartTLS agrees on encryption now: the rung tls. What a server sent in plain
// text ahead of it is refused, since somebody else may have (RFC 8314, and the
// STARTTLS injections of 2021).
func (c *Conn) StartTLS(ctx context.Context, climb Climb) error {
	return climb.Rung("tls", "Agree on encryption", func() (string, error) {
		if len(c.ahead) > 0 {
			_ = c.Close()
			return "", &fault.Error{
				ID: "net.tls_injection", Kind: fault.Temporary, Retry: true, Field: c.at.Field("host"),
				Text: fmt.Sprintf("%s sent more in plain text after it agreed to STARTTLS. That may be somebody in between.", c.at),
				Who:  []fault.Who{fault.Operator}, Remedy: "Use implicit TLS where the server offers it, and look at what stands between here and the server.",
			}
		}
		ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
		defer cancel()
		t := tls.Client(c.Conn, c.config)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return "", egress.Classify(err, c.at.target("tls"))
		}
		c.Conn = t
		s := t.ConnectionState()
		return fmt.Sprintf("%s, certificate of %s, valid until %s.", tls.VersionName(s.Version),
			fault.Shorten(s.PeerCertificates[0].Subject.CommonName, 80), s.PeerCertificates[0].NotAfter.Format(time.DateOnly)), nil
	})
}

// Bounded runs f, which knows no context, and closes the connection when ctx
// ends or limit passes. The error is then the context's.
func (c *Conn) Bounded(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		_ = c.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.abort() })
	err := f()
	if !stop() && err != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// abort closes without TLS's farewell, which would wait for a lock that a stuck
// write holds.
func (c *Conn) abort() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.NetConn().Close()
	}
	return c.Conn.Close()
}
