package crash_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// upstream is the sandbox's Exchange, which outlives the processes, with places
// where it meets one that is to die.
type upstream struct {
	*protocoltest.Exchange

	mu sync.Mutex
	// by mailbox:
	calls   map[string]meeting // before the answer to a command goes out
	faults  map[string]meeting // at a point where something may fail
	refusal map[string]int     // how often DATA is put off
}

// meeting is a rendezvous at whatever begins so.
type meeting struct {
	what string
	*rendezvous
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{Exchange: protocoltest.StartExchange(t), calls: map[string]meeting{}, faults: map[string]meeting{}, refusal: map[string]int{}}
	u.Watch(u.fault, u.called)
	return u
}

// open gives the tenant one more mailbox.
func (u *upstream) open(address string) {
	u.Change(address, func(m *exchange.Mailbox) { *m = exchange.Mailbox{Address: address, IMAPEnabled: true, Licensed: true} })
	u.Honour(protocoltest.AccessToken(address), true)
}

func (u *upstream) called(c exchange.Call) {
	u.mu.Lock()
	m := u.calls[c.Mailbox]
	u.mu.Unlock()
	if m.rendezvous != nil && strings.HasPrefix(c.Command, m.what) {
		m.meet()
	}
}

func (u *upstream) fault(point exchange.FaultPoint, address string) exchange.Fault {
	u.mu.Lock()
	m := u.faults[address]
	put := point == exchange.FaultSMTPDataTemporary && u.refusal[address] > 0
	if put {
		u.refusal[address]--
	}
	u.mu.Unlock()
	if m.rendezvous != nil && string(point) == m.what {
		m.meet()
	}
	return exchange.Fault{Active: put}
}

// meetAt makes a rendezvous before the answer to a mailbox's next command that begins so.
func (u *upstream) meetAt(address, command string) *rendezvous {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls[address] = meeting{command, newRendezvous()}
	return u.calls[address].rendezvous
}

// meetAtPoint makes one where something may fail.
func (u *upstream) meetAtPoint(address string, point exchange.FaultPoint) *rendezvous {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults[address] = meeting{string(point), newRendezvous()}
	return u.faults[address].rendezvous
}

// putOff makes the server put off the next message of a mailbox.
func (u *upstream) putOff(address string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refusal[address] = 1
}

// gate stands on the wire between the processes of a lane and a server. Once
// armed it lets so many bytes through one way and holds the rest back.
type gate struct {
	port int

	mu       sync.Mutex
	left     int64
	toServer bool
	cut      bool // what was held back never comes
	here     *rendezvous
}

// startGate opens a gate before a port of this host.
func startGate(t *testing.T, server int) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{port: ln.Addr().(*net.TCPAddr).Port}
	t.Cleanup(func() {
		g.release()
		_ = ln.Close()
	})
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go g.join(in, net.JoinHostPort("127.0.0.1", strconv.Itoa(server)))
		}
	}()
	return g
}

func (g *gate) join(in net.Conn, server string) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn, toServer bool) {
		defer func() { ended <- struct{}{} }()
		buf := make([]byte, 8<<10)
		for {
			n, err := from.Read(buf)
			if g.count(toServer, n) {
				return
			}
			if n > 0 {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pass(out, in, true)
	go pass(in, out, false)
	<-ended
}

// count waits where the armed number of bytes is used up, and says whether the
// connection ends there.
func (g *gate) count(toServer bool, n int) (cut bool) {
	g.mu.Lock()
	here := g.here
	if here != nil && toServer == g.toServer {
		g.left -= int64(n)
	}
	spent := here != nil && toServer == g.toServer && g.left < 0
	cut = g.cut
	g.mu.Unlock()
	return spent && here.meet() && cut
}

// arm makes a rendezvous after so many bytes one way.
func (g *gate) arm(bytes int64, toServer, cut bool) *rendezvous {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.toServer, g.cut, g.here = bytes, toServer, cut, newRendezvous()
	return g.here
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.here.release()
	g.here = nil
}

// posts is what a lane of fetch or send has of the world outside.
type posts struct {
	*lane
	up      *upstream
	in, out *gate
	meet    *rendezvous
	patient bool // what was held back on the wire comes after all
}

// newPosts puts gates between a lane's processes and the upstream.
func newPosts(l *lane, up *upstream) *posts {
	p := &posts{lane: l, up: up, in: startGate(l.t, up.Receive.Port), out: startGate(l.t, up.Submit.Port)}
	l.orders.Receive, l.orders.Submit = up.Receive, up.Submit
	l.orders.Receive.Port, l.orders.Submit.Port = p.in.port, p.out.port
	return p
}

func (p *posts) release() {
	p.meet.release()
	p.in.release()
	p.out.release()
}

// house is what fetch and outbox need around their store in a process.
type house struct {
	*store.Store
	g *ground
}

// Lend lends the owner's access token.
func (h house) Lend(ctx context.Context, mailboxID, _ string, _ time.Duration) (seal.Secret, time.Time, error) {
	m, err := h.MailboxByID(ctx, mailboxID)
	return seal.NewSecret(protocoltest.AccessToken(m.Address)), time.Now().Add(time.Hour), err
}

func (h house) Refused(context.Context, string, string, seal.Secret) {}

func (h house) Registration(context.Context, string) (provider.Kind, provider.Registration, error) {
	return exchangeKind{g: h.g}, provider.Registration{Record: provider.Record{Name: "strict"}}, nil
}

// exchangeKind is as much of a provider as flows of mail ask of one.
type exchangeKind struct {
	provider.Kind
	g *ground
}

func (k exchangeKind) Traits() provider.Traits { return provider.Traits{SavesSent: true} }

func (k exchangeKind) Mail(_ provider.Record, name protocol.Name) protocol.Endpoint {
	if name == protocol.SMTP {
		return k.g.Submit
	}
	return k.g.Receive
}

// whole reads and closes what the store has of a message.
func whole(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}
