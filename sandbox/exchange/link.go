package exchange

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// handshakeTimeout bounds a TLS handshake.
const handshakeTimeout = 15 * time.Second

// link is one client's connection, from accept to close.
type link struct {
	x        *Exchange
	protocol string
	raw      net.Conn
	number   uint64 // grows with each accepted connection

	mailbox string // primary address once signed in; under x.mu

	mu      sync.Mutex
	secured *tls.Conn // nil before TLS
	forget  sync.Once
}

// door is a listener that keeps count of its connections and hands each
// to its server through the protocol's dialect.
type door struct {
	net.Listener
	x        *Exchange
	protocol string
	wrap     func(*link) net.Conn
}

func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			if d.x.isClosing() {
				return nil, net.ErrClosed
			}
			return nil, err
		}
		if l := d.x.admit(d.protocol, conn); l != nil {
			return d.wrap(l), nil
		}
		_ = conn.Close() // refused; the client sees the end
	}
}

func (x *Exchange) isClosing() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closing
}

// admit registers a connection, or returns nil if there is no room for it.
func (x *Exchange) admit(protocol string, conn net.Conn) *link {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closing || len(x.links) >= maxLinks {
		return nil
	}
	x.nextLink++
	l := &link{x: x, protocol: protocol, raw: conn, number: x.nextLink}
	x.links[l] = struct{}{}
	x.drain.Add(1)
	return l
}

// cutLinks closes the connections of a mailbox; protocol "" means any.
func (x *Exchange) cutLinks(mailbox, protocol string) int {
	x.mu.Lock()
	var chosen []*link
	for l := range x.links {
		if l.mailbox != "" && strings.EqualFold(l.mailbox, mailbox) && (protocol == "" || l.protocol == protocol) {
			chosen = append(chosen, l)
		}
	}
	x.mu.Unlock()
	for _, l := range chosen {
		l.cut()
	}
	return len(chosen)
}

// claim binds the connection to a mailbox if fewer than limit of the same
// protocol hold it; limit 0 means any number.
func (l *link) claim(mailbox string, limit int) bool {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	held := 0
	for other := range l.x.links {
		if other != l && other.protocol == l.protocol && strings.EqualFold(other.mailbox, mailbox) {
			held++
		}
	}
	if limit > 0 && held >= limit {
		return false
	}
	l.mailbox = mailbox
	return true
}

// rank is the connection's place among those of its mailbox and protocol, 1
// for the oldest.
func (l *link) rank() int {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	rank := 1
	for other := range l.x.links {
		if other.protocol == l.protocol && other.number < l.number && strings.EqualFold(other.mailbox, l.mailbox) {
			rank++
		}
	}
	return rank
}

// secure does the server's side of a TLS handshake.
func (l *link) secure() error {
	conn := tls.Server(l.raw, l.x.opts.TLS)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	l.mu.Lock()
	l.secured = conn
	l.mu.Unlock()
	return nil
}

// stream is what to read and write now: TLS if it has started.
func (l *link) stream() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secured != nil {
		return l.secured
	}
	return l.raw
}

// cut closes the connection without a word, whatever it is doing.
func (l *link) cut() { _ = l.raw.Close() }

// Close ends the connection in order; the servers call it last of all. Who sees
// the end on the wire can rely on the connection not being counted any more.
func (l *link) Close() error {
	l.x.mu.Lock()
	delete(l.x.links, l)
	l.x.mu.Unlock()
	err := l.stream().Close()
	l.forget.Do(l.x.drain.Done)
	return err
}

func (l *link) LocalAddr() net.Addr                { return l.raw.LocalAddr() }
func (l *link) RemoteAddr() net.Addr               { return l.raw.RemoteAddr() }
func (l *link) SetDeadline(t time.Time) error      { return l.raw.SetDeadline(t) }
func (l *link) SetReadDeadline(t time.Time) error  { return l.raw.SetReadDeadline(t) }
func (l *link) SetWriteDeadline(t time.Time) error { return l.raw.SetWriteDeadline(t) }

// serverLog brings the libraries' log lines to slog.
type serverLog struct {
	log      *slog.Logger
	protocol string
}

func (s serverLog) Printf(format string, args ...any) {
	s.log.Debug(fmt.Sprintf(format, args...), "protocol", s.protocol)
}

func (s serverLog) Println(args ...any) {
	s.log.Debug(strings.TrimSuffix(fmt.Sprintln(args...), "\n"), "protocol", s.protocol)
}
