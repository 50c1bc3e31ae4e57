package storetest

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/store"
)

func adoptions(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("fences off a refresh under way", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		must(t, w.Adopt(w.ctx, w.adoption(m, "fresh")))
		wantFault(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "old")), "work.fenced", fault.Conflict)
		after := w.grant(m.ID)
		if w.opened(after.RefreshToken, "grant", m.ID, "refresh_token") != "fresh" || !after.PreviousToken.IsZero() || after.Lease.Owner != "" || !after.Intent.IsZero() {
			t.Errorf("got %+v", after)
		}
	})
	t.Run("and the end of a refresh at the same moment leave one of both whole", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		for range 10 {
			g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
			must(t, err)
			errs := race(2, func(i int) error {
				if i == 0 {
					return w.Adopt(w.ctx, w.adoption(m, "fresh"))
				}
				return w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "old"))
			})
			must(t, errs[0])
			tally(t, errs[1:], "work.fenced")
			g = w.grant(m.ID)
			if w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "fresh" || !g.PreviousToken.IsZero() || g.Lease.Owner != "" {
				t.Fatalf("got %+v", g)
			}
		}
	})
	t.Run("is refused once the mailbox was changed", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		changed := m
		changed.Version, changed.Paused = 2, true
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: changed, IfVersion: 1, Suspend: suspension()}))
		wantFault(t, w.Adopt(w.ctx, w.adoption(m, "fresh")), "mailbox.changed", fault.Conflict)
		g := w.grant(m.ID)
		if g.State != mailbox.GrantSuspended || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Errorf("got %+v", g)
		}
		_, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		wantFault(t, err, "grant.not_active", fault.Dead)
	})
	t.Run("removes the quarantine", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		w.setAside(w.quarantine(m))
		if w.opened(w.grant(m.ID).RefreshToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Error("a quarantine touched the grant")
		}
		must(t, w.Adopt(w.ctx, w.adoption(m, "fresh")))
		q, err := w.QuarantineOf(w.ctx, m.ID)
		must(t, err)
		if q != nil {
			t.Error("the quarantine is still there")
		}
	})
	t.Run("is refused once the provider was changed", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		must(t, w.changeProvider(nil))
		wantFault(t, w.Adopt(w.ctx, w.adoption(m, "fresh")), "mailbox.changed", fault.Conflict)
		wantFault(t, w.SetAside(w.ctx, connect.SetAside{Quarantine: w.quarantine(m), IfMailboxVersion: 1, IfProviderVersion: 1}), "mailbox.changed", fault.Conflict)
	})
	t.Run("and a change of the provider at the same moment leave no active grant behind", func(t *testing.T) {
		for range 10 {
			w := newWorld(t, open)
			m := w.mailbox("desk@example.org")
			errs := race(2, func(i int) error {
				if i == 0 {
					return w.Adopt(w.ctx, w.adoption(m, "fresh"))
				}
				return w.changeProvider(suspension())
			})
			tally(t, errs, "mailbox.changed")
			if g, err := w.Grant(w.ctx, m.ID); err == nil && g.State != mailbox.GrantSuspended {
				t.Fatalf("a grant of the provider as it was is %s", g.State)
			}
		}
	})
	t.Run("from a quarantine that was ended or replaced is refused", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		old := w.quarantine(m)
		w.setAside(old)
		newer := old
		newer.CreatedAt, newer.RefreshToken = noon().Add(time.Second), w.seal("newer", "quarantine", m.ID, "refresh_token")
		w.setAside(newer)
		a := w.adoption(m, "fresh")
		a.Released = &old
		wantFault(t, w.Adopt(w.ctx, a), "quarantine.none", fault.NotFound)
		wantFault(t, w.RotateQuarantine(w.ctx, old, w.seal("old", "quarantine", m.ID, "refresh_token")), "quarantine.none", fault.NotFound)
		wantFault(t, w.RetryQuarantine(w.ctx, old, noon(), denied()), "quarantine.none", fault.NotFound)
		wantFault(t, w.DropQuarantine(w.ctx, old, about(event.GrantDropped, m)), "quarantine.none", fault.NotFound)
		wantFault(t, w.ClaimQuarantine(w.ctx, old, noon()), "work.leased", fault.Conflict)
		if g := w.grant(m.ID); w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Error("the working grant was replaced")
		}
		q, err := w.QuarantineOf(w.ctx, m.ID)
		must(t, err)
		if q == nil || w.opened(q.RefreshToken, "quarantine", m.ID, "refresh_token") != "newer" || q.Tries != 0 {
			t.Errorf("the newer quarantine was touched: %+v", q)
		}
		a.Released = &newer
		must(t, w.Adopt(w.ctx, a))
	})
	t.Run("is forgotten by an end even in quarantine", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		q := w.quarantine(m)
		w.setAside(q)
		must(t, w.EndGrant(w.ctx, m.ID, noon(), ending(m)))
		if w.events(event.GrantDropped) != 1 || w.events(event.GrantRevoked) != 0 {
			t.Errorf("%d dropped, %d revoked", w.events(event.GrantDropped), w.events(event.GrantRevoked))
		}
		a := w.adoption(m, "fresh")
		a.Released = &q
		wantFault(t, w.Adopt(w.ctx, a), "quarantine.none", fault.NotFound)
		wantFault(t, w.EndGrant(w.ctx, m.ID, noon(), ending(m)), "grant.none", fault.NotFound)
	})
	t.Run("of an ended grant starts it anew", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		running, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		must(t, w.EndGrant(w.ctx, m.ID, noon(), ending(m)))
		g := w.grant(m.ID)
		if g.State != mailbox.GrantRevoked || !g.RefreshToken.IsZero() || !g.NextRefreshAt.IsZero() {
			t.Errorf("got %+v", g)
		}
		token, err := w.AccessToken(w.ctx, m.ID, provider.ResourceMail)
		must(t, err)
		if !token.Sealed.IsZero() {
			t.Error("an ended grant left an access token")
		}
		wantFault(t, w.FinishRefresh(w.ctx, w.answer(m, running.Lease.Fence, "ghost")), "work.fenced", fault.Conflict)
		wantFault(t, w.KeepLateAnswer(w.ctx, m.ID, w.refresh(m.ID, "ghost"), about(event.GrantLateAnswer, m)), "grant.not_active", fault.Dead)
		must(t, w.Adopt(w.ctx, w.adoption(m, "fresh")))
		if g = w.grant(m.ID); g.State != mailbox.GrantActive || g.Lease.Fence <= running.Lease.Fence {
			t.Errorf("got %+v", g)
		}
	})
	t.Run("keeps the answer of a refresh when it was suspended meanwhile", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		changed := m
		changed.Version = 2
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: changed, IfVersion: 1, Suspend: suspension()}))
		must(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "refresh-2")))
		if g = w.grant(m.ID); g.State != mailbox.GrantSuspended || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-2" {
			t.Errorf("got %+v", g)
		}
	})
}

