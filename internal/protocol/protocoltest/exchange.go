package protocoltest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// Exchange is a running Exchange of the sandbox with a directory that a test
// may change.
type Exchange struct {
	Bench
	*exchange.Exchange
	*Tenant
}

// Tenant is the directory behind an Exchange.
type Tenant struct {
	mu      sync.Mutex
	expires time.Time
	faults  map[exchange.FaultPoint]exchange.Fault
	access  map[string]bool // "upn mailbox"
	boxes   map[string]exchange.Mailbox
	known   map[string]bool
	calls   []exchange.Call
	onFault func(point exchange.FaultPoint, mailbox string) exchange.Fault
	onCall  func(exchange.Call)
}

// StartExchange runs one with the mailboxes of the bench.
func StartExchange(t testing.TB) *Exchange {
	t.Helper()
	ca := testbed.NewCA(t)
	certificate, key := ca.ServerPEM(t)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	dir := &Tenant{
		expires: time.Now().Add(time.Hour), faults: map[exchange.FaultPoint]exchange.Fault{},
		access: map[string]bool{Adele + " " + Desk: true}, boxes: map[string]exchange.Mailbox{}, known: map[string]bool{},
	}
	for _, a := range []string{Adele, Desk} {
		dir.boxes[a] = exchange.Mailbox{Address: a, IMAPEnabled: true, POPEnabled: true, Licensed: true}
		dir.known[AccessToken(a)] = true
	}
	in, pop, out := listen(t), listen(t), listen(t)
	x := exchange.New(dir, exchange.Options{IMAPListener: in, POP3Listener: pop, SMTPListener: out, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	ended := make(chan error, 1)
	go func() { ended <- x.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = x.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	e := &Exchange{Exchange: x, Tenant: dir}
	e.Bench = Bench{
		Receive: protocol.Endpoint{Protocol: protocol.IMAP, Host: "localhost", Port: port(in), TLS: protocol.TLSImplicit, CAPEM: ca.PEM, Resource: "mail", Setting: "receive"},
		ByPOP3:  protocol.Endpoint{Protocol: protocol.POP3, Host: "localhost", Port: port(pop), TLS: protocol.TLSImplicit, CAPEM: ca.PEM, Resource: "mail", Setting: "receive"},
		Submit:  protocol.Endpoint{Protocol: protocol.SMTP, Host: "localhost", Port: port(out), TLS: protocol.TLSStart, CAPEM: ca.PEM, Resource: "mail", Setting: "send"},
		Deliver: func(t testing.TB, address, raw string) {
			if _, err := x.Deliver(address, []byte(raw)); err != nil {
				t.Fatal(err)
			}
		},
	}
	return e
}

func listen(t testing.TB) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

// Break makes a fault happen from now on; Mend ends it.
func (d *Tenant) Break(point exchange.FaultPoint, reply string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[point] = exchange.Fault{Active: true, Reply: reply}
}

// Watch has fault asked, too, at every point where one may happen, and call told
// of every command before its answer goes out. Both may keep the server waiting.
func (d *Tenant) Watch(fault func(point exchange.FaultPoint, mailbox string) exchange.Fault, call func(exchange.Call)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onFault, d.onCall = fault, call
}

// Mend ends every fault.
func (d *Tenant) Mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.faults)
}

// Change edits a mailbox of the directory.
func (d *Tenant) Change(address string, f func(*exchange.Mailbox)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	box := d.boxes[address]
	f(&box)
	d.boxes[address] = box
}

// Honour makes an access token good or worthless.
func (d *Tenant) Honour(accessToken string, honoured bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[accessToken] = honoured
}

// Calls counts commands that begin so.
func (d *Tenant) Calls(command string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if strings.HasPrefix(c.Command, command) {
			n++
		}
	}
	return n
}

// CheckAccessToken implements exchange.Directory.
func (d *Tenant) CheckAccessToken(raw string) (exchange.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, ok := bearer(raw)
	if !ok || !d.known[raw] {
		return exchange.Principal{}, errors.New("nobody knows this access token")
	}
	return exchange.Principal{
		TenantID: "t", ObjectID: name, UPN: name, AppID: "app", Audience: "https://outlook.office.com",
		Scopes: []string{"IMAP.AccessAsUser.All", "POP.AccessAsUser.All", "SMTP.Send"}, Expires: d.expires,
	}, nil
}

// Mailbox implements exchange.Directory.
func (d *Tenant) Mailbox(address string) (exchange.Mailbox, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	box, ok := d.boxes[strings.ToLower(address)]
	return box, ok
}

// HostsDomain implements exchange.Directory.
func (d *Tenant) HostsDomain(domain string) bool { return domain == "contoso.test" }

// MayOpen implements exchange.Directory.
func (d *Tenant) MayOpen(who exchange.Principal, mailbox string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return who.UPN == mailbox || d.access[who.UPN+" "+mailbox]
}

// MaySendAs implements exchange.Directory.
func (d *Tenant) MaySendAs(who exchange.Principal, _, from string) bool {
	return strings.EqualFold(who.UPN, from)
}

// Now implements exchange.Directory.
func (d *Tenant) Now() time.Time { return time.Now() }

// Fault implements exchange.Directory.
func (d *Tenant) Fault(point exchange.FaultPoint, mailbox string) exchange.Fault {
	d.mu.Lock()
	fault, ask := d.faults[point], d.onFault
	d.mu.Unlock()
	if !fault.Active && ask != nil {
		return ask(point, mailbox)
	}
	return fault
}

// Record implements exchange.Directory.
func (d *Tenant) Record(c exchange.Call) {
	d.mu.Lock()
	d.calls = append(d.calls, c)
	tell := d.onCall
	d.mu.Unlock()
	if tell != nil {
		tell(c)
	}
}
