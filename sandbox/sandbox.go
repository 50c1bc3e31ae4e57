// Package sandbox is a Microsoft 365 tenant to test against: sign-in pages, token endpoint, Graph's /me, and Exchange over IMAP
// and SMTP, on loopback, with made-up people. It needs no network and leaves nothing behind.
//
//	box, err := sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{"http://localhost:8025/oauth/callback"}})
//	…
//	defer box.Close()
//	fmt.Println(box.Describe().Issuer)
//
// It shares no code with Mailgrant itself, so that a misunderstanding in one cannot hide in the other, and it stands for any
// other client as well: the tests sign in with Microsoft's own library.
//
// What it is for is the trap of remembered browser sessions: a browser in which somebody is signed in is taken silently at its
// word. See package entra for where that happens, and World for the switches, the clock and the faults with which a test makes
// the world misbehave. Everything a test can do by method, a program can do over HTTP below /sandbox/control/.
package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
	"github.com/mailgrant/mailgrant/sandbox/entra"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
	"github.com/mailgrant/mailgrant/sandbox/graph"
)

// anyPort is where a listener goes when the options do not say.
const anyPort = "127.0.0.1:0"

// longestHang bounds how long a request may be read or kept waiting: net/http lets go of a handler's caller when the time to
// read is over, so it must be longer than any client's patience that a test wants to try.
const longestHang = 15 * time.Minute

// Options say how a sandbox starts. The zero value is a sandbox with the default story on free ports of 127.0.0.1.
type Options struct {
	// Now is the clock under the world's own, movable one. Default time.Now.
	Now func() time.Time
	// HTTPAddr, TLSAddr, IMAPAddr, POP3Addr and SMTPAddr are where to listen. Default: a free port of 127.0.0.1 each.
	HTTPAddr, TLSAddr, IMAPAddr, POP3Addr, SMTPAddr string
	// RedirectURIs are registered with the apps of the default story. Default: those of a Mailgrant on http://localhost:8025.
	RedirectURIs []string
	// Story is the world to begin with. Default: directory.DefaultStory.
	Story *directory.Story
	// ControlKey guards the control API. Default: a random one, shown by Describe.
	ControlKey string
	// Logger receives what the servers say about broken connections. Default: nothing is logged.
	Logger *slog.Logger
}

// DefaultRedirectURIs are those of a Mailgrant that runs with its own defaults.
func DefaultRedirectURIs() []string {
	return []string{"http://localhost:8025/oauth/callback", "http://localhost:8025/oauth_redirect.do"}
}

// Sandbox is a running sandbox. Its methods may be called from any goroutine.
type Sandbox struct {
	world      *directory.World
	entra      *entra.Server
	exchange   *exchange.Exchange
	authority  *authority
	controlKey string
	listeners  listeners
	servers    []*http.Server

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	failed  error
}

type listeners struct{ http, tls, imap, pop3, smtp net.Listener }

// Start begins a sandbox. It runs until Close is called or ctx ends.
func Start(ctx context.Context, options Options) (*Sandbox, error) {
	options = options.withDefaults()
	story := directory.DefaultStory(options.RedirectURIs...)
	if options.Story != nil {
		story = *options.Story
	}
	world, err := directory.New(story, options.Now)
	if err != nil {
		return nil, fmt.Errorf("the sandbox's story does not hold together: %w", err)
	}
	s := &Sandbox{world: world, controlKey: options.ControlKey}
	if s.entra, err = entra.New(world); err != nil {
		return nil, fmt.Errorf("starting the sandbox's sign-in: %w", err)
	}
	if err := s.listeners.open(ctx, options); err != nil {
		return nil, err
	}
	if s.authority, err = newAuthority(s.listeners.hosts()); err != nil {
		s.listeners.close()
		return nil, fmt.Errorf("starting the sandbox's certificate authority: %w", err)
	}
	s.exchange = exchange.New(tenant{world: world, tokens: s.entra}, exchange.Options{
		IMAPListener: s.listeners.imap, POP3Listener: s.listeners.pop3, SMTPListener: s.listeners.smtp, TLS: s.authority.serverTLS(), Logger: options.Logger,
	})
	s.run(ctx, options.Logger)
	return s, nil
}

