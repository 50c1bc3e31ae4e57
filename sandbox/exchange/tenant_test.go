package exchange_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

const (
	adele   = "adele@contoso.test"
	nestor  = "nestor@contoso.test"
	desk    = "servicedesk@contoso.test" // shared: adele has Full Access, not Send As
	imapAud = "https://outlook.office.com"
	patient = 10 * time.Second
)

// tenant is a directory that a test can change while it runs.
type tenant struct {
	mu        sync.Mutex
	changed   *sync.Cond
	now       time.Time
	principal map[string]exchange.Principal
	mailboxes map[string]exchange.Mailbox
	aliases   map[string]string
	open      map[string]bool // "upn mailbox"
	sendAs    map[string]bool // "upn from"
	faults    map[exchange.FaultPoint]exchange.Fault
	calls     []exchange.Call
}

func newTenant() *tenant {
	d := &tenant{
		now:       time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		principal: make(map[string]exchange.Principal),
		mailboxes: make(map[string]exchange.Mailbox),
		aliases:   map[string]string{"a.vance@contoso.test": adele},
		open:      map[string]bool{adele + " " + desk: true},
		sendAs:    map[string]bool{adele + " a.vance@contoso.test": true},
		faults:    make(map[exchange.FaultPoint]exchange.Fault),
	}
	d.changed = sync.NewCond(&d.mu)
	for _, address := range []string{adele, nestor, desk} {
		d.mailboxes[address] = exchange.Mailbox{Address: address, IMAPEnabled: true, POPEnabled: true, Licensed: true}
	}
	for _, upn := range []string{adele, nestor} {
		d.principal["access-token-of-"+upn] = exchange.Principal{
			TenantID: "t", ObjectID: "o-" + upn, UPN: upn, AppID: "app", Audience: imapAud,
			Scopes: []string{"IMAP.AccessAsUser.All", "POP.AccessAsUser.All", "SMTP.Send"}, Expires: d.now.Add(time.Hour),
		}
	}
	return d
}

func (d *tenant) edit(f func(d *tenant)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *tenant) CheckAccessToken(raw string) (exchange.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	who, ok := d.principal[raw]
	if !ok {
		return exchange.Principal{}, errors.New("signature does not verify")
	}
	return who, nil
}

func (d *tenant) Mailbox(address string) (exchange.Mailbox, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	address = strings.ToLower(address)
	if primary, ok := d.aliases[address]; ok {
		address = primary
	}
	box, ok := d.mailboxes[address]
	return box, ok
}

func (d *tenant) HostsDomain(domain string) bool { return domain == "contoso.test" }

func (d *tenant) MayOpen(who exchange.Principal, mailbox string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return who.UPN == mailbox || d.open[who.UPN+" "+mailbox]
}

func (d *tenant) MaySendAs(who exchange.Principal, _, from string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return who.UPN == from || d.sendAs[who.UPN+" "+from]
}

func (d *tenant) Now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *tenant) Fault(point exchange.FaultPoint, _ string) exchange.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults[point]
}

func (d *tenant) Record(call exchange.Call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, call)
	d.changed.Broadcast()
}

// await waits until n calls like this have been recorded.
func (d *tenant) await(t *testing.T, n int, like func(exchange.Call) bool) exchange.Call {
	t.Helper()
	timer := time.AfterFunc(patient, d.changed.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patient)
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		found := 0
		for _, call := range d.calls {
			if like(call) {
				if found++; found == n {
					return call
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the call was not made %d times; calls: %+v", n, d.calls)
		}
		d.changed.Wait()
	}
}

// running is an Exchange at work for a test.
type running struct {
	*exchange.Exchange
	dir              *tenant
	imap, pop3, smtp string
	trust            *x509.CertPool
}

func start(t *testing.T) *running {
	t.Helper()
	dir := newTenant()
	certificate, trust := certify(t)
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	imap, pop3, submission := listen(), listen(), listen()
	x := exchange.New(dir, exchange.Options{
		IMAPListener: imap, POP3Listener: pop3, SMTPListener: submission, Hostname: "mail.contoso.test",
		TLS: &tls.Config{Certificates: []tls.Certificate{certificate}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patient):
			t.Error("Run did not drain")
		}
	})
	return &running{Exchange: x, dir: dir, imap: imap.Addr().String(), pop3: pop3.Addr().String(), smtp: submission.Addr().String(), trust: trust}
}

