package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

func providers(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	where := seal.Where("client_secret", "acme", "https://issuer")
	sealed, err := w.keys.Seal(seal.NewSecret("client-secret"), where)
	must(t, err)
	save := connect.SaveProvider{
		Record: provider.Record{
			ID: event.NewID(), Name: "acme", Kind: "generic", Issuer: "https://issuer", ClientID: "c", Endpoints: map[string]string{"token": "https://t"},
			Profiles: []provider.Profile{{Name: "read", GrantType: "authorization_code", Scopes: []string{"imap"}}}, Version: 1, CreatedAt: noon(), UpdatedAt: noon(),
		},
		Secrets: []connect.SealedSecret{{ID: "s1", Sealed: sealed, Where: where, ExpiresAt: noon()}, {ID: "s2", Sealed: sealed, Where: where}},
		Event:   event.New(noon(), event.ProviderUpdated, event.System(), "Changed."),
	}
	must(t, w.SaveProvider(w.ctx, save))
	t.Run("comes back with its secrets in order", func(t *testing.T) {
		record, secrets, err := w.Provider(w.ctx, "acme")
		must(t, err)
		if diff := cmp.Diff(save.Record, record); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(save.Secrets, secrets, bytewise()); diff != "" {
			t.Error(diff)
		}
		all, err := w.Providers(w.ctx)
		must(t, err)
		if len(all) != 2 || all[0].Name != "acme" || all[1].Name != "contoso" {
			t.Errorf("got %v", all)
		}
	})
	t.Run("a name that exists is refused", func(t *testing.T) {
		other := save
		other.Record.ID = event.NewID()
		wantFault(t, w.SaveProvider(w.ctx, other), "provider.exists", fault.Conflict)
	})
	t.Run("of ten who change one version one wins", func(t *testing.T) {
		errs := race(10, func(int) error {
			next := save
			next.Record.Version, next.IfVersion, next.Secrets = 2, 1, save.Secrets[:1]
			next.Event = event.New(noon(), event.ProviderUpdated, event.System(), "Changed.")
			return w.SaveProvider(w.ctx, next)
		})
		if won := tally(t, errs, "provider.changed"); won != 1 {
			t.Errorf("%d won", won)
		}
		_, secrets, err := w.Provider(w.ctx, "acme")
		must(t, err)
		if len(secrets) != 1 || w.events(event.ProviderUpdated) != 2 {
			t.Errorf("%d secrets, %d events", len(secrets), w.events(event.ProviderUpdated))
		}
	})
	t.Run("one that is used cannot be removed", func(t *testing.T) {
		w.mailbox("desk@example.org")
		e := event.New(noon(), event.ProviderDeleted, event.System(), "Removed.")
		wantFault(t, w.DeleteProvider(w.ctx, "contoso", e), "provider.in_use", fault.Conflict)
		must(t, w.DeleteProvider(w.ctx, "acme", e))
		wantFault(t, w.DeleteProvider(w.ctx, "acme", e), "provider.unknown", fault.NotFound)
		_, _, err := w.Provider(w.ctx, "acme")
		wantFault(t, err, "provider.unknown", fault.NotFound)
	})
	t.Run("a changed one suspends the grants of its mailboxes", func(t *testing.T) {
		m := w.granted("second@example.org")
		waiting := w.mailbox("third@example.org")
		w.setAside(w.quarantine(waiting))
		must(t, w.changeProvider(suspension()))
		if g := w.grant(m.ID); g.State != mailbox.GrantSuspended {
			t.Errorf("the grant is %s", g.State)
		}
		if q, err := w.QuarantineOf(w.ctx, waiting.ID); err != nil || q != nil {
			t.Errorf("an authorization still waits: %+v, %v", q, err)
		}
		if w.events(event.GrantSuspended) != 1 || w.events(event.GrantDropped) != 1 {
			t.Errorf("%d suspended, %d dropped", w.events(event.GrantSuspended), w.events(event.GrantDropped))
		}
	})
}

// changeProvider saves the provider of the world's mailboxes at its second version.
func (w *world) changeProvider(s *connect.Suspension) error {
	record, _, err := w.Provider(w.ctx, "contoso")
	if err != nil {
		return err
	}
	record.Version = 2
	return w.SaveProvider(w.ctx, connect.SaveProvider{
		Record: record, IfVersion: 1, Suspend: s, Event: event.New(noon(), event.ProviderUpdated, event.System(), "Changed."),
	})
}