func (o Options) withDefaults() Options {
	for _, address := range []*string{&o.HTTPAddr, &o.TLSAddr, &o.IMAPAddr, &o.POP3Addr, &o.SMTPAddr} {
		if *address == "" {
			*address = anyPort
		}
	}
	if o.RedirectURIs == nil {
		o.RedirectURIs = DefaultRedirectURIs()
	}
	if o.ControlKey == "" {
		o.ControlKey = directory.RandomText()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (l *listeners) open(ctx context.Context, options Options) error {
	for _, one := range []struct {
		into    *net.Listener
		name    string
		address string
	}{
		{&l.http, "HTTP", options.HTTPAddr},
		{&l.tls, "HTTPS", options.TLSAddr},
		{&l.imap, "IMAP", options.IMAPAddr},
		{&l.pop3, "POP3", options.POP3Addr},
		{&l.smtp, "SMTP", options.SMTPAddr},
	} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", one.address)
		if err != nil {
			l.close()
			return fmt.Errorf("the sandbox cannot listen for %s on %s: %w", one.name, one.address, err)
		}
		*one.into = listener
	}
	return nil
}

func (l *listeners) all() []net.Listener {
	return []net.Listener{l.http, l.tls, l.imap, l.pop3, l.smtp}
}

func (l *listeners) close() {
	for _, listener := range l.all() {
		if listener != nil {
			_ = listener.Close() // It is given up either way.
		}
	}
}

// hosts lists the names and addresses that certificates must be good for.
func (l *listeners) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, listener := range l.all() {
		if host, _, err := net.SplitHostPort(listener.Addr().String()); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// run starts the servers. When one of them breaks, the whole sandbox ends and Wait says why.
func (s *Sandbox) run(ctx context.Context, logger *slog.Logger) {
	ctx, s.cancel = context.WithCancel(ctx)
	handler := s.routes()
	start := func(name string, serve func() error) {
		s.running.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.mu.Lock()
				s.failed = errors.Join(s.failed, fmt.Errorf("the sandbox's %s server stopped: %w", name, err))
				s.mu.Unlock()
			}
			s.cancel()
		})
	}
	for name, listener := range map[string]net.Listener{"HTTP": s.listeners.http, "HTTPS": tls.NewListener(s.listeners.tls, s.authority.serverTLS())} {
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: longestHang, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		}
		s.servers = append(s.servers, server)
		start(name, func() error { return server.Serve(listener) })
	}
	start("mail", func() error { return s.exchange.Run(ctx) })
	s.running.Go(func() {
		<-ctx.Done()
		s.world.Close()
		for _, server := range s.servers {
			_ = server.Close() // Connections are cut; there is nothing to save.
		}
		_ = s.exchange.Close()
	})
}

func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	s.entra.Routes(mux)
	graph.New(s.world, s.entra, s.exchange).Routes(mux)
	s.controlRoutes(mux)
	return mux
}

// Close ends the sandbox and waits until nothing of it is left.
func (s *Sandbox) Close() error {
	s.cancel()
	return s.Wait()
}

// Wait returns when the sandbox has ended, with what broke it, if it did not end by Close or its context.
func (s *Sandbox) Wait() error {
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// World is the state of the imitation world: the clock, users, apps, mailboxes, consents, switches, faults and calls.
func (s *Sandbox) World() *directory.World { return s.world }

// Exchange is the mail side: mailboxes' contents, connections, mail that left the tenant.
func (s *Sandbox) Exchange() *exchange.Exchange { return s.exchange }

// Entra is the sign-in side: key rotation, and reading access tokens.
func (s *Sandbox) Entra() *entra.Server { return s.entra }
