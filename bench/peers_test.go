package bench_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// peers are the other side of the product, in a process of their own and as small
// as can be: an authorization server that renews everything, an IMAP server where
// every mailbox exists, an SMTP server that takes everything, and a bare handler.
type peers struct {
	b   *bench
	cmd *exec.Cmd
	ca  *testbed.CA
	peerPorts
}

type peerPorts struct{ HTTP, IMAP, SMTP int }

// peerCounts is what the peers have seen.
type peerCounts struct {
	Refreshes []time.Time
	Logins    []time.Time
	Idle      int64
	Mails     int64
}

func startPeers(b *bench) *peers {
	b.Helper()
	p := &peers{b: b, ca: testbed.NewCA(b)}
	dir := b.TempDir()
	certificate, key := p.ca.ServerPEM(b)
	b.must(os.WriteFile(filepath.Join(dir, "server.pem"), certificate, 0o600))
	b.must(os.WriteFile(filepath.Join(dir, "server.key"), key, 0o600))
	self, err := os.Executable()
	b.must(err)
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), envRole+"=peers", envTLS+"="+dir)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	b.must(err)
	b.must(p.cmd.Start())
	b.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed, and says so
	})
	b.must(json.NewDecoder(out).Decode(&p.peerPorts))
	return p
}

func (p *peers) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.HTTP, path) }

// counts asks what was seen since the last time it was asked to forget.
func (p *peers) counts(forget bool) peerCounts {
	p.b.Helper()
	var c peerCounts
	res, err := http.Get(p.url("/counts?forget=" + strconv.FormatBool(forget)))
	p.b.must(err)
	defer func() { _ = res.Body.Close() }()
	p.b.must(json.NewDecoder(res.Body).Decode(&c))
	return c
}

// provider is a provider whose endpoints are the peers'.
func (p *peers) provider() provider.Record {
	return provider.Record{Name: "contoso", Kind: "generic", Issuer: p.url(""), ClientID: "client", CAPEM: string(p.ca.PEM), Endpoints: map[string]string{
		"authorization": p.url("/authorize"), "token": p.url("/token"), "jwks": p.url("/keys"),
	}}
}

// mailbox is one that receives at a port of localhost, and sends at another; 0: it does not.
func mailboxAt(imap, smtp int) mailbox.Mailbox {
	var m mailbox.Mailbox
	if imap != 0 {
		m.Receive = &mailbox.Receive{
			Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush,
			Server: mailbox.Server{Host: "localhost", Port: imap, TLS: protocol.TLSImplicit},
		}
	}
	if smtp != 0 {
		m.Send = &mailbox.Send{Protocol: protocol.SMTP, Server: mailbox.Server{Host: "localhost", Port: smtp, TLS: protocol.TLSImplicit}}
	}
	return m
}

// runPeers is the peers' own process.
func runPeers(dir string) int {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	n := &null{users: map[string]*nullUser{}}
	var ports peerPorts
	failed := make(chan error, 3)
	for port, serve := range map[*int]func(net.Listener) error{
		&ports.HTTP: func(l net.Listener) error { return http.Serve(l, n.http()) },
		&ports.IMAP: func(l net.Listener) error { return n.imap(tls.NewListener(l, config)) },
		&ports.SMTP: func(l net.Listener) error { return n.smtp().Serve(tls.NewListener(l, config)) },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		*port = l.Addr().(*net.TCPAddr).Port
		go func() { failed <- serve(l) }()
	}
	if err := json.NewEncoder(os.Stdout).Encode(ports); err == nil {
		err = <-failed
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// null is what the peers share.
type null struct {
	mu        sync.Mutex
	refreshes []time.Time
	logins    []time.Time
	users     map[string]*nullUser
	idle      atomic.Int64
	mails     atomic.Int64
}

// bareAnswer is as long as the product's answer to the same wish.
const bareAnswer = `{"access_token":"access-0000001","token_type":"Bearer","expires_at":"2026-11-25T18:00:00.123456Z","resource":"mail"}` + "\n"

func (n *null) http() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bare", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, bareAnswer)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.refreshes = append(n.refreshes, time.Now())
		n.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": rand.Text() + rand.Text(), "refresh_token": rand.Text() + rand.Text(), "token_type": "Bearer", "expires_in": 3600,
		})
	})
	// RFC 7662, for Dovecot: the access token says whose it is (see package stock).
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		number, ok := strings.CutPrefix(r.FormValue("token"), "access-")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"active": ok, "username": "desk" + number + "@example.org"})
	})
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		_ = json.NewEncoder(w).Encode(peerCounts{Refreshes: n.refreshes, Logins: n.logins, Idle: n.idle.Load(), Mails: n.mails.Load()})
		if r.FormValue("forget") == "true" {
			n.refreshes, n.logins = nil, nil
			n.mails.Store(0)
		}
	})
	mux.HandleFunc("POST /fill", func(_ http.ResponseWriter, r *http.Request) {
		count, _ := strconv.Atoi(r.FormValue("count"))
		n.user(r.FormValue("user")).grow(count)
	})
	return mux
}

