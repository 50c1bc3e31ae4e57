package protocoltest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

// House is a real store with authorised mailboxes of a Bench, and the few
// things around it that flows of mail need.
type House struct {
	*store.Store
	Traits provider.Traits
	bench  Bench
	keys   *seal.Keyset

	mu      sync.Mutex
	lent    map[string]string // by mailbox, where it is not the owner's
	refused int
	failing error
}

// NewHouse opens a store with one provider.
func NewHouse(t testing.TB, b Bench) *House {
	t.Helper()
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	h := &House{Store: storetest.OpenSQLite(t), bench: b, keys: keys, lent: map[string]string{}}
	now := time.Now()
	if err := h.SaveProvider(t.Context(), connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "contoso", Kind: "generic", ClientID: "client", Version: 1, CreatedAt: now, UpdatedAt: now},
		Event:  event.New(now, event.ProviderCreated, event.System(), "The provider contoso was added."),
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

// Add stores an authorised mailbox that receives by IMAP and sends by SMTP at
// the bench; change may alter it first.
func (h *House) Add(t testing.TB, address string, change func(*mailbox.Mailbox)) mailbox.Mailbox {
	t.Helper()
	now := time.Now()
	m := mailbox.Mailbox{
		ID: event.NewID(), Address: address, Provider: "contoso", GrantType: "authorization_code", ActsAs: "owner",
		Receive:      &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush},
		Send:         &mailbox.Send{Protocol: protocol.SMTP},
		AfterReceive: protocol.DisposeKeep, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	if change != nil {
		change(&m)
	}
	if err := h.SaveMailbox(t.Context(), connect.SaveMailbox{Mailbox: m, Events: []event.Event{
		event.New(now, event.MailboxCreated, event.System(), "The mailbox was added.").About(m.ID, m.Address),
	}}); err != nil {
		t.Fatal(err)
	}
	sealed, err := h.keys.Seal(seal.NewSecret("refresh"), seal.Where("grant", m.ID, "refresh_token"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Adopt(t.Context(), connect.Adoption{
		Grant: mailbox.Grant{
			MailboxID: m.ID, State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Subject: provider.Subject{Issuer: "https://issuer", Subject: address},
			ConnectedAt: now, ConnectedBy: "ops", RefreshToken: sealed, NextRefreshAt: now.Add(time.Hour),
		},
		IfMailboxVersion: m.Version, IfProviderVersion: 1, Now: now,
		Events: []event.Event{event.New(now, event.GrantCreated, event.System(), "The mailbox has its first grant.").About(m.ID, m.Address)},
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// Change stores another version of a mailbox.
func (h *House) Change(t testing.TB, id string, change func(*mailbox.Mailbox)) {
	t.Helper()
	m, err := h.MailboxByID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	was := m.Version
	m.Version++
	change(&m)
	if err := h.SaveMailbox(t.Context(), connect.SaveMailbox{Mailbox: m, IfVersion: was, Events: []event.Event{
		event.New(time.Now(), event.MailboxUpdated, event.System(), "The mailbox was changed.").About(m.ID, m.Address),
	}}); err != nil {
		t.Fatal(err)
	}
}

// Count counts the events of a kind.
func (h *House) Count(t testing.TB, kind event.Kind) int {
	t.Helper()
	found, err := h.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(kind)}, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// LendAs makes Lend give another access token for a mailbox.
func (h *House) LendAs(mailboxID, accessToken string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lent[mailboxID] = accessToken
}

// FailLending makes Lend fail; nil ends it.
func (h *House) FailLending(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing = err
}

// RefusedTimes counts the access tokens that servers refused.
func (h *House) RefusedTimes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// Lend lends the owner's access token.
func (h *House) Lend(ctx context.Context, mailboxID, _ string, _ time.Duration) (seal.Secret, time.Time, error) {
	m, err := h.MailboxByID(ctx, mailboxID)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		err = h.failing
	}
	if err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	accessToken := AccessToken(m.Address)
	if other, ok := h.lent[mailboxID]; ok {
		accessToken = other
	}
	return seal.NewSecret(accessToken), time.Now().Add(time.Hour), nil
}

// Refused counts.
func (h *House) Refused(context.Context, string, string, seal.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused++
}

// Registration gives a provider whose presets are the bench's endpoints.
func (h *House) Registration(_ context.Context, name string) (provider.Kind, provider.Registration, error) {
	return preset{house: h}, provider.Registration{Record: provider.Record{Name: name}}, nil
}

// preset is as much of a provider.Kind as flows of mail ask of one.
type preset struct {
	provider.Kind
	house *House
}

func (p preset) Traits() provider.Traits { return p.house.Traits }

func (p preset) Mail(_ provider.Record, name protocol.Name) protocol.Endpoint {
	switch name {
	case protocol.SMTP:
		return p.house.bench.Submit
	case protocol.POP3:
		return p.house.bench.ByPOP3
	}
	return p.house.bench.Receive
}

// Await polls until something is so, within the patience.
func Await(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain: " + what)
		}
	}
}
