// Package app is the composition root: configuration in, running system out.
// It is the only place that joins what the capabilities need to what makes
// it; reading this file tells what runs.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/api"
	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/idempotency"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/jobs"
	"github.com/mailgrant/mailgrant/internal/web"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Options is what a program running an App adds to the configuration.
type Options struct {
	Version string
	Logger  *slog.Logger
	Now     func() time.Time // nil: the real clock
	// Listener serves HTTP in place of a new one on the configured address.
	Listener net.Listener
	// HeadTime and BodyTime are how long the head and the body of a request may
	// take to arrive; 10 s and 30 s.
	HeadTime, BodyTime time.Duration
}

// App is a server, joined but not yet running.
type App struct {
	Connect  *connect.Connect
	Access   *access.Access
	Calls    *idempotency.Calls
	Broker   *broker.Broker
	Fetch    *fetch.Fetch
	Outbox   *outbox.Outbox
	Webhooks *webhook.Webhooks
	Diagnose *diagnose.Ladder
	Overview *diagnose.Overview
	Endings  *diagnose.Endings
	Store    *store.Store
	Keys     *seal.Keyset

	cfg      *config.Config
	log      *slog.Logger
	now      func() time.Time
	owner    string
	headTime time.Duration
	jobs     *jobs.Jobs
	metrics  *metrics
	http     net.Listener
	socket   net.Listener
	folder   *os.File    // holds the lock on the data folder
	setup    seal.Secret // the set-up link that stands in its file; zero: none
	handler  http.Handler

	draining chan struct{} // closed when the end was asked for: streams end
}

