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
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: changed, IfVersion: 1, Suspend: true}))
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
		must(t, w.Quarantine(w.ctx, w.quarantine(m), connect.SpentLink{}, about(event.GrantQuarantined, m)))
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
	t.Run("of an ended grant starts it anew", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		running, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		must(t, w.EndGrant(w.ctx, m.ID, noon(), about(event.GrantRevoked, m)))
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
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: changed, IfVersion: 1, Suspend: true}))
		must(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "refresh-2")))
		if g = w.grant(m.ID); g.State != mailbox.GrantSuspended || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-2" {
			t.Errorf("got %+v", g)
		}
	})
}

// quarantine is an undecided authorization.
func (w *world) quarantine(m mailbox.Mailbox) mailbox.Quarantine {
	return mailbox.Quarantine{
		MailboxID: m.ID, Subject: provider.Subject{Issuer: "https://issuer", Subject: "s-2"}, Display: "adele@example.org", Verdict: mailbox.VerdictMatch,
		Scopes: []string{"imap"}, RefreshToken: w.seal("waiting", "quarantine", m.ID, "refresh_token"), ConnectedBy: "ops",
		CreatedAt: noon(), ExpiresAt: noon().Add(24 * time.Hour), NextTryAt: noon().Add(time.Minute), Cause: "imap.unreachable", CauseText: "No answer.",
	}
}