func mailboxes(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("comes back as it was saved", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		byAddress, err := w.Mailbox(w.ctx, "desk@example.org")
		must(t, err)
		byID, err := w.MailboxByID(w.ctx, m.ID)
		must(t, err)
		if diff := cmp.Diff(m, byAddress) + cmp.Diff(m, byID); diff != "" {
			t.Error(diff)
		}
		_, err = w.Mailbox(w.ctx, "nobody@example.org")
		wantFault(t, err, "mailbox.unknown", fault.NotFound)
	})
	t.Run("an address that exists, an old version and a missing provider are refused", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		other := m
		other.ID = event.NewID()
		wantFault(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: other}), "mailbox.exists", fault.Conflict)
		wantFault(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: m, IfVersion: 7}), "mailbox.changed", fault.Conflict)
		second := w.mailbox("second@example.org")
		second.Address, second.Version = m.Address, 2
		wantFault(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: second, IfVersion: 1}), "mailbox.exists", fault.Conflict)
		other.Address, other.Provider = "third@example.org", "nobody"
		wantFault(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: other}), "provider.unknown", fault.NotFound)
	})
	t.Run("a list goes on after its cursor and shows the state", func(t *testing.T) {
		w := newWorld(t, open)
		w.granted("b@example.org")
		w.mailbox("c@example.org")
		w.mailbox("a@example.org")
		first, err := w.Mailboxes(w.ctx, mailbox.Filter{Limit: 2})
		must(t, err)
		rest, err := w.Mailboxes(w.ctx, mailbox.Filter{After: first[len(first)-1].Mailbox.Address, Limit: 2})
		must(t, err)
		if len(first) != 2 || len(rest) != 1 || first[0].Mailbox.Address != "a@example.org" || rest[0].Mailbox.Address != "c@example.org" {
			t.Fatalf("got %v and %v", first, rest)
		}
		if b := first[1]; b.State != mailbox.GrantActive || b.Verdict != mailbox.VerdictMatch || b.Display != "b@example.org" || !b.NextRefreshAt.Equal(noon().Add(time.Hour)) {
			t.Errorf("got %+v", b)
		}
		if first[0].State != "" || first[0].Quarantine != nil {
			t.Errorf("got %+v", first[0])
		}
	})
	t.Run("removing one takes all that is its own along", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		w.setAside(w.quarantine(m))
		l := w.link(m)
		a := w.attempt(l)
		must(t, w.StartAttempt(w.ctx, a, noon(), about(event.AttemptStarted, m)))
		watch := w.watch(m)
		_, err := w.Keep(w.ctx, w.batch(watch, "first"))
		must(t, err)
		must(t, w.DeleteMailbox(w.ctx, m.ID, about(event.MailboxDeleted, m)))
		wantFault(t, w.DeleteMailbox(w.ctx, m.ID, about(event.MailboxDeleted, m)), "mailbox.unknown", fault.NotFound)
		_, err = w.Grant(w.ctx, m.ID)
		wantFault(t, err, "grant.none", fault.NotFound)
		_, err = w.LinkByID(w.ctx, l.ID)
		wantFault(t, err, "link.unknown", fault.NotFound)
		_, _, err = w.TakeAttempt(w.ctx, a.StateHash, noon())
		wantFault(t, err, "attempt.unknown", fault.NotFound)
		_, err = w.Keep(w.ctx, w.batch(watch, "second"))
		wantFault(t, err, "work.fenced", fault.Conflict)
		cursor, err := w.Cursor(w.ctx, m.ID, "INBOX")
		must(t, err)
		if cursor != (message.Cursor{}) {
			t.Errorf("the cursor %v is still there", cursor)
		}
		counts, err := w.SealedCount(w.ctx)
		must(t, err)
		if len(counts) != 0 {
			t.Errorf("secrets are left: %v", counts)
		}
		if w.events(event.MailboxDeleted) != 1 || w.events(event.GrantCreated) != 1 {
			t.Error("the timeline went with the mailbox, or a refused removal wrote to it")
		}
	})
	t.Run("a quarantine waits, is tried and is dropped", func(t *testing.T) { quarantines(t, open) })
}

func quarantines(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	m := w.mailbox("desk@example.org")
	q := w.quarantine(m)
	w.setAside(q)
	stored, err := w.QuarantineOf(w.ctx, m.ID)
	must(t, err)
	if diff := cmp.Diff(&q, stored, bytewise()); diff != "" {
		t.Error(diff)
	}
	if found, err := w.DueQuarantines(w.ctx, noon(), 10); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v before its time", found, err)
	}
	must(t, w.RetryQuarantine(w.ctx, q, noon().Add(time.Hour), denied()))
	found, err := w.DueQuarantines(w.ctx, noon().Add(time.Hour), 10)
	must(t, err)
	if len(found) != 1 || found[0].Tries != 1 || found[0].Cause != "imap.denied" || found[0].Remedy != "Allow it." || len(found[0].Who) != 1 || found[0].CauseField != "receive.host" {
		t.Errorf("got %+v", found)
	}
	claims := race(5, func(int) error { return w.ClaimQuarantine(w.ctx, found[0], noon().Add(2*time.Hour)) })
	if won := tally(t, claims, "work.leased"); won != 1 {
		t.Errorf("%d claimed it", won)
	}
	must(t, w.RotateQuarantine(w.ctx, q, w.seal("rotated", "quarantine", m.ID, "refresh_token")))
	stored, err = w.QuarantineOf(w.ctx, m.ID)
	must(t, err)
	if w.opened(stored.RefreshToken, "quarantine", m.ID, "refresh_token") != "rotated" || !stored.NextTryAt.Equal(noon().Add(2*time.Hour)) {
		t.Errorf("got %+v", stored)
	}
	wantFault(t, w.RetryQuarantine(w.ctx, q, noon(), denied()), "quarantine.none", fault.NotFound) // another try is due than this one
	wantFault(t, w.DropQuarantine(w.ctx, q, about(event.GrantDropped, m)), "quarantine.none", fault.NotFound)
	errs := race(5, func(int) error { return w.DropQuarantine(w.ctx, *stored, about(event.GrantDropped, m)) })
	if won := tally(t, errs, "quarantine.none"); won != 1 || w.events(event.GrantDropped) != 1 {
		t.Errorf("%d dropped it, %d events", won, w.events(event.GrantDropped))
	}
	wantFault(t, w.RotateQuarantine(w.ctx, q, stored.RefreshToken), "quarantine.none", fault.NotFound)
	wantFault(t, w.ClaimQuarantine(w.ctx, *stored, noon()), "work.leased", fault.Conflict)
}

func denied() *fault.Error {
	return &fault.Error{ID: "imap.denied", Kind: fault.Temporary, Text: "Denied.", Field: "receive.host", Who: []fault.Who{fault.MailAdmin}, Remedy: "Allow it."}
}
