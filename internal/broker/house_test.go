package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

type tokens = provider.Tokens

// server is a provider: it rotates refresh tokens strictly (re-use ends the
// family), or lets used ones live. Only Refresh and Resources of its Kind are
// ever called by the broker.
type server struct {
	provider.Kind

	mu        sync.Mutex
	requests  []string        // refresh tokens presented
	living    map[string]bool // refresh tokens honoured
	used      map[string]bool
	n         int
	lenient   bool
	noRotate  bool
	life      time.Duration
	latency   time.Duration
	answer    func(n int, err error, t provider.Tokens) (provider.Tokens, error) // changes the nth answer
	before    func(n int) error                                                  // answers instead, when not nil
	resources []provider.Resource
}

func newServer() *server {
	return &server{
		living: map[string]bool{"R0": true}, used: map[string]bool{}, life: time.Hour,
		resources: []provider.Resource{
			{Name: "mail", Scopes: []string{"https://outlook.example/IMAP.AccessAsUser.All", "offline_access"}},
			{Name: "graph", Scopes: []string{"https://graph.example/User.Read"}},
		},
	}
}

func (s *server) Resources(provider.Record, []provider.Use, string) ([]provider.Resource, error) {
	return s.resources, nil
}

func invalidGrant() *fault.Error {
	return &fault.Error{
		ID: "oauth.invalid_grant", Kind: fault.Dead, Text: "The authorization server no longer honours the grant.",
		Remedy: "Authorise again.", Detail: fault.Detail{Code: "invalid_grant"},
	}
}

func (s *server) Refresh(ctx context.Context, _ provider.Registration, refreshToken seal.Secret, r provider.Resource) (provider.Tokens, error) {
	s.mu.Lock()
	s.n++
	n, token := s.n, refreshToken.Reveal()
	s.requests = append(s.requests, token)
	if s.before != nil {
		if err := s.before(n); err != nil {
			s.mu.Unlock()
			return provider.Tokens{}, err
		}
	}
	t, err := s.redeem(n, token, r)
	change, latency := s.answer, s.latency
	s.mu.Unlock()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return provider.Tokens{}, noAnswer()
		}
	}
	if change != nil {
		return change(n, err, t)
	}
	return t, err
}

func noAnswer() error {
	return &fault.Error{ID: "oauth.no_answer", Kind: fault.Temporary, Text: "No answer came.", Retry: true}
}

func (s *server) redeem(n int, token string, r provider.Resource) (provider.Tokens, error) {
	if s.used[token] && !s.lenient {
		clear(s.living) // taken for stolen: the family ends
		return provider.Tokens{}, invalidGrant()
	}
	if !s.living[token] {
		return provider.Tokens{}, invalidGrant()
	}
	t := provider.Tokens{
		AccessToken: seal.NewSecret(fmt.Sprintf("A%d-%s", n, r.Name)), ExpiresAt: time.Now().Add(s.life), Scopes: r.Scopes,
	}
	if !s.noRotate {
		s.used[token] = true
		next := fmt.Sprintf("R%d", n)
		s.living[next] = true
		t.RefreshToken = seal.NewSecret(next)
	}
	return t, nil
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// directory knows the mailboxes that the tests made, all by name of their ID.
type directory struct {
	mu      sync.Mutex
	boxes   map[string]mailbox.Mailbox
	kinds   map[string]provider.Kind
	version int64
	err     error
}

func (d *directory) MailboxByID(_ context.Context, id string) (mailbox.Mailbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.boxes[id]
	if !ok {
		return m, &fault.Error{ID: "mailbox.unknown", Kind: fault.NotFound, Text: "unknown"}
	}
	return m, nil
}

func (d *directory) Registration(_ context.Context, name string) (provider.Kind, provider.Registration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, provider.Registration{}, d.err
	}
	return d.kinds[name], provider.Registration{Record: provider.Record{Name: name, Version: d.version}}, nil
}

// house is a store, a provider and mailboxes, with as many brokers as a test needs.
type house struct {
	t         testing.TB
	store     *memory
	directory *directory
	server    *server
	keys      *seal.Keyset
}

func newHouse(t testing.TB) *house {
	t.Helper()
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: newMemory(), server: newServer(), keys: keys}
	h.directory = &directory{boxes: map[string]mailbox.Mailbox{}, kinds: map[string]provider.Kind{"contoso": h.server}}
	h.mailbox("desk", "contoso", "R0", time.Now())
	return h
}

// mailbox adds one with an active grant that is due at a time.
func (h *house) mailbox(id, providerName, refreshToken string, due time.Time) {
	h.t.Helper()
	h.directory.boxes[id] = mailbox.Mailbox{
		ID: id, Address: id + "@contoso.example", Provider: providerName, Version: 1,
		Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}},
	}
	sealed, err := h.keys.Seal(seal.NewSecret(refreshToken), seal.Where("grant", id, "refresh_token"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.store.grants[id] = &mailbox.Grant{
		MailboxID: id, State: mailbox.GrantActive, RefreshToken: sealed, NextRefreshAt: due, SecretsVersion: 1, ConnectedAt: time.Now(),
	}
}

func (h *house) broker(owner string, change ...func(*broker.Options)) *broker.Broker {
	h.t.Helper()
	o := broker.Options{Store: h.store, Directory: h.directory, Keys: h.keys, Owner: owner, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&o)
	}
	b, err := broker.New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// holds checks which refresh token is current.
func (h *house) holds(want string) {
	h.t.Helper()
	g, err := h.store.Grant(h.t.Context(), "desk")
	if err != nil {
		h.t.Fatal(err)
	}
	got, err := h.keys.Unseal(g.RefreshToken, seal.Where("grant", "desk", "refresh_token"))
	if err != nil || got.Reveal() != want {
		h.t.Errorf("the current refresh token is %q (%v), want %q", got.Reveal(), err, want)
	}
}

func lend(t *testing.T, b *broker.Broker) string {
	t.Helper()
	token, _, err := b.Lend(t.Context(), "desk", "mail", 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

func refused(t *testing.T, b *broker.Broker, id string) *fault.Error {
	t.Helper()
	token, _, err := b.Lend(t.Context(), "desk", "mail", 5*time.Minute)
	if err == nil {
		t.Fatalf("lent %q, want the fault %s", token.Reveal(), id)
	}
	if !fault.Has(err, id) {
		t.Fatalf("the fault is %s (%v), want %s", fault.Of(err).ID, err, id)
	}
	var f *fault.Error
	errors.As(err, &f)
	return f
}

func same[T comparable](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