func (n *null) user(name string) *nullUser {
	n.mu.Lock()
	defer n.mu.Unlock()
	u, ok := n.users[name]
	if !ok {
		u = &nullUser{grown: make(chan struct{})}
		n.users[name] = u
	}
	return u
}

// nullUser is a mailbox: so many messages, all alike.
type nullUser struct {
	mu       sync.Mutex
	messages int
	grown    chan struct{} // closed when more have come
}

func (u *nullUser) grow(by int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.messages += by
	close(u.grown)
	u.grown = make(chan struct{})
}

func (u *nullUser) state() (int, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.messages, u.grown
}

func (n *null) imap(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			s := &nullSession{null: n, conn: conn, in: bufio.NewReaderSize(conn, 1024)}
			s.serve()
		}()
	}
}

// nullSession speaks as much IMAP as the product asks for.
type nullSession struct {
	*null
	conn net.Conn
	in   *bufio.Reader
	user *nullUser
}

func (s *nullSession) say(format string, args ...any) bool {
	_, err := fmt.Fprintf(s.conn, format+"\r\n", args...)
	return err == nil
}

func (s *nullSession) serve() {
	s.say("* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=XOAUTH2] ready")
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb, rest, _ := strings.Cut(command, " ")
		switch strings.ToUpper(verb) {
		case "CAPABILITY":
			s.say("* CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=XOAUTH2")
		case "AUTHENTICATE":
			s.signIn(rest)
		case "SELECT", "EXAMINE":
			count, _ := s.user.state()
			s.say("* %d EXISTS\r\n* OK [UIDVALIDITY 1] valid\r\n* OK [UIDNEXT %d] next\r\n* FLAGS (\\Seen)", count, count+1)
		case "UID":
			s.uid(rest)
		case "IDLE":
			if !s.waits() {
				return
			}
		case "LOGOUT":
			s.say("* BYE bye")
			s.say("%s OK done", tag)
			return
		}
		if !s.say("%s OK done", tag) {
			return
		}
	}
}

func (s *nullSession) signIn(rest string) {
	_, initial, _ := strings.Cut(rest, " ")
	raw := make([]byte, len(initial))
	k, _ := base64.StdEncoding.Decode(raw, []byte(initial))
	name, _, _ := strings.Cut(strings.TrimPrefix(string(raw[:k]), "user="), "\x01")
	s.mu.Lock()
	s.logins = append(s.logins, time.Now())
	s.mu.Unlock()
	s.user = s.null.user(name)
}

// waits is IDLE; false when the connection ended.
func (s *nullSession) waits() bool {
	_, grown := s.user.state()
	s.idle.Add(1)
	defer s.idle.Add(-1)
	s.say("+ idling")
	done := make(chan error, 1)
	go func() {
		_, err := s.in.ReadString('\n')
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err == nil
		case <-grown:
			var count int
			if count, grown = s.user.state(); !s.say("* %d EXISTS", count) {
				return false
			}
		}
	}
}

