package connect_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

// idp is a provider that answers as a test wants it to.
type idp struct {
	mu          sync.Mutex
	asked       []provider.AuthorizationRequest
	redeemed    []provider.Redemption
	refreshed   []string // refresh tokens that were used
	who         provider.Identity
	tokens      provider.Tokens
	redeemErr   error
	identifyErr error
	refreshErr  error
	rotateTo    string
	onRefresh   func()
}

func (k *idp) Traits() provider.Traits {
	return provider.Traits{
		Kind: "double", Title: "Contoso Mail", Clouds: []string{"global", "other"},
		Prompts:   []provider.Prompt{provider.PromptLogin, provider.PromptSelectAccount, provider.PromptOmit},
		Endpoints: []string{"token", "imap"},
	}
}

func (k *idp) Check(r provider.Record) error {
	if r.ClientID == "" {
		return &fault.Error{ID: "provider.client_id", Kind: fault.Invalid, Field: "client_id", Text: "The client ID is missing."}
	}
	return nil
}
func (k *idp) Verify(context.Context, provider.Registration) error { return nil }

func (k *idp) Mail(r provider.Record, p protocol.Name) protocol.Endpoint {
	return protocol.Endpoint{Protocol: p, Host: r.Endpoints["imap"], Resource: provider.ResourceMail}
}

func (k *idp) Resources(provider.Record, []provider.Use, string) ([]provider.Resource, error) {
	return []provider.Resource{{Name: provider.ResourceMail, Scopes: []string{"mail"}}, {Name: provider.ResourceGraph, Scopes: []string{"me"}}}, nil
}

func (k *idp) AuthorizationURL(_ context.Context, reg provider.Registration, ask provider.AuthorizationRequest) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, ask)
	return "https://idp.example/authorize?" + url.Values{"state": {ask.State}, "redirect_uri": {reg.RedirectURI}}.Encode(), nil
}

func (k *idp) Redeem(_ context.Context, _ provider.Registration, r provider.Redemption) (provider.Tokens, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.redeemed = append(k.redeemed, r)
	t := k.tokens
	t.Subject = k.who.Subject
	return t, k.redeemErr
}

func (k *idp) Identify(context.Context, provider.Registration, string, provider.Tokens) (provider.Identity, provider.Tokens, error) {
	return k.who, provider.Tokens{}, k.identifyErr
}

func (k *idp) Refresh(_ context.Context, _ provider.Registration, refreshToken seal.Secret, r provider.Resource) (provider.Tokens, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refreshed = append(k.refreshed, refreshToken.Reveal())
	if k.onRefresh != nil {
		k.onRefresh()
	}
	if k.refreshErr != nil {
		return provider.Tokens{}, k.refreshErr
	}
	return provider.Tokens{
		AccessToken: seal.NewSecret("access-" + r.Name + "-again"), Resource: r.Name,
		ExpiresAt: start.Add(time.Hour), RefreshToken: seal.NewSecret(k.rotateTo),
	}, nil
}

func (k *idp) SignOutURL(_ context.Context, _ provider.Registration, returnTo string) (string, error) {
	return "https://idp.example/logout?return=" + url.QueryEscape(returnTo), nil
}

// server is a mail server's prober that answers as a test wants it to.
type server struct {
	mu     sync.Mutex
	logins []protocol.Login
	fail   *protocol.Step
	limit  time.Duration // how long the last probe may take
}

func (s *server) Probe(ctx context.Context, _ protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins = append(s.logins, login)
	if end, ok := ctx.Deadline(); ok {
		s.limit = time.Until(end)
	}
	yield(protocol.Step{Name: "dns", Title: "Name", OK: true})
	if s.fail != nil {
		yield(*s.fail)
		return s.fail.Err
	}
	yield(protocol.Step{Name: "open", Title: "Mailbox opens", OK: true})
	return nil
}

func (s *server) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.logins)
}

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

var operator = event.Actor{Kind: event.ActorOperator, Name: "olga"}

// bench is the capability on a real database with one mailbox.
type bench struct {
	*connect.Connect
	t       *testing.T
	ctx     context.Context
	store   *store.Store
	keys    *seal.Keyset
	idp     *idp
	server  *server
	zone    zone // what domains publish
	now     time.Time
	adopted []string
	changed []string
	box     mailbox.Mailbox
}

