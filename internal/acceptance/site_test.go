package acceptance_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

const providerName = "contoso"

var byOperator = event.Actor{Kind: event.ActorOperator, Name: "anna"}

// site is a running server beside a running sandbox, with one clock for both.
type site struct {
	*app.App
	box  *sandbox.Sandbox
	base string // the server's public URL
	skew atomic.Int64
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// advance moves the clock of server and sandbox.
func (s *site) advance(d time.Duration) { s.skew.Add(int64(d)) }

// openSite starts both; port 0 is a free one. The provider is there, no mailbox.
func openSite(t *testing.T, port int) *site {
	t.Helper()
	s := &site{}
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	must(t, err)
	s.base = "http://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	ctx, stop := context.WithCancel(context.Background())
	s.box, err = sandbox.Start(ctx, sandbox.Options{Now: s.now, RedirectURIs: []string{s.base + "/oauth/callback"}})
	must(t, err)
	// The path of a socket has to be short, so the test's own folder will not do.
	dir, err := os.MkdirTemp("", "mailgrant-")
	must(t, err)
	cfg, err := config.Load("/dev/null", []string{
		"MAILGRANT_DATA_DIR=" + filepath.Join(dir, "data"), "MAILGRANT_LISTEN=" + listener.Addr().String(), "MAILGRANT_PUBLIC_URL=" + s.base,
		"MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.1/32",
	})
	must(t, err)
	s.App, err = app.Open(ctx, cfg, app.Options{Version: "test", Now: s.now, Listener: listener})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.App.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
		if err := s.box.Close(); err != nil {
			t.Errorf("the sandbox ended with: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the server's folder: %v", err)
		}
	})
	s.saveProvider(t, nil)
	return s
}

// saveProvider writes the provider of the story, changed or as it is.
func (s *site) saveProvider(t *testing.T, change func(*connect.ProviderSettings)) {
	t.Helper()
	about := s.box.Describe()
	settings := connect.ProviderSettings{
		Record: provider.Record{
			Name: providerName, Kind: "microsoft", Tenant: directory.StoryDomain, ClientID: directory.StoryClientID,
			Endpoints: map[string]string{"authority": about.BaseURL, "graph": about.GraphURL},
		},
		Secrets: []connect.SecretInput{{Value: seal.NewSecret(directory.StoryClientSecret)}},
	}
	if change != nil {
		change(&settings)
	}
	_, _, err := s.Connect.Providers.Save(t.Context(), settings, byOperator)
	must(t, err)
}

// prompt is the operator's decision to send this prompt; empty: the default.
func prompt(p provider.Prompt) func(*connect.ProviderSettings) {
	return func(s *connect.ProviderSettings) { s.Record.Prompt = p }
}

// everyTenant is the registration that users of every tenant may use.
func everyTenant(segment string) func(*connect.ProviderSettings) {
	return func(s *connect.ProviderSettings) {
		s.Record.Tenant, s.Record.ClientID = segment, directory.StoryMultiClientID
		s.Secrets = []connect.SecretInput{{Value: seal.NewSecret(directory.StoryMultiSecret)}}
	}
}

// addMailbox adds a mailbox that receives by IMAP and sends by SMTP.
func (s *site) addMailbox(t *testing.T, address string, actsAs mailbox.ActsAs) mailbox.Mailbox {
	t.Helper()
	about := s.box.Describe()
	m, _, err := s.Connect.Mailboxes.Save(t.Context(), connect.MailboxSettings{Mailbox: mailbox.Mailbox{
		Address: address, Provider: providerName, ActsAs: actsAs,
		Receive: &mailbox.Receive{
			Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush,
			Server: mailbox.Server{Host: about.IMAP.Host, Port: about.IMAP.Port, TLS: protocol.TLSImplicit, CAPEM: about.CertificateAuthority},
		},
		Send: &mailbox.Send{
			Protocol: protocol.SMTP,
			Server:   mailbox.Server{Host: about.SMTP.Host, Port: about.SMTP.Port, TLS: protocol.TLSStart, CAPEM: about.CertificateAuthority},
		},
	}}, byOperator)
	must(t, err)
	return m
}

// link makes an authorization link.
func (s *site) link(t *testing.T, address string) string {
	t.Helper()
	return s.begin(t, address).URL.Reveal()
}

func (s *site) begin(t *testing.T, address string) connect.Begun {
	t.Helper()
	b, err := s.Connect.Links.Begin(t.Context(), address, connect.LinkOptions{}, byOperator)
	must(t, err)
	return b
}

// attempts is how many attempts at a link were counted.
func (s *site) attempts(t *testing.T, id string) int {
	t.Helper()
	l, _, err := s.Connect.Links.Status(t.Context(), id)
	must(t, err)
	return l.Attempts
}

func (s *site) device(t *testing.T, user string) {
	t.Helper()
	must(t, s.box.World().SetDeviceUser(user))
}

func (s *site) grant(t *testing.T, m mailbox.Mailbox) mailbox.Grant {
	t.Helper()
	g, err := s.Store.Grant(t.Context(), m.ID)
	must(t, err)
	return g
}

// granted fails unless the mailbox has a working grant with this verdict.
func (s *site) granted(t *testing.T, m mailbox.Mailbox, v mailbox.Verdict) {
	t.Helper()
	if g := s.grant(t, m); g.State != mailbox.GrantActive || g.Verdict != v {
		t.Fatalf("the grant of %s is %s with the verdict %s, want active with %s", m.Address, g.State, g.Verdict, v)
	}
	s.lends(t, m)
}

// lends fails unless the grant gives an access token.
func (s *site) lends(t *testing.T, m mailbox.Mailbox) {
	t.Helper()
	if _, _, err := s.Broker.Lend(t.Context(), m.ID, provider.ResourceMail, time.Minute); err != nil {
		t.Fatalf("the grant of %s lends no access token: %v", m.Address, err)
	}
}

// nothingStored fails when a refused authorization left anything behind.
func (s *site) nothingStored(t *testing.T, m mailbox.Mailbox) {
	t.Helper()
	if g, err := s.Store.Grant(t.Context(), m.ID); !fault.Has(err, "grant.none") {
		t.Errorf("a grant was stored: %s, %v", g.State, err)
	}
	if q, err := s.Store.QuarantineOf(t.Context(), m.ID); err != nil || q != nil {
		t.Errorf("something is in quarantine: %v, %v", q != nil, err)
	}
	if tokens, err := s.Store.AccessTokens(t.Context(), m.ID); err != nil || len(tokens) > 0 {
		t.Errorf("%d access tokens were stored, %v", len(tokens), err)
	}
}

// setupLink is the address of a fresh set-up link for operators.
func (s *site) setupLink(t *testing.T) string {
	t.Helper()
	secret, _, err := s.Access.IssueSetup(t.Context(), event.System())
	must(t, err)
	return s.base + "/setup/" + secret.Reveal()
}

func (s *site) mailboxPage(address string) string {
	return s.base + "/mailboxes/" + url.PathEscape(address)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