// uid answers UID SEARCH UID n:* and UID FETCH set (…).
func (s *nullSession) uid(rest string) {
	verb, rest, _ := strings.Cut(rest, " ")
	count, _ := s.user.state()
	if strings.EqualFold(verb, "SEARCH") {
		from, _, _ := strings.Cut(rest[strings.LastIndexByte(rest, ' ')+1:], ":")
		first, _ := strconv.Atoi(from)
		out := "* SEARCH"
		for uid := first; uid <= count; uid++ {
			out += " " + strconv.Itoa(uid)
		}
		s.say("%s", out)
		return
	}
	set, items, _ := strings.Cut(rest, " ")
	w := bufio.NewWriterSize(s.conn, 32<<10)
	for part := range strings.SplitSeq(set, ",") {
		from, to, ranged := strings.Cut(part, ":")
		first, _ := strconv.Atoi(from)
		last := first
		if ranged {
			if last, _ = strconv.Atoi(to); to == "*" {
				last = count
			}
		}
		for uid := first; uid <= min(last, count); uid++ {
			raw := letter(uid)
			if strings.Contains(items, "BODY.PEEK[]") {
				_, _ = fmt.Fprintf(w, "* %d FETCH (UID %d BODY[] {%d}\r\n%s", uid, uid, len(raw), raw)
			} else {
				_, _ = fmt.Fprintf(w, "* %d FETCH (UID %d", uid, uid)
			}
			if strings.Contains(items, "RFC822.SIZE") {
				_, _ = fmt.Fprintf(w, " FLAGS () INTERNALDATE \"25-Nov-2026 12:00:00 +0000\" RFC822.SIZE %d", len(raw))
			}
			_, _ = w.WriteString(")\r\n")
		}
	}
	_ = w.Flush()
}

// letter is a message of about two kilobytes, as service desks get them.
func letter(i int) string {
	return fmt.Sprintf("Return-Path: <adele@example.net>\r\nReceived: from mail.example.net by mx.example.org with ESMTPS id %d; Wed, 25 Nov 2026 12:00:00 +0000\r\n"+
		"From: Adele Vance <adele@example.net>\r\nTo: Service Desk <desk@example.org>\r\nSubject: Ticket %d: the printer is out of paper\r\n"+
		"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d.%d@example.net>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/alternative; boundary=\"b%d\"\r\n\r\n--b%d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n--b%d\r\n"+
		"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>%s</p></body></html>\r\n--b%d--\r\n",
		i, i, i, i*7919, i, i, strings.Repeat("The printer on the second floor is out of paper again.\r\n", 12), i,
		strings.Repeat("The printer on the second floor is out of paper again.<br>\r\n", 8), i)
}

func (n *null) smtp() *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return nullMail{n}, nil }))
	s.Domain = "localhost"
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	return s
}

// nullMail takes every mail.
type nullMail struct{ *null }

func (nullMail) Reset()                               {}
func (nullMail) Logout() error                        { return nil }
func (nullMail) Mail(string, *smtp.MailOptions) error { return nil }
func (nullMail) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (nullMail) AuthMechanisms() []string             { return []string{"XOAUTH2"} }
func (nullMail) Auth(string) (sasl.Server, error)     { return admits{}, nil }
func (m nullMail) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	m.mails.Add(1)
	return err
}

// admits lets everybody in.
type admits struct{}

func (admits) Next([]byte) ([]byte, bool, error) { return nil, true, nil }

// spacing describes how evenly moments lie: the fullest of so many equal parts of
// the time they take, over the mean.
func spacing(moments []time.Time, parts int) float64 {
	if len(moments) < parts {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(moments), time.Time.Compare)
	whole := sorted[len(sorted)-1].Sub(sorted[0])
	fullest := make([]int, parts)
	for _, m := range sorted {
		fullest[min(parts-1, int(int64(m.Sub(sorted[0]))*int64(parts)/max(1, int64(whole))))]++
	}
	return float64(slices.Max(fullest)) * float64(parts) / float64(len(sorted))
}