func certify(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mail.contoso.test"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, trust
}

func (r *running) tls() *tls.Config {
	return &tls.Config{ServerName: "mail.contoso.test", RootCAs: r.trust}
}

// xoauth2 is a client's end of the mechanism.
type xoauth2 struct{ mailbox, accessToken string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", x.mailbox, x.accessToken), nil
}

func (x xoauth2) Next([]byte) ([]byte, error) { return nil, errors.New("no challenge expected") }

func as(mailbox, upn string) xoauth2 { return xoauth2{mailbox, "access-token-of-" + upn} }

func encoded(x xoauth2) string {
	_, response, _ := x.Start()
	return base64.StdEncoding.EncodeToString(response)
}

// imapClient signs in with a real client.
func (r *running) imapClient(t *testing.T, who xoauth2, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	if options == nil {
		options = &imapclient.Options{}
	}
	options.TLSConfig = r.tls()
	c, err := imapclient.DialTLS(r.imap, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Authenticate(who); err != nil {
		t.Fatalf("AUTHENTICATE: %v", err)
	}
	return c
}

// smtpClient signs in with a real client.
func (r *running) smtpClient(t *testing.T, who xoauth2) *smtp.Client {
	t.Helper()
	c, err := smtp.DialStartTLS(r.smtp, r.tls())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Auth(who); err != nil {
		t.Fatalf("AUTH: %v", err)
	}
	return c
}

// dialogue speaks line by line.
type dialogue struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *running) dialogue(t *testing.T, address string, secure bool) *dialogue {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patient)
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, r.tls())
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patient))
	return &dialogue{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (d *dialogue) send(format string, args ...any) {
	d.t.Helper()
	if _, err := fmt.Fprintf(d.conn, format+"\r\n", args...); err != nil {
		d.t.Fatalf("send %q: %v", format, err)
	}
}

func (d *dialogue) line() string {
	d.t.Helper()
	line, err := d.in.ReadString('\n')
	if err != nil {
		d.t.Fatalf("read: %v (after %q)", err, line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// want reads as many lines as are given and compares each whole.
func (d *dialogue) want(lines ...string) {
	d.t.Helper()
	for _, want := range lines {
		if got := d.line(); got != want {
			d.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// until reads to the line that starts so and returns all lines.
func (d *dialogue) until(prefix string) []string {
	d.t.Helper()
	var lines []string
	for {
		lines = append(lines, d.line())
		if strings.HasPrefix(lines[len(lines)-1], prefix) {
			return lines
		}
	}
}

// wantEnd waits for the server to close.
func (d *dialogue) wantEnd() {
	d.t.Helper()
	if line, err := d.in.ReadString('\n'); err == nil {
		d.t.Fatalf("the connection is still open and says %q", line)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		d.t.Fatal("the connection is still open")
	}
}

// upgrade goes through STARTTLS.
func (d *dialogue) upgrade(r *running) {
	d.t.Helper()
	d.until("220 ")
	d.send("STARTTLS")
	d.want("220 2.0.0 SMTP server ready")
	d.conn = tls.Client(d.conn, r.tls())
	d.in = bufio.NewReader(d.conn)
	d.send("EHLO client.test")
	d.until("250 ")
}

func letter(from, to, subject string) string {
	return fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nHello.\r\n", from, to, subject)
}

func subjects(messages []exchange.Stored) []string {
	var all []string
	for _, m := range messages {
		for line := range strings.Lines(string(m.Raw)) {
			if subject, ok := strings.CutPrefix(strings.TrimSpace(line), "Subject: "); ok {
				all = append(all, subject)
				break
			}
		}
	}
	return all
}

func wantSubjects(t *testing.T, messages []exchange.Stored, want ...string) {
	t.Helper()
	if got := subjects(messages); !slices.Equal(got, want) {
		t.Errorf("subjects %q, want %q", got, want)
	}
}