func newBench(t *testing.T) *bench {
	t.Helper()
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ctx: t.Context(), store: storetest.OpenSQLite(t), keys: keys, now: start, server: &server{}, idp: &idp{
		who: person(desk, own(desk)),
		tokens: provider.Tokens{
			AccessToken: seal.NewSecret("access-mail"), Resource: provider.ResourceMail, ExpiresAt: start.Add(time.Hour),
			Scopes: []string{"mail"}, RefreshToken: seal.NewSecret("refresh-1"),
		},
	}}
	b.Connect, err = connect.New(connect.Needs{
		Providers: b.store, Mailboxes: b.store, Links: b.store, Grants: b.store, Aside: b.store, Events: b.store,
		Keys: keys, Now: func() time.Time { return b.now }, PublicURL: "https://mailgrant.example",
		Kinds: func(name string) (provider.Kind, bool) { return b.idp, name == "double" }, KindNames: []string{"double"},
		Resolver: published{b},
		Probes:   func(protocol.Name) protocol.Prober { return b.server },
		Adopted:  func(id string) { b.adopted = append(b.adopted, id) },
		Changed:  func(id string) { b.changed = append(b.changed, id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Providers.Save(b.ctx, contoso(), operator); err != nil {
		t.Fatal(err)
	}
	b.box = b.save(servicedesk())
	return b
}

func contoso() connect.ProviderSettings {
	return connect.ProviderSettings{
		Record: provider.Record{
			Name: "contoso", Kind: "double", Tenant: "vbcpn.example", ClientID: "client-1",
			Endpoints: map[string]string{"token": "https://idp.example/token", "imap": "mail.vbcpn.example"},
		},
		Secrets: []connect.SecretInput{{Value: seal.NewSecret("client-secret")}},
	}
}

func servicedesk() mailbox.Mailbox {
	return mailbox.Mailbox{
		Address: desk, Provider: "contoso",
		Receive: &mailbox.Receive{Protocol: protocol.IMAP}, Send: &mailbox.Send{Protocol: protocol.SMTP},
	}
}

func (b *bench) save(m mailbox.Mailbox) mailbox.Mailbox {
	b.t.Helper()
	m, _, err := b.Mailboxes.Save(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// link begins a link and gives its secret.
func (b *bench) link(o connect.LinkOptions) (secret, id string) {
	b.t.Helper()
	l, err := b.Links.Begin(b.ctx, desk, o, operator)
	if err != nil {
		b.t.Fatal(err)
	}
	_, secret, ok := strings.Cut(l.URL.Reveal(), "https://mailgrant.example/authorize/")
	if !ok {
		b.t.Fatalf("the link's address is not below public_url/authorize/")
	}
	return secret, l.ID
}

// start begins an attempt and gives the good callback to it.
func (b *bench) start(secret string) connect.Callback {
	b.t.Helper()
	return b.startAs(secret, connect.Choice{})
}

// startAs is start with what was chosen on the owner's page.
func (b *bench) startAs(secret string, choice connect.Choice) connect.Callback {
	b.t.Helper()
	s, err := b.Links.Start(b.ctx, secret, choice)
	if err != nil {
		b.t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	return connect.Callback{State: u.Query().Get("state"), Code: seal.NewSecret("code"), Binding: s.Binding}
}

// authorise goes through a whole link as who.
func (b *bench) authorise(who provider.Identity, o connect.LinkOptions) (connect.Result, error) {
	b.t.Helper()
	b.idp.who = who
	secret, _ := b.link(o)
	return b.Links.Finish(b.ctx, b.start(secret))
}

// grant gives the mailbox's grant, with its refresh token opened.
func (b *bench) grant() (mailbox.Grant, string, bool) {
	b.t.Helper()
	g, err := b.store.Grant(b.ctx, b.box.ID)
	if fault.Has(err, "grant.none") {
		return g, "", false
	}
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := b.keys.Unseal(g.RefreshToken, seal.Where("grant", b.box.ID, "refresh_token"))
	if err != nil {
		b.t.Fatal(err)
	}
	return g, s.Reveal(), true
}

// nothingStored fails the test where the mailbox has anything of a grant.
func (b *bench) nothingStored() {
	b.t.Helper()
	if _, _, ok := b.grant(); ok {
		b.t.Error("a grant was stored")
	}
	if q, err := b.store.QuarantineOf(b.ctx, b.box.ID); err != nil || q != nil {
		b.t.Errorf("a quarantine was stored: %v, %v", q, err)
	}
	if a, err := b.store.AccessTokens(b.ctx, b.box.ID); err != nil || len(a) > 0 {
		b.t.Errorf("access tokens were stored: %d, %v", len(a), err)
	}
	if len(b.adopted) > 0 {
		b.t.Error("an adoption was announced")
	}
}

// kinds lists the kinds of the mailbox's events, oldest first.
func (b *bench) kinds() []event.Kind {
	b.t.Helper()
	events, err := b.store.Events(b.ctx, event.Filter{MailboxIDs: []string{b.box.ID}, Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	var kinds []event.Kind
	for _, e := range events {
		if e.Text == "" {
			b.t.Errorf("the event %s has no words", e.Kind)
		}
		kinds = append(kinds, e.Kind)
	}
	slices.Reverse(kinds)
	return kinds
}

func wantFault(t *testing.T, err error, id string) *fault.Error {
	t.Helper()
	if !fault.Has(err, id) {
		t.Fatalf("got %v, want the fault %s", err, id)
	}
	f := fault.Of(err)
	if f.Text == "" || f.Remedy == "" || len(f.Who) == 0 {
		t.Errorf("%s does not say what, who and what next: %+v", id, f)
	}
	return f
}
