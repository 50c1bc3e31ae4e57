package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"
)

// Options are what an Exchange is given to run with.
type Options struct {
	// IMAPListener accepts plain TCP; TLS is spoken from the first byte, as
	// on port 993. May be nil: then there is no IMAP.
	IMAPListener net.Listener
	// POP3Listener accepts plain TCP; TLS is spoken from the first byte, as on
	// port 995. May be nil: then there is no POP3.
	POP3Listener net.Listener
	// SMTPListener accepts plain TCP; TLS starts with STARTTLS, as on port
	// 587. May be nil: then there is no submission.
	SMTPListener net.Listener
	// TLS holds at least one certificate. Versions before 1.2 are refused.
	TLS *tls.Config
	// Hostname is how the server names itself in greetings, Received headers
	// and Message-IDs. Default "exchange.sandbox.test".
	Hostname string
	// MaxIMAPConnections is how many IMAP connections may hold one mailbox
	// open; the next is authenticated but not connected. Default 20; the
	// real figure is not published.
	MaxIMAPConnections int
	// Logger receives what the servers have to say about broken connections,
	// at debug level. Default: discard.
	Logger *slog.Logger
}

// Limits that Exchange Online publishes for submission, per mailbox.
const (
	MaxSubmissionConnections = 3
	MaxMessagesPerMinute     = 30
	// MaxMessageBytes is the default for sending, 35 MB.
	MaxMessageBytes = 35 << 20
	// MaxRecipients is the default per message.
	MaxRecipients = 500
)

// maxLinks bounds all connections together; more are closed at once.
const maxLinks = 2000

// Exchange is the mail side of a tenant. Its methods may be called from any
// goroutine, before, while and after it runs.
type Exchange struct {
	dir   Directory
	opts  Options
	store *store
	imap  *imapserver.Server
	smtp  *smtp.Server

	mu       sync.Mutex
	links    map[*link]struct{}
	nextLink uint64
	sent     map[string][]time.Time // accepted submissions of the last minute, by mailbox
	outside  []OutsideMessage
	queued   uint64 // messages accepted so far, for ids
	closing  bool
	running  bool

	stop     chan struct{} // closed by Close
	stopOnce sync.Once
	done     chan struct{} // closed when Run has drained
	drain    sync.WaitGroup
}

