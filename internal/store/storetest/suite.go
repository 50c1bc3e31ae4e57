package storetest

import (
	"context"
	"errors"
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
)

// Run plays every rule of the store against a database. Each call of open gives
// a store on a new, empty database that ends with the test it was given.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, part := range map[string]func(*testing.T, func(*testing.T) *store.Store){
		"grants": grants, "suspensions": suspensions, "providers": providers, "mailboxes": mailboxes, "links": links, "watches": watches, "messages": messages,
		"submissions": submissions, "acts on submissions": acts, "lists": lists, "deliveries": deliveries, "ledger": ledger, "timeline": timeline, "operators": operators, "sessions": sessions, "API keys": apiKeys, "secrets": secrets, "counts": counts, "calls": calls,
		"standings": standings, "outages": outages, "hours": hours, "attention": attention, "endings": endings,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, open)
		})
	}
}

// noon is when everything in the suite happens.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC) }

// world is a store with a provider and mailboxes in it, and the keys its
// secrets are sealed with.
type world struct {
	*store.Store
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the test's own
	keys *seal.Keyset
}

func newWorld(t *testing.T, open func(*testing.T) *store.Store) *world {
	t.Helper()
	keys, err := seal.NewKeyset()
	must(t, err)
	w := &world{Store: open(t), t: t, ctx: t.Context(), keys: keys}
	must(t, w.SaveProvider(w.ctx, connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "contoso", Kind: "generic", ClientID: "client", Version: 1, CreatedAt: noon(), UpdatedAt: noon()},
		Event:  event.New(noon(), event.ProviderCreated, event.System(), "The provider contoso was added."),
	}))
	return w
}

// must ends the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantFault ends the test unless err is the fault with this name and kind.
func wantFault(t *testing.T, err error, id string, kind fault.Kind) {
	t.Helper()
	if !fault.Has(err, id) || fault.KindOf(err) != kind {
		t.Fatalf("got %v (%v), want the fault %s (%v)", err, fault.KindOf(err), id, kind)
	}
	if f := fault.Of(err); f.Text == "" || f.Remedy == "" {
		t.Fatalf("the fault %s has no words for people: %+v", id, f)
	}
}

// mailbox stores a mailbox that receives.
func (w *world) mailbox(address string) mailbox.Mailbox {
	w.t.Helper()
	m := mailbox.Mailbox{
		ID: event.NewID(), Address: address, Provider: "contoso", GrantType: "authorization_code", ActsAs: "owner",
		Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush, Every: time.Minute, Server: mailbox.Server{Host: "imap.example"}},
		Version: 1, CreatedAt: noon(), UpdatedAt: noon(),
	}
	must(w.t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: m, Events: []event.Event{
		event.New(noon(), event.MailboxCreated, event.System(), "The mailbox was added.").About(m.ID, m.Address),
	}}))
	return m
}

// seal seals a secret.
func (w *world) seal(value string, where ...string) seal.Sealed {
	w.t.Helper()
	s, err := w.keys.Seal(seal.NewSecret(value), seal.Where(where...))
	must(w.t, err)
	return s
}

// refresh seals a refresh token of a mailbox.
func (w *world) refresh(mailboxID, value string) seal.Sealed {
	return w.seal(value, "grant", mailboxID, "refresh_token")
}

// opened opens a sealed value.
func (w *world) opened(s seal.Sealed, where ...string) string {
	w.t.Helper()
	secret, err := w.keys.Unseal(s, seal.Where(where...))
	must(w.t, err)
	return secret.Reveal()
}

// adoption is a first grant of a mailbox, due an hour after noon.
func (w *world) adoption(m mailbox.Mailbox, refreshToken string) connect.Adoption {
	return connect.Adoption{
		Grant: mailbox.Grant{
			MailboxID: m.ID, State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Subject: provider.Subject{Issuer: "https://issuer", Subject: "s-1", Name: "Adele"},
			Display: m.Address, Scopes: []string{"imap", "offline_access"}, ConnectedAt: noon(), ConnectedBy: "ops",
			RefreshToken: w.refresh(m.ID, refreshToken), NextRefreshAt: noon().Add(time.Hour),
		},
		Access:           []mailbox.AccessToken{w.access(m.ID, provider.ResourceMail, "access-1")},
		IfMailboxVersion: m.Version, IfProviderVersion: 1, Now: noon(),
		Events: []event.Event{event.New(noon(), event.GrantCreated, event.System(), "The mailbox has its first grant.").About(m.ID, m.Address)},
	}
}

// access is an access token that lasts an hour.
func (w *world) access(mailboxID, resource, value string) mailbox.AccessToken {
	return mailbox.AccessToken{
		MailboxID: mailboxID, Resource: resource, Sealed: w.seal(value, "access_token", mailboxID, resource),
		Scopes: []string{"imap"}, ObtainedAt: noon(), ExpiresAt: noon().Add(time.Hour),
	}
}

// granted stores a mailbox with a grant.
func (w *world) granted(address string) mailbox.Mailbox {
	w.t.Helper()
	m := w.mailbox(address)
	must(w.t, w.Adopt(w.ctx, w.adoption(m, "refresh-1")))
	return m
}

// grant reads a grant.
func (w *world) grant(mailboxID string) mailbox.Grant {
	w.t.Helper()
	g, err := w.Grant(w.ctx, mailboxID)
	must(w.t, err)
	return g
}

// events counts the events of a kind.
func (w *world) events(kind event.Kind) int {
	w.t.Helper()
	found, err := w.Events(w.ctx, event.Filter{Patterns: []event.Pattern{event.Pattern(kind)}})
	must(w.t, err)
	return len(found)
}

// about is an event of a kind about a mailbox.
func about(kind event.Kind, m mailbox.Mailbox) event.Event {
	return event.New(noon(), kind, event.System(), "Something happened.").About(m.ID, m.Address)
}

// race runs n calls at once and gives what each returned.
func race(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			errs[i] = call(i)
		})
	}
	start.Done()
	done.Wait()
	return errs
}

// tally counts those that succeeded; every other one must have the fault.
func tally(t *testing.T, errs []error, id string) int {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, &fault.Error{ID: id}) {
			t.Errorf("got %v, want success or the fault %s", err, id)
		}
	}
	return won
}
