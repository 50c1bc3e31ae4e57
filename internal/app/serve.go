package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/api"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// drainTime is how long calls and deliveries under way may take after the end
// was asked for.
const drainTime = 25 * time.Second

// listen opens the configured address and the socket.
func (a *App) listen(_ context.Context, o Options) error {
	var err error
	if a.http = o.Listener; a.http == nil {
		if a.http, err = net.Listen("tcp", a.cfg.Listen); err != nil {
			return &fault.Error{
				ID: "app.listen", Kind: fault.Invalid, Field: "listen", Text: fmt.Sprintf("Nothing can be served at %s.", a.cfg.Listen),
				Who: []fault.Who{fault.Operator}, Remedy: "See whether another program uses this port, or choose another with listen (or MAILGRANT_LISTEN).", Err: err,
			}
		}
	}
	if a.cfg.TLSCertFile != "" {
		cert, err := tls.LoadX509KeyPair(a.cfg.TLSCertFile, a.cfg.TLSKeyFile)
		if err != nil {
			return &fault.Error{
				ID: "app.tls", Kind: fault.Invalid, Field: "tls", Text: "The certificate and its key cannot be used.",
				Who: []fault.Who{fault.Operator}, Remedy: "tls.cert_file holds the certificate first and then its chain; tls.key_file the key that belongs to it.", Err: err,
			}
		}
		a.http = tls.NewListener(a.http, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	a.socket, err = openSocket(SocketPath(a.cfg.DataDir))
	return err
}

// route splits calls between pages and API, after the checks that hold for both.
func (a *App) route(pages, calls http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", calls)
	mux.Handle("/openapi.json", calls)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", a.guarded(promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})))
	mux.Handle("/", pages)
	return a.accept(mux)
}

// ready answers whether the server can do its work now, and will for a while.
func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case <-a.draining:
		http.Error(w, "not ready: the server is ending", http.StatusServiceUnavailable)
		return
	default:
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := a.Store.Ping(ctx); err != nil {
		http.Error(w, "not ready: "+fault.Of(err).Text, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// guarded lets API keys and the socket through.
func (a *App) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, local := api.Peer(r.Context()); !local {
			addr := access.RemoteAddr(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), a.cfg.TrustedProxies)
			c, err := a.Access.Authenticate(r.Context(), r.Header.Get("Authorization"), addr)
			if err == nil {
				err = a.Access.Admit(c)
			}
			if err == nil {
				err = c.Allows(access.Read, "")
			}
			if err != nil {
				refuse(w, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refuse says in plain text why a call is not let through: RFC 6750 section 3.1
// keeps an unknown key (401) from a missing right (403).
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Bearer realm="mailgrant"`)
		status = http.StatusUnauthorized
	case fault.Forbidden:
		w.Header().Set("WWW-Authenticate", `Bearer realm="mailgrant", error="insufficient_scope"`)
		status = http.StatusForbidden
	case fault.Limited:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(fault.Of(err).RetryAfter.Seconds()))))
		status = http.StatusTooManyRequests
	case fault.Temporary:
		status = http.StatusServiceUnavailable
	}
	text := "Something went wrong inside Mailgrant."
	if f := fault.Of(err); f != nil && status != http.StatusInternalServerError {
		text = f.Text
	}
	http.Error(w, text, status)
}

// accept refuses foreign Host names, and recovers from a bug in a handler.
func (a *App) accept(next http.Handler) http.Handler {
	doors := newDoors(a.cfg)
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &answer{ResponseWriter: plain}
		began := time.Now()
		defer func() {
			v := recover()
			if v != nil {
				a.panicked(w, r, v)
			}
			a.metrics.answered(r, w, time.Since(began))
			if v != nil && w.broken {
				panic(http.ErrAbortHandler)
			}
		}()
		if _, local := api.Peer(r.Context()); !local && !doors.admits(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// panicked answers for a handler that met a bug, and logs where. An answer that
// has begun is broken off, so that nobody takes it for whole.
func (a *App) panicked(w *answer, r *http.Request, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel
		w.broken = true
		return
	}
	a.log.ErrorContext(r.Context(), "a handler panicked", "route", r.Pattern, "panic", v, "stack", string(debug.Stack()))
	if w.status != 0 {
		w.broken = true
		return
	}
	http.Error(w, "Something went wrong inside Mailgrant. Its log says more.", http.StatusInternalServerError)
}

// Run serves until ctx ends, then drains: no new calls, those under way finish,
// a token request that was sent is stored, leases are given back.
func (a *App) Run(ctx context.Context) error {
	server := func(l net.Listener, peer bool) func(context.Context) error {
		s := &http.Server{
			Handler: a.handler, ReadHeaderTimeout: a.headTime, ReadTimeout: 6 * time.Minute, WriteTimeout: 6 * time.Minute,
			IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		}
		if peer {
			s.ConnContext = withPeer
		}
		return func(ctx context.Context) error { return serve(ctx, s, l) }
	}
	// Faces end first; the loops that finish what faces began end after them.
	faces, endFaces := context.WithCancel(ctx)
	defer endFaces()
	loops, endLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer endLoops()
	stopStreams := context.AfterFunc(faces, func() {
		a.tellStopping()
		close(a.draining)
	})
	defer stopStreams()

	var inner, outer errgroup.Group
	run := func(g *errgroup.Group, name string, ctx context.Context, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				endFaces()
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	run(&inner, "broker", loops, a.Broker.Run)
	run(&inner, "broker's watch", loops, func(ctx context.Context) error { return a.Broker.Watch(ctx, a.Store.WriteEvent) })
	run(&inner, "fetch", loops, a.Fetch.Run)
	run(&inner, "outbox", loops, a.Outbox.Run)
	run(&inner, "webhooks", loops, a.Webhooks.Run)
	run(&inner, "authorizations", loops, a.Connect.Links.Run)
	run(&inner, "jobs", loops, a.jobs.Run)
	run(&inner, "idempotency keys", loops, a.Calls.Run)
	run(&inner, "retention", loops, a.keepRetention)
	run(&inner, "endings", loops, a.Endings.Run)
	run(&inner, "set-up link", loops, a.watchSetup)
	run(&inner, "watchdog", loops, a.keepAlive)
	run(&outer, "HTTP", faces, server(a.http, false))
	run(&outer, "socket", faces, server(a.socket, true))

	a.tellReady()
	a.log.Info("serving", "url", a.cfg.PublicURL.String(), "address", a.http.Addr().String())
	err := outer.Wait()
	endLoops()
	err = errors.Join(err, inner.Wait())
	a.log.Info("drained")
	return errors.Join(err, a.Close())
}

// serve runs one HTTP server until ctx ends and drains it.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		err := s.Shutdown(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		stopped <- err
	})
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}
