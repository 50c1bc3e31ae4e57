package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/work"
)

// begin is a refresh that starts a while after noon with a lease of a minute.
func begin(m mailbox.Mailbox, owner string, after time.Duration) broker.BeginRefresh {
	now := noon().Add(after)
	return broker.BeginRefresh{MailboxID: m.ID, Resource: provider.ResourceMail, Owner: owner, Now: now, Until: now.Add(time.Minute)}
}

// bytewise compares sealed values.
func bytewise() cmp.Option {
	return cmp.Comparer(func(a, b seal.Sealed) bool { return string(a.Bytes()) == string(b.Bytes()) })
}

func grants(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("a grant comes back as it was adopted", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		a := w.adoption(m, "refresh-1")
		must(t, w.Adopt(w.ctx, a))
		want := a.Grant
		want.Lease, want.SecretsVersion = work.Lease{Fence: 1}, 1
		if diff := cmp.Diff(want, w.grant(m.ID), bytewise()); diff != "" {
			t.Error(diff)
		}
		token, err := w.AccessToken(w.ctx, m.ID, provider.ResourceMail)
		must(t, err)
		if diff := cmp.Diff(a.Access[0], token, bytewise()); diff != "" {
			t.Error(diff)
		}
		none, err := w.AccessToken(w.ctx, m.ID, provider.ResourceGraph)
		must(t, err)
		if !none.Sealed.IsZero() {
			t.Error("an access token that nobody stored was found")
		}
	})
	t.Run("a mailbox without a grant says so", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		_, err := w.Grant(w.ctx, m.ID)
		wantFault(t, err, "grant.none", fault.NotFound)
		_, err = w.BeginRefresh(w.ctx, begin(m, "a", 0))
		wantFault(t, err, "grant.none", fault.NotFound)
		wantFault(t, w.EndGrant(w.ctx, m.ID, noon(), ending(m)), "grant.none", fault.NotFound)
	})
	t.Run("of twenty who begin a refresh at once one wins", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		errs := race(20, func(int) error {
			_, err := w.BeginRefresh(w.ctx, begin(m, event.NewID(), 0))
			return err
		})
		if won := tally(t, errs, "work.leased"); won != 1 {
			t.Fatalf("%d won", won)
		}
		if g := w.grant(m.ID); g.Lease.Fence != 2 || g.Intent.Fence != 2 || g.Intent.Resource != provider.ResourceMail || !g.Intent.At.Equal(noon()) {
			t.Errorf("lease %+v, intent %+v", g.Lease, g.Intent)
		}
	})
	t.Run("who loses sees the grant as it stands", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		_, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		g, err := w.BeginRefresh(w.ctx, begin(m, "b", 59*time.Second))
		wantFault(t, err, "work.leased", fault.Conflict)
		if g.Lease.Owner != "a" || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Errorf("got %+v", g.Lease)
		}
	})
	t.Run("a lease that ran out is taken over, with the intent left open", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		first, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		if !first.Intent.IsZero() {
			t.Errorf("a first refresh found the intent %+v", first.Intent)
		}
		second, err := w.BeginRefresh(w.ctx, begin(m, "b", time.Minute))
		must(t, err)
		if second.Intent.Fence != first.Lease.Fence || second.Lease.Fence != first.Lease.Fence+1 || second.Lease.Owner != "b" {
			t.Errorf("intent %+v, lease %+v", second.Intent, second.Lease)
		}
		t.Run("and the former holder changes nothing", func(t *testing.T) {
			before := w.grant(m.ID)
			wantFault(t, w.FinishRefresh(w.ctx, w.answer(m, first.Lease.Fence, "late")), "work.fenced", fault.Conflict)
			wantFault(t, w.FailRefresh(w.ctx, broker.FailRefresh{MailboxID: m.ID, Fence: first.Lease.Fence, Dead: true, Events: []event.Event{about(event.GrantDead, m)}}),
				"work.fenced", fault.Conflict)
			if diff := cmp.Diff(before, w.grant(m.ID), bytewise()); diff != "" {
				t.Error(diff)
			}
			if w.events(event.GrantRefreshed) != 0 || w.events(event.GrantDead) != 0 {
				t.Error("a change that was refused left its event")
			}
		})
		t.Run("but its answer is kept aside", func(t *testing.T) {
			must(t, w.KeepLateAnswer(w.ctx, m.ID, w.refresh(m.ID, "late"), about(event.GrantLateAnswer, m)))
			g := w.grant(m.ID)
			if w.opened(g.Candidate, "grant", m.ID, "refresh_token") != "late" || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-1" {
				t.Error("candidate or current token are wrong")
			}
			if g.Lease.Owner != "b" || w.events(event.GrantLateAnswer) != 1 {
				t.Errorf("lease %+v", g.Lease)
			}
		})
		t.Run("and the good answer clears it", func(t *testing.T) {
			must(t, w.FinishRefresh(w.ctx, w.answer(m, second.Lease.Fence, "refresh-2")))
			g := w.grant(m.ID)
			if !g.Candidate.IsZero() || !g.Intent.IsZero() || g.Lease.Owner != "" || !g.LastRefreshAt.Equal(noon().Add(time.Minute)) {
				t.Errorf("got %+v", g)
			}
		})
	})
	t.Run("a rotated token moves the current one to previous", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		must(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "refresh-2")))
		wantFault(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "refresh-3")), "work.fenced", fault.Conflict)
		g = w.grant(m.ID)
		if w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-2" || w.opened(g.PreviousToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Error("current or previous token are wrong")
		}
		token, err := w.AccessToken(w.ctx, m.ID, provider.ResourceMail)
		must(t, err)
		if w.opened(token.Sealed, "access_token", m.ID, provider.ResourceMail) != "access-2" || w.events(event.GrantRefreshed) != 1 {
			t.Error("the access token or the event is missing")
		}
		g, err = w.BeginRefresh(w.ctx, begin(m, "a", time.Minute))
		must(t, err)
		must(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "")))
		if g = w.grant(m.ID); w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-2" || w.opened(g.PreviousToken, "grant", m.ID, "refresh_token") != "refresh-1" {
			t.Error("an answer without a refresh token moved one")
		}
	})
	t.Run("a failure is counted and gives the lease back", func(t *testing.T) { failures(t, open) })
	t.Run("a new authorization", func(t *testing.T) { adoptions(t, open) })
	t.Run("due ones come most overdue first", func(t *testing.T) { due(t, open) })
}