// suspension gives the events of a decisive change.
func suspension() *connect.Suspension {
	return &connect.Suspension{
		Suspended: func(m mailbox.Mailbox) event.Event { return about(event.GrantSuspended, m) },
		Dropped: func(m mailbox.Mailbox, display string) event.Event {
			return about(event.GrantDropped, m).With("display", display)
		},
	}
}

// ending gives the events of an end.
func ending(m mailbox.Mailbox) connect.EndGrant {
	return connect.EndGrant{Revoked: about(event.GrantRevoked, m), Dropped: about(event.GrantDropped, m)}
}

// setAside stores an undecided authorization of a mailbox at its first version.
func (w *world) setAside(q mailbox.Quarantine) {
	w.t.Helper()
	must(w.t, w.SetAside(w.ctx, connect.SetAside{
		Quarantine: q, IfMailboxVersion: 1, IfProviderVersion: 1, Event: about(event.GrantQuarantined, mailbox.Mailbox{ID: q.MailboxID}),
	}))
}

// quarantine is an undecided authorization.
func (w *world) quarantine(m mailbox.Mailbox) mailbox.Quarantine {
	return mailbox.Quarantine{
		MailboxID: m.ID, Subject: provider.Subject{Issuer: "https://issuer", Subject: "s-2"}, Display: "adele@example.org", Verdict: mailbox.VerdictMatch,
		Scopes: []string{"imap"}, RefreshToken: w.seal("waiting", "quarantine", m.ID, "refresh_token"), ConnectedBy: "ops",
		CreatedAt: noon(), ExpiresAt: noon().Add(24 * time.Hour), NextTryAt: noon().Add(time.Minute), Cause: "imap.unreachable", CauseText: "No answer.", CauseField: "receive.port",
		Remedy: "Look at the port.", Who: []fault.Who{fault.Operator, fault.MailAdmin},
	}
}