// New returns an Exchange with empty mailboxes. Nothing listens until Run.
func New(dir Directory, opts Options) *Exchange {
	if opts.Hostname == "" {
		opts.Hostname = "exchange.sandbox.test"
	}
	if opts.MaxIMAPConnections == 0 {
		opts.MaxIMAPConnections = 20
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.TLS != nil {
		opts.TLS = opts.TLS.Clone()
		opts.TLS.MinVersion = max(opts.TLS.MinVersion, tls.VersionTLS12)
	}
	x := &Exchange{
		dir: dir, opts: opts,
		store: newStore(dir.Now()),
		links: make(map[*link]struct{}),
		sent:  make(map[string][]time.Time),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	x.imap = x.newIMAPServer()
	x.smtp = x.newSMTPServer()
	return x
}

// Run serves its listeners until ctx ends, Close is called or a listener
// breaks. It closes the listeners and every connection and returns when all of
// them have drained: nil after ctx or Close, else what broke. It can be called
// once.
func (x *Exchange) Run(ctx context.Context) error {
	if x.opts.TLS == nil {
		return errors.New("exchange: Options.TLS is missing: all protocols need a certificate")
	}
	x.mu.Lock()
	if x.running {
		x.mu.Unlock()
		return errors.New("exchange: Run was called before")
	}
	x.running = true
	x.mu.Unlock()
	defer close(x.done)

	broke := make(chan error, 3)
	var serving sync.WaitGroup
	serve := func(name string, ln net.Listener, wrap func(*link) net.Conn, serve func(net.Listener) error) {
		if ln == nil {
			return
		}
		serving.Go(func() {
			if err := serve(&door{Listener: ln, x: x, protocol: name, wrap: wrap}); err != nil {
				broke <- fmt.Errorf("exchange: %s: %w", name, err)
			}
		})
	}
	serve("imap", x.opts.IMAPListener, x.imapWire, x.imap.Serve)
	serve("pop3", x.opts.POP3Listener, pop3WireOf, x.servePOP3)
	serve("smtp", x.opts.SMTPListener, x.smtpWire, x.smtp.Serve)

	var err error
	select {
	case <-ctx.Done():
	case <-x.stop:
	case err = <-broke:
		select {
		case <-x.stop:
			err = nil
		default:
		}
	}
	x.shut()
	serving.Wait()
	x.drain.Wait()
	return err
}

// Close ends Run and waits until it has drained. Before Run it only closes the
// listeners.
func (x *Exchange) Close() error {
	x.stopOnce.Do(func() { close(x.stop) })
	x.mu.Lock()
	running := x.running
	x.mu.Unlock()
	if running {
		<-x.done
		return nil
	}
	x.shut()
	return nil
}

// shut closes listeners and connections; their goroutines end soon after.
func (x *Exchange) shut() {
	x.mu.Lock()
	x.closing = true
	links := make([]*link, 0, len(x.links))
	for l := range x.links {
		links = append(links, l)
	}
	x.mu.Unlock()
	for _, ln := range []net.Listener{x.opts.IMAPListener, x.opts.POP3Listener, x.opts.SMTPListener} {
		if ln != nil {
			_ = ln.Close() // closed already is as good
		}
	}
	for _, l := range links {
		l.cut()
	}
	_ = x.imap.Close() // nothing of it is left to fail
	_ = x.smtp.Close()
}

// Deliver puts a message into the INBOX of the mailbox that has this address,
// as if it had come from outside: a Received header is added, and Message-ID
// and Date where they are missing. Idle connections are told at once. It
// returns the message's UID.
func (x *Exchange) Deliver(address string, rfc822 []byte) (uint32, error) {
	box, ok := x.dir.Mailbox(address)
	if !ok {
		return 0, fmt.Errorf("exchange: no mailbox has the address %s", address)
	}
	now := x.dir.Now()
	raw, _ := x.complete(crlf(rfc822), now)
	raw = append([]byte(x.received("inbound.sandbox.test", "SMTP", box.Address, now)), raw...)
	return uint32(x.store.box(box.Address).folder("INBOX").add(raw, now, nil)), nil
}

// Messages returns what lies in a folder, oldest first; nil if there is no such
// mailbox or folder. The slices are the caller's.
func (x *Exchange) Messages(address, folder string) []Stored {
	box, ok := x.dir.Mailbox(address)
	if !ok {
		return nil
	}
	f := x.store.box(box.Address).folder(folder)
	if f == nil {
		return nil
	}
	return f.snapshot()
}

// ResetUIDValidity re-creates a folder: same messages, new UIDs from 1, another
// UIDVALIDITY, which it returns. IMAP connections of the mailbox are closed, as
// they would hold numbers of a folder that is no more.
func (x *Exchange) ResetUIDValidity(address, folder string) (uint32, error) {
	box, ok := x.dir.Mailbox(address)
	if !ok {
		return 0, fmt.Errorf("exchange: no mailbox has the address %s", address)
	}
	validity, err := x.store.box(box.Address).recreate(folder)
	if err != nil {
		return 0, fmt.Errorf("exchange: folder of %s: %w", box.Address, err)
	}
	x.cutLinks(box.Address, "imap")
	return validity, nil
}

// CutConnections closes all IMAP, POP3 and SMTP connections of the mailbox that has
// this address, without a word, and says how many there were.
func (x *Exchange) CutConnections(address string) int {
	if box, ok := x.dir.Mailbox(address); ok {
		address = box.Address
	}
	return x.cutLinks(address, "")
}

// Connections are the live connections that have signed in to a mailbox.
type Connections struct{ IMAP, POP3, SMTP int }

// Connections counts the live connections of the mailbox that has this
// address.
func (x *Exchange) Connections(address string) Connections {
	if box, ok := x.dir.Mailbox(address); ok {
		address = box.Address
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var n Connections
	for l := range x.links {
		switch {
		case !strings.EqualFold(l.mailbox, address):
		case l.protocol == "imap":
			n.IMAP++
		case l.protocol == "pop3":
			n.POP3++
		default:
			n.SMTP++
		}
	}
	return n
}