// answer is a good answer; an empty refresh token says that none came.
func (w *world) answer(m mailbox.Mailbox, fence int64, refreshToken string) broker.FinishRefresh {
	f := broker.FinishRefresh{
		MailboxID: m.ID, Fence: fence, Access: w.access(m.ID, provider.ResourceMail, "access-2"), NextRefreshAt: noon().Add(2 * time.Hour),
		Now: noon().Add(time.Minute), Events: []event.Event{about(event.GrantRefreshed, m)},
	}
	if refreshToken != "" {
		f.RefreshToken = w.refresh(m.ID, refreshToken)
	}
	return f
}

func failures(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	m := w.granted("desk@example.org")
	failed := func(keep, dead bool) mailbox.Grant {
		t.Helper()
		g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
		must(t, err)
		must(t, w.FailRefresh(w.ctx, broker.FailRefresh{
			MailboxID: m.ID, Fence: g.Lease.Fence, KeepIntent: keep, Dead: dead, NextRefreshAt: noon().Add(time.Second),
			Cause: "oauth.no_answer", CauseText: "No answer came.", Remedy: "Wait.", Now: noon(), Events: []event.Event{about(event.GrantRefreshFailed, m)},
		}))
		return w.grant(m.ID)
	}
	g := failed(true, false)
	if g.Failures != 1 || g.Intent.IsZero() || g.Lease.Owner != "" || g.Cause != "oauth.no_answer" || g.CauseText != "No answer came." || g.Remedy != "Wait." {
		t.Fatalf("got %+v", g)
	}
	if g = failed(false, false); g.Failures != 2 || !g.Intent.IsZero() || g.State != mailbox.GrantActive {
		t.Fatalf("got %+v", g)
	}
	begun, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
	must(t, err)
	must(t, w.FailRefresh(w.ctx, broker.FailRefresh{
		MailboxID: m.ID, Fence: begun.Lease.Fence, Aside: true, NextRefreshAt: noon().Add(time.Second),
		Cause: "oauth.consent_required", CauseText: "Not for this one.", Remedy: "Consent.", Now: noon(),
	}))
	if g = w.grant(m.ID); g.Failures != 2 || !g.Intent.IsZero() || g.Lease.Owner != "" || g.Cause != "oauth.no_answer" || g.CauseText != "No answer came." || g.Remedy != "Wait." {
		t.Fatalf("got %+v", g)
	}
	begun, err = w.BeginRefresh(w.ctx, begin(m, "a", 0))
	must(t, err)
	aside := w.answer(m, begun.Lease.Fence, "refresh-aside")
	aside.Aside = true
	must(t, w.FinishRefresh(w.ctx, aside))
	if g = w.grant(m.ID); g.Failures != 2 || g.Lease.Owner != "" || g.Cause != "oauth.no_answer" || g.CauseText != "No answer came." || g.Remedy != "Wait." || w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-aside" {
		t.Fatalf("an answer for another resource left %+v", g)
	}
	if g = failed(false, true); g.State != mailbox.GrantDead || g.RefreshToken.IsZero() {
		t.Fatalf("got %+v", g)
	}
	g, err = w.BeginRefresh(w.ctx, begin(m, "a", 0))
	wantFault(t, err, "grant.not_active", fault.Dead)
	if g.State != mailbox.GrantDead || w.events(event.GrantRefreshFailed) != 3 {
		t.Errorf("got %+v", g)
	}
}

func due(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	next, err := w.NextDue(w.ctx)
	must(t, err)
	if !next.IsZero() {
		t.Fatalf("with no grant the next is due at %v", next)
	}
	var boxes []mailbox.Mailbox
	for i, address := range []string{"a@example.org", "b@example.org", "c@example.org", "d@example.org"} {
		m := w.mailbox(address)
		a := w.adoption(m, "refresh")
		a.Grant.NextRefreshAt = noon().Add(-time.Duration(i) * time.Minute)
		must(t, w.Adopt(w.ctx, a))
		boxes = append(boxes, m)
	}
	must(t, w.EndGrant(w.ctx, boxes[3].ID, noon(), ending(boxes[3])))
	_, err = w.BeginRefresh(w.ctx, begin(boxes[1], "a", 0))
	must(t, err)
	found, err := w.Due(w.ctx, noon(), 10)
	must(t, err)
	want := []broker.Due{{MailboxID: boxes[2].ID, At: noon().Add(-2 * time.Minute)}, {MailboxID: boxes[0].ID, At: noon()}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if found, err = w.Due(w.ctx, noon().Add(time.Minute), 1); err != nil || len(found) != 1 || found[0].MailboxID != boxes[2].ID {
		t.Errorf("got %v, %v", found, err)
	}
	if next, err = w.NextDue(w.ctx); err != nil || !next.Equal(noon().Add(-2*time.Minute)) {
		t.Errorf("got %v, %v", next, err)
	}
}
