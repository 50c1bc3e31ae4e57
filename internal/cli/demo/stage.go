// Package demo is the story of Mailgrant, on one machine and without Microsoft:
// an administrator's browser is signed in as Adele, and the mailbox to connect
// is the service desk's. Run plays it for a person with a browser; Check plays
// it alone, with a scripted browser, and tells it step by step.
//
// Everything lives in a temporary folder that is removed at the end.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// Options shape a demo.
type Options struct {
	Check   bool // play the story alone and exit
	Out     io.Writer
	Version string
	Logger  *slog.Logger // of the server; nil: quiet
	// Port is where the server listens; 0: 8025, or a free one where that is taken.
	Port int
}

const (
	providerName = "contoso"
	webhookName  = "desk"
	usualPort    = 8025
	consolePort  = 8026
)

// stage is everything the story is played on.
type stage struct {
	dir  string
	box  *sandbox.Sandbox
	app  *app.App
	desk *desk
	base string // the server's public URL
	skew atomic.Int64

	stop context.CancelFunc
	done chan error
	once sync.Once
}

// now is the one clock of server and sandbox; the story moves it.
func (s *stage) now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// advance moves the clock of everything.
func (s *stage) advance(d time.Duration) { s.skew.Add(int64(d)) }

// set builds the stage: sandbox, webhook receiver, server, provider, mailbox,
// webhook.
func set(ctx context.Context, o Options) (_ *stage, err error) {
	s := &stage{done: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.strike())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "mailgrant-demo-"); err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	listener, err := listen(o.Port)
	if err != nil {
		return nil, err
	}
	// The server is on localhost and the sandbox on 127.0.0.1: two sites to a
	// browser, as they would be in earnest, so that faults with cookies show.
	s.base = "http://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	sandboxOptions := sandbox.Options{Now: s.now, RedirectURIs: []string{s.base + "/oauth/callback"}}
	if !o.Check {
		sandboxOptions.HTTPAddr = freeOr(consolePort)
	}
	if s.box, err = sandbox.Start(ctx, sandboxOptions); err != nil {
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	if s.desk, err = openDesk(); err != nil {
		return nil, err
	}
	cfg, err := config.Load("/dev/null", []string{
		"MAILGRANT_DATA_DIR=" + filepath.Join(s.dir, "data"), "MAILGRANT_LISTEN=" + listener.Addr().String(),
		"MAILGRANT_PUBLIC_URL=" + s.base, "MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8",
	})
	if err != nil {
		return nil, err
	}
	if s.app, err = app.Open(ctx, cfg, app.Options{Version: o.Version, Logger: o.Logger, Now: s.now, Listener: listener}); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() { s.done <- s.app.Run(running) }()
	return s, s.furnish(ctx)
}

// strike takes everything down and removes the folder.
func (s *stage) strike() error {
	var errs []error
	s.once.Do(func() {
		if s.stop != nil {
			s.stop()
			errs = append(errs, <-s.done)
		} else if s.app != nil {
			errs = append(errs, s.app.Close())
		}
		if s.desk != nil {
			errs = append(errs, s.desk.close())
		}
		if s.box != nil {
			errs = append(errs, s.box.Close())
		}
		if s.dir != "" {
			errs = append(errs, os.RemoveAll(s.dir))
		}
	})
	return errors.Join(errs...)
}

func listen(port int) (net.Listener, error) {
	if port == 0 {
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(usualPort)); err == nil {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// freeOr gives the address with this port, or with any where it is taken.
func freeOr(port int) string {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return "127.0.0.1:" + strconv.Itoa(port)
}

var operator = event.Actor{Kind: event.ActorOperator, Name: "demo"}

// furnish adds the provider, the mailbox and the webhook, as an operator would.
func (s *stage) furnish(ctx context.Context) error {
	if err := s.saveProvider(ctx, ""); err != nil {
		return err
	}
	d := s.box.Describe()
	imap := mailbox.Server{Host: d.IMAP.Host, Port: d.IMAP.Port, TLS: protocol.TLSImplicit, CAPEM: d.CertificateAuthority}
	smtp := mailbox.Server{Host: d.SMTP.Host, Port: d.SMTP.Port, TLS: protocol.TLSStart, CAPEM: d.CertificateAuthority}
	_, _, err := s.app.Connect.Mailboxes.Save(ctx, connect.MailboxSettings{Mailbox: mailbox.Mailbox{
		Address: directory.StoryDesk, Provider: providerName,
		Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush, Server: imap},
		Send:    &mailbox.Send{Protocol: protocol.SMTP, Server: smtp},
	}}, operator)
	if err != nil {
		return fmt.Errorf("add the mailbox: %w", err)
	}
	_, _, err = s.app.Webhooks.Save(ctx, operator, webhook.Input{
		Name: webhookName, URL: s.desk.url, Secret: s.desk.secret, Events: []event.Pattern{"message.received", "submission.*", "grant.*", "authorization.*"},
	})
	if err != nil {
		return fmt.Errorf("add the webhook: %w", err)
	}
	return nil
}

// saveProvider writes the provider with a decision on prompt; empty: the default.
func (s *stage) saveProvider(ctx context.Context, prompt provider.Prompt) error {
	d := s.box.Describe()
	_, _, err := s.app.Connect.Providers.Save(ctx, connect.ProviderSettings{
		Record: provider.Record{
			Name: providerName, Kind: "microsoft", Tenant: directory.StoryDomain, ClientID: directory.StoryClientID, Prompt: prompt,
			Endpoints: map[string]string{"authority": d.BaseURL, "graph": d.GraphURL},
		},
		Secrets: []connect.SecretInput{{Value: seal.NewSecret(directory.StoryClientSecret)}},
	}, operator)
	if err != nil {
		return fmt.Errorf("save the provider: %w", err)
	}
	return nil
}

// link makes an authorization link for the service desk.
func (s *stage) link(ctx context.Context) (*url.URL, error) {
	b, err := s.app.Connect.Links.Begin(ctx, directory.StoryDesk, connect.LinkOptions{}, operator)
	if err != nil {
		return nil, fmt.Errorf("make an authorization link: %w", err)
	}
	u, err := url.Parse(b.URL.Reveal())
	if err != nil {
		return nil, fmt.Errorf("read the link: %w", err)
	}
	return u, nil
}

// home is the sandbox's page that shows who a browser is signed in as.
func (s *stage) home() string { return s.box.Describe().BaseURL + "/" }

const printerOnFire = "The printer on the second floor is on fire"

// adeleWrites puts a message of Adele's into the service desk's mailbox.
func (s *stage) adeleWrites(subject string) error {
	raw := fmt.Sprintf("From: Adele Vance <%s>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%d@%s>\r\nDate: %s\r\n\r\nPlease come.\r\n",
		directory.StoryAdele, directory.StoryDesk, subject, time.Now().UnixNano(), directory.StoryDomain, s.now().Format(time.RFC1123Z))
	if _, err := s.box.Exchange().Deliver(directory.StoryDesk, []byte(raw)); err != nil {
		return fmt.Errorf("let Adele write: %w", err)
	}
	return nil
}