// Open prepares folders, opens the database and the key file, joins the rooms
// and listens. Close what it gives, or Run it to the end.
func Open(ctx context.Context, cfg *config.Config, o Options) (*App, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := prepareFolder(cfg.DataDir); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, headTime: cmp.Or(o.HeadTime, 10*time.Second), log: o.Logger, now: o.Now, metrics: newMetrics(), draining: make(chan struct{})}
	for _, step := range []func(context.Context, Options) error{a.ground, a.join, a.listen} {
		if err := step(ctx, o); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	// Last: the link would be of no use had one of the others failed.
	if err := a.prepareSetup(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// ground takes the data folder and opens the keys and the database.
func (a *App) ground(ctx context.Context, o Options) error {
	var err error
	if a.folder, err = lockFolder(a.cfg.DataDir); err != nil {
		return err
	}
	if a.Keys, err = seal.OpenKeyset(a.cfg.KeyFile); err != nil {
		return err
	}
	if a.owner, err = newOwner(); err != nil {
		return err
	}
	a.Store, err = store.Open(ctx, store.Options{URL: a.cfg.Database.Reveal(), Logger: o.Logger, Wrote: a.metrics.wrote})
	return err
}

// prepareFolder makes the data folder, for the service's user alone.
func prepareFolder(dir string) error {
	refuse := func(text, remedy string, err error) error {
		return &fault.Error{ID: "app.data_dir", Kind: fault.Invalid, Field: "data_dir", Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}, Err: err}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return refuse(fmt.Sprintf("The data folder %s cannot be made.", dir), "Make it, owned by the service's user, or choose another with data_dir (or MAILGRANT_DATA_DIR).", err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return refuse(fmt.Sprintf("The data folder %s cannot be written.", dir), "Give the service's user write access, or choose another with data_dir (or MAILGRANT_DATA_DIR).", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()), os.Chmod(dir, 0o700))
}

// newOwner names one run of one process in leases.
func newOwner() (string, error) {
	b := make([]byte, 6)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("name this process: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(b)), nil
}

// directory is what broker, fetch and outbox need to know of mailboxes and
// providers.
type directory struct {
	*connect.Mailboxes
	*connect.Providers
	store *store.Store
}

func (d directory) Mailbox(ctx context.Context, address string) (mailbox.Mailbox, error) {
	return d.Mailboxes.Get(ctx, address)
}

func (d directory) MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error) {
	return d.store.MailboxByID(ctx, id)
}

func (d directory) Registration(ctx context.Context, name string) (provider.Kind, provider.Registration, error) {
	return d.Providers.Registration(ctx, name)
}

// join makes the rooms and joins their needs, ground first.
func (a *App) join(ctx context.Context, o Options) error {
	reg := newRegistry(a.now)
	publicURL := a.cfg.PublicURL.String()
	var err error
	a.Connect, err = connect.New(connect.Needs{
		Providers: a.Store, Mailboxes: a.Store, Links: a.Store, Grants: a.Store, Aside: a.Store, Events: a.Store,
		Keys: a.Keys, Kinds: reg.kind, KindNames: reg.kindNames(), PublicURL: publicURL, Now: a.now, LinkLife: a.cfg.LinkLife,
		Probes:  func(n protocol.Name) protocol.Prober { return member[protocol.Prober](reg, n) },
		Adopted: func(id string) { a.grantChanged(id) }, Changed: func(id string) { a.grantChanged(id) }, Log: a.log,
	})
	if err != nil {
		return err
	}
	dir := directory{Mailboxes: a.Connect.Mailboxes, Providers: a.Connect.Providers, store: a.Store}
	if a.Broker, err = broker.New(broker.Options{Store: a.Store, Directory: dir, Keys: a.Keys, Owner: a.owner, Logger: a.log, Now: a.now}); err != nil {
		return err
	}
	a.Fetch = fetch.New(fetch.Options{
		Store: a.Store, Lender: a.Broker, Directory: dir, Owner: a.owner, Now: a.now, Logger: a.log, Retention: a.cfg.Retention,
		Readers: func(n protocol.Name) protocol.Reader { return member[protocol.Reader](reg, n) },
	})
	a.Outbox = outbox.New(outbox.Options{
		Store: a.Store, Lender: a.Broker, Directory: dir, Owner: a.owner, Now: a.now, Logger: a.log,
		Expiry: a.cfg.ExpireAfter, Retention: a.cfg.Retention,
		Senders:     func(n protocol.Name) protocol.Sender { return member[protocol.Sender](reg, n) },
		SentFinders: func(n protocol.Name) protocol.SentFinder { return member[protocol.SentFinder](reg, n) },
	})
	a.Webhooks = webhook.New(webhook.Options{Store: a.Store, Keys: a.Keys, Guard: &egress.Guard{Allow: a.cfg.AllowNetworks}, Owner: a.owner, Logger: a.log, Now: a.now, Retention: a.cfg.Retention})
	a.Access = access.New(access.Needs{Operators: a.Store, Sessions: a.Store, Keys: a.Store, Events: a.Store, LocalLogin: a.cfg.LocalLogin, Now: a.now, Bounds: access.Bounds{
		PerSecond: a.cfg.RequestsPerSecond, Burst: a.cfg.RequestBurst, Streams: a.cfg.Streams,
	}})
	a.Calls = idempotency.New(a.Store, a.Keys, a.now, a.log)
	if a.jobs, err = jobs.New(ctx, a.Store, jobs.Options{Submission: a.Outbox.Send, Delivery: a.wakeQueue, Logger: a.log}); err != nil {
		return err
	}
	a.Diagnose = &diagnose.Ladder{
		Mailboxes: a.Connect.Mailboxes, Directory: dir, Grants: a.Store, Lender: a.Broker, Courier: courier{a}, Events: a.Store,
		Probes:    func(n protocol.Name) protocol.Prober { return member[protocol.Prober](reg, n) },
		Audiences: reg.audiences(), Now: a.now, Log: a.log,
	}
	a.Endings = &diagnose.Endings{Store: a.Store, Providers: a.Connect.Providers, Log: a.log, Now: a.now}
	a.Overview = &diagnose.Overview{Reads: a.Store, Endings: a.Endings, LastRun: a.Broker.LastRun, Silent: a.Broker.SilentAfter(), Now: a.now}
	a.metrics.registry.MustRegister(newStock(a))
	return a.faces(o, publicURL)
}

// wakeQueue hands a job on: the webhooks work at their own pace, each at its own.
func (a *App) wakeQueue(_ context.Context, webhookID, mailboxID string) error {
	a.Webhooks.Wake(webhookID, mailboxID)
	return nil
}

// grantChanged tells the flows that draw on a grant to look again.
func (a *App) grantChanged(mailboxID string) {
	a.Broker.Invalidate(mailboxID)
	a.Fetch.Nudge(mailboxID)
	a.Outbox.Nudge(mailboxID)
}

// faces joins the pages and the API into one handler.
func (a *App) faces(o Options, publicURL string) error {
	calls, err := api.New(api.Options{
		Connect: a.Connect, Access: a.Access, Webhooks: a.Webhooks, Lender: a.Broker, Outbox: a.Outbox, Calls: a.Calls, Overview: a.Overview, Tester: a.Diagnose,
		Inspector: diagnose.Inspector{Audiences: a.Diagnose.Audiences, Now: a.now}, Draining: a.draining, Keys: a, Reads: a.Store, TrustedProxies: a.cfg.TrustedProxies, PublicURL: publicURL,
		Version: o.Version, BodyTime: o.BodyTime, Logger: a.log, Now: a.now,
	})
	if err != nil {
		return err
	}
	problems, err := api.ProblemKinds()
	if err != nil {
		return err
	}
	manual := web.Manual{OpenAPI: calls.Document()}
	for _, k := range problems {
		manual.Problems = append(manual.Problems, web.Refusal{ID: k.ID, Title: k.Title, Text: k.Text, Remedy: k.Remedy, Status: k.Status})
	}
	pages, err := web.New(web.Options{
		Connect: a.Connect, Access: a.Access, Webhooks: a.Webhooks, Reads: a.Store, Tester: a.Diagnose, Overview: a.Overview, PublicURL: a.cfg.PublicURL,
		Outbox: a.Outbox, Lender: a.Broker, Inspector: diagnose.Inspector{Audiences: a.Diagnose.Audiences, Now: a.now}, Draining: a.draining,
		TrustedProxies: a.cfg.TrustedProxies, Manual: manual, Logger: a.log, Now: a.now,
	})
	if err != nil {
		return err
	}
	a.handler = a.route(pages, calls)
	return nil
}

// RotateKeys makes a new sealing key and seals every stored secret anew.
func (a *App) RotateKeys(ctx context.Context, by event.Actor) (int, error) {
	if err := a.Keys.Rotate(); err != nil {
		return 0, err
	}
	n, err := a.Store.ResealAll(ctx, a.Keys)
	if err != nil {
		return n, err
	}
	return n, a.Store.WriteEvent(ctx, event.New(a.now(), event.KeysRotated, by, fmt.Sprintf("The sealing key was rotated; %d stored secrets were sealed anew.", n)))
}

// SocketPath is where the server listens for people on its own host.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "mailgrant.sock") }

// Close gives back what Open took; Run does it by itself.
func (a *App) Close() error {
	var errs []error
	for _, l := range []net.Listener{a.http, a.socket} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if a.Store != nil {
		errs = append(errs, a.Store.Close())
	}
	if a.folder != nil {
		if err := a.folder.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Addr is where HTTP is served.
func (a *App) Addr() net.Addr { return a.http.Addr() }
