package connect_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// office is the capability joined to the real kind and the real prober, at a
// tenant where people sign in with scripted browsers.
type office struct {
	*connect.Connect
	*sandbox.Sandbox
	t     *testing.T
	ctx   context.Context
	store *store.Store
	keys  *seal.Keyset
}

func openOffice(t *testing.T) *office {
	t.Helper()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("came back")) }))
	t.Cleanup(back.Close)
	public := strings.Replace(back.URL, "127.0.0.1", "localhost", 1)
	ctx, cancel := context.WithCancel(context.Background())
	box, err := sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{public + "/oauth/callback"}})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	box.World().SetStrictRotation(true)
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Sandbox: box, t: t, ctx: t.Context(), store: storetest.OpenSQLite(t), keys: keys}
	kind := microsoft.New(microsoft.Options{Now: box.World().Now})
	o.Connect, err = connect.New(connect.Needs{
		Providers: o.store, Mailboxes: o.store, Links: o.store, Grants: o.store, Aside: o.store, Events: o.store,
		Keys: keys, Now: box.World().Now, PublicURL: public,
		Kinds: func(name string) (provider.Kind, bool) { return kind, name == microsoft.Name }, KindNames: []string{microsoft.Name},
		Probes: func(p protocol.Name) protocol.Prober {
			if p == protocol.IMAP {
				return imap.New()
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.provider(func(*connect.ProviderSettings) {})
	return o
}

func (o *office) provider(change func(*connect.ProviderSettings)) {
	o.t.Helper()
	about := o.Describe()
	s := connect.ProviderSettings{
		Record: provider.Record{
			Name: "contoso", Kind: microsoft.Name, Tenant: directory.StoryDomain, ClientID: directory.StoryClientID, CAPEM: about.CertificateAuthority,
			Endpoints: map[string]string{
				"authority": about.BaseURL, "graph": about.GraphURL, "imap": about.IMAP.Address(), "smtp": about.SMTP.Address(),
			},
		},
		Secrets: []connect.SecretInput{{Value: seal.NewSecret(directory.StoryClientSecret)}},
	}
	change(&s)
	if _, _, err := o.Providers.Save(o.ctx, s, operator); err != nil {
		o.t.Fatal(err)
	}
}

func prompt(p provider.Prompt) func(*connect.ProviderSettings) {
	return func(s *connect.ProviderSettings) { s.Record.Prompt = p }
}

func (o *office) mailbox(address string, actsAs mailbox.ActsAs) mailbox.Mailbox {
	o.t.Helper()
	m, _, err := o.Mailboxes.Save(o.ctx, connect.MailboxSettings{Mailbox: mailbox.Mailbox{
		Address: address, Provider: "contoso", ActsAs: actsAs, Receive: &mailbox.Receive{Protocol: protocol.IMAP}, Send: &mailbox.Send{Protocol: protocol.SMTP},
	}}, operator)
	if err != nil {
		o.t.Fatal(err)
	}
	return m
}

// browserOf is a browser in which somebody has signed in before.
func (o *office) browserOf(who string) *browser.Browser {
	o.t.Helper()
	b := browser.New(browser.Options{})
	if who != "" {
		o.must(b.Open(o.ctx, o.Describe().BaseURL))
		o.must(b.SignIn(o.ctx, who, o.password(who)))
	}
	return b
}

func (o *office) password(who string) string {
	o.t.Helper()
	u, ok := o.World().User(who)
	if !ok {
		o.t.Fatalf("there is no %s", who)
	}
	return u.Password
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// authorise opens a fresh link of the mailbox in a browser. Where the provider
// asks who it is, typed answers; asked says that it did.
func (o *office) authorise(address string, b *browser.Browser, typed string, choice connect.Choice) (r connect.Result, asked bool, err error) {
	o.t.Helper()
	link, err := o.Links.Begin(o.ctx, address, connect.LinkOptions{}, operator)
	o.must(err)
	_, secret, _ := strings.Cut(link.URL.Reveal(), "/authorize/")
	started, err := o.Links.Start(o.ctx, secret, choice)
	o.must(err)
	o.must(b.Open(o.ctx, started.URL))
	for b.Shows() != "" {
		switch b.Shows() {
		case "signin":
			asked = true
			o.must(b.SignIn(o.ctx, typed, o.password(typed)))
		case "picker":
			asked = true
			o.must(b.PickAnother(o.ctx))
		case "consent":
			o.must(b.Consent(o.ctx, true))
		default:
			o.t.Fatalf("the provider shows %q: %s", b.Shows(), b.Page().Text)
		}
	}
	at, err := url.Parse(b.Page().URL)
	o.must(err)
	if at.Path != "/oauth/callback" {
		o.t.Fatalf("the browser did not come back but is at %s: %s", at.Path, b.Page().Text)
	}
	q := at.Query()
	r, err = o.Links.Finish(o.ctx, connect.Callback{
		State: q.Get("state"), Code: seal.NewSecret(q.Get("code")), Issuer: q.Get("iss"),
		Error: q.Get("error"), ErrorDescription: q.Get("error_description"), Binding: started.Binding,
	})
	return r, asked, err
}

func (o *office) refreshToken(m mailbox.Mailbox) (string, bool) {
	o.t.Helper()
	g, err := o.store.Grant(o.ctx, m.ID)
	if fault.Has(err, "grant.none") {
		return "", false
	}
	o.must(err)
	s, err := o.keys.Unseal(g.RefreshToken, seal.Where("grant", m.ID, "refresh_token"))
	o.must(err)
	return s.Reveal(), g.State == mailbox.GrantActive
}

func (o *office) nothingStored(m mailbox.Mailbox) {
	o.t.Helper()
	if _, ok := o.refreshToken(m); ok {
		o.t.Error("a grant was stored")
	}
	q, err := o.store.QuarantineOf(o.ctx, m.ID)
	o.must(err)
	tokens, err := o.store.AccessTokens(o.ctx, m.ID)
	o.must(err)
	if q != nil || len(tokens) > 0 {
		o.t.Errorf("stored: quarantine %v, %d access tokens", q != nil, len(tokens))
	}
}

// wantRefused demands the refusal that names Adele and the desk, without a
// single question of the mail server.
func (o *office) wantRefused(r connect.Result, err error) {
	o.t.Helper()
	wantFault(o.t, err, "connect.wrong_person")
	if r.Verdict != mailbox.VerdictMismatch || !strings.Contains(strings.ToLower(r.Text), strings.ToLower(directory.StoryAdele)) || !strings.Contains(r.Text, directory.StoryDesk) {
		o.t.Errorf("the page must name both: %+v", r.Outcome)
	}
	if r.SignOutURL == "" || !r.RetryAllowed {
		o.t.Errorf("the page must show a way out: %+v", r)
	}
}

func TestTrap_RememberedSession(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	m := o.mailbox(directory.StoryDesk, "owner")

	t.Run("without prompt Adele is picked up silently, and refused", func(t *testing.T) {
		o.t = t
		o.provider(prompt(provider.PromptOmit))
		r, asked, err := o.authorise(m.Address, o.browserOf(directory.StoryAdele), "", connect.Choice{})
		if asked {
			t.Error("the trap is not set: the provider asked who it is")
		}
		o.wantRefused(r, err)
		o.nothingStored(m)
	})
	t.Run("on a device with single sign-on the prompt is ignored, and she is refused", func(t *testing.T) {
		o.t = t
		o.provider(prompt(""))
		o.must(o.World().SetDeviceUser(directory.StoryAdele))
		r, asked, err := o.authorise(m.Address, o.browserOf(""), "", connect.Choice{})
		if asked {
			t.Error("the trap is not set: the provider asked who it is")
		}
		o.wantRefused(r, err)
		o.nothingStored(m)
		o.must(o.World().SetDeviceUser(""))
	})
	t.Run("by default Adele's browser is asked, and the desk is accepted", func(t *testing.T) {
		o.t = t
		r, asked, err := o.authorise(m.Address, o.browserOf(directory.StoryAdele), directory.StoryDesk, connect.Choice{})
		if err != nil || !asked || r.Verdict != mailbox.VerdictMatch || r.Quarantined {
			t.Fatalf("asked %v: %+v, %v", asked, r, err)
		}
	})
	t.Run("the working grant survives a wrong attempt", func(t *testing.T) {
		o.t = t
		before, ok := o.refreshToken(m)
		if !ok {
			t.Fatal("there is no grant")
		}
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryAdele, connect.Choice{})
		o.wantRefused(r, err)
		if after, ok := o.refreshToken(m); !ok || after != before {
			t.Error("the working grant was touched")
		}
		kind, reg, err := o.Providers.Registration(o.ctx, "contoso")
		o.must(err)
		all, err := kind.Resources(reg.Record, m.Uses(), "")
		o.must(err)
		if _, err := kind.Refresh(o.ctx, reg, seal.NewSecret(before), all[0]); err != nil {
			t.Errorf("the refresh token of the working grant is no longer honoured: %v", err)
		}
	})
	t.Run("the guided retry shows the account picker", func(t *testing.T) {
		o.t = t
		r, asked, err := o.authorise(m.Address, o.browserOf(directory.StoryAdele), directory.StoryDesk, connect.Choice{SelectAccount: true})
		if err != nil || !asked || r.Verdict != mailbox.VerdictMatch {
			t.Fatalf("asked %v: %+v, %v", asked, r, err)
		}
		events, err := o.store.Events(o.ctx, event.Filter{MailboxIDs: []string{m.ID}, Patterns: []event.Pattern{"grant.*"}, Limit: 10})
		o.must(err)
		if events[0].Kind != event.GrantReplaced || events[0].Actor.Kind != event.ActorOwner {
			t.Errorf("event %+v", events[0])
		}
	})
}

func TestTrap_ForeignTenantWithTheSameAddress(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	for _, segment := range []string{"common", "organizations"} {
		t.Run(segment, func(t *testing.T) {
			o.t = t
			o.provider(func(s *connect.ProviderSettings) {
				s.Record.Tenant, s.Record.ClientID = segment, directory.StoryMultiClientID
				s.Secrets = []connect.SecretInput{{Value: seal.NewSecret(directory.StoryMultiSecret)}}
			})
			m := o.mailbox(directory.StoryDesk, "owner")
			r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryForeigner, connect.Choice{})
			wantFault(t, err, "connect.identity_foreign")
			if r.Verdict != mailbox.VerdictMismatch {
				t.Errorf("verdict %s", r.Verdict)
			}
			o.nothingStored(m)
		})
	}
}

func TestTrap_AliasDelegateAndAdministrator(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	t.Run("an alias is accepted", func(t *testing.T) {
		o.t = t
		m := o.mailbox(directory.StoryDeskAlias, "owner")
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryDesk, connect.Choice{})
		if err != nil || r.Verdict != mailbox.VerdictAlias {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("who has Full Access is no owner", func(t *testing.T) {
		o.t = t
		m := o.mailbox(directory.StoryScans, "owner")
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryAdele, connect.Choice{})
		wantFault(t, err, "connect.wrong_person")
		if r.Verdict != mailbox.VerdictMismatch {
			t.Errorf("verdict %s", r.Verdict)
		}
		o.nothingStored(m)
	})
	t.Run("the declared delegate is accepted", func(t *testing.T) {
		o.t = t
		m := o.mailbox(directory.StoryScans, mailbox.ActsAs("delegate: "+directory.StoryAdele))
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryAdele, connect.Choice{})
		if err != nil || r.Verdict != mailbox.VerdictDelegate {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("a declared delegate without rights, or whose rights are not everywhere yet, waits", func(t *testing.T) {
		o.t = t
		m := o.mailbox(directory.StoryScans, mailbox.ActsAs("delegate: "+directory.StoryMegan))
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryMegan, connect.Choice{})
		if err != nil || r.Verdict != mailbox.VerdictDelegate || !r.Quarantined {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, active := o.refreshToken(m); active {
			t.Fatal("a grant is active")
		}
		o.must(o.World().ChangeMailbox(directory.StoryScans, func(x *directory.Mailbox) { x.FullAccess = append(x.FullAccess, directory.StoryMegan) }))
		o.World().MoveClock(2 * time.Minute)
		o.must(o.Links.Turn(o.ctx))
		if _, active := o.refreshToken(m); !active {
			t.Error("the grant is not active although the rights have arrived")
		}
	})
	t.Run("a mailbox with IMAP switched off is refused", func(t *testing.T) {
		o.t = t
		m := o.mailbox(directory.StoryMegan, "owner")
		o.must(o.World().ChangeMailbox(directory.StoryMegan, func(x *directory.Mailbox) { x.IMAPOff = true }))
		r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryMegan, connect.Choice{})
		wantFault(t, err, "connect.mailbox_does_not_open")
		if r.Verdict != mailbox.VerdictMatch {
			t.Errorf("verdict %s", r.Verdict)
		}
		o.nothingStored(m)
	})
}

func TestTrap_ExchangeDownMeansQuarantine(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	m := o.mailbox(directory.StoryDesk, "owner")
	o.must(o.InjectFault(directory.Fault{Point: "imap.throttled"}))
	r, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryDesk, connect.Choice{})
	if err != nil || !r.Quarantined {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, ok := o.refreshToken(m); ok {
		t.Fatal("an undecided authorization became a grant")
	}
	o.World().ClearFaults("imap.throttled")
	o.World().MoveClock(2 * time.Minute)
	o.must(o.Links.Turn(o.ctx))
	if _, ok := o.refreshToken(m); !ok {
		t.Error("the quarantine was not released")
	}
}
