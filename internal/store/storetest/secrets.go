package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// marker is part of every secret that planted plants.
const marker = "MARKER-SECRET"

// planted fills a store with a secret in every place that holds one, and gives
// the mailbox they belong to.
func planted(w *world) mailbox.Mailbox {
	t := w.t
	t.Helper()
	where := seal.Where("client_secret", "marked")
	client, err := w.keys.Seal(seal.NewSecret(marker+" client"), where)
	must(t, err)
	must(t, w.SaveProvider(w.ctx, connect.SaveProvider{
		Record:  provider.Record{ID: event.NewID(), Name: "marked", Kind: "generic", Version: 1},
		Secrets: []connect.SealedSecret{{ID: "s", Sealed: client, Where: where}},
	}))
	m := w.mailbox("marked@example.org")
	a := w.adoption(m, marker+" refresh 1")
	a.Access = []mailbox.AccessToken{w.access(m.ID, provider.ResourceMail, marker+" access"), w.access(m.ID, provider.ResourceGraph, marker+" access")}
	must(t, w.Adopt(w.ctx, a))
	g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
	must(t, err)
	must(t, w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, marker+" refresh 2")))
	must(t, w.KeepLateAnswer(w.ctx, m.ID, w.refresh(m.ID, marker+" candidate"), about(event.GrantLateAnswer, m)))
	q := w.quarantine(m)
	q.RefreshToken = w.seal(marker+" quarantine", "quarantine", m.ID, "refresh_token")
	w.setAside(q)
	attempt := w.attempt(w.link(m))
	attempt.Verifier, attempt.Nonce = w.seal(marker+" verifier", "attempt", attempt.ID, "verifier"), w.seal(marker+" nonce", "attempt", attempt.ID, "nonce")
	must(t, w.StartAttempt(w.ctx, attempt, noon(), about(event.AttemptStarted, m)))
	hook := w.webhook("marked", []event.Pattern{"*"})
	hook.Secret, hook.Version = w.seal(marker+" webhook", "webhook", hook.ID, "secret"), 2
	hook.PreviousSecret, hook.PreviousSecretUntil = w.seal(marker+" previous webhook", "webhook", hook.ID, "secret"), noon().Add(time.Hour)
	must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, IfVersion: 1}))
	_, _, err = w.BeginCall(w.ctx, w.call("key", marker+" request"), noon())
	must(t, err)
	return m
}

// plantedSealed is how many sealed values planted leaves.
const plantedSealed = 12

func secrets(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("no column holds one in clear", func(t *testing.T) {
		w := newWorld(t, open)
		planted(w)
		cells := 0
		dump(w, func(table, column string, value []byte) {
			cells++
			if strings.Contains(string(value), marker) {
				t.Errorf("%s.%s holds a secret in clear: %q", table, column, value)
			}
		})
		if cells < 100 {
			t.Errorf("only %d cells were looked at", cells)
		}
	})
	t.Run("a new key takes over every one", func(t *testing.T) {
		w := newWorld(t, open)
		m := planted(w)
		old := w.keys.PrimaryKeyID()
		counts, err := w.SealedCount(w.ctx)
		must(t, err)
		if len(counts) != 1 || counts[old] != plantedSealed {
			t.Fatalf("got %v", counts)
		}
		must(t, w.keys.Rotate())
		n, err := w.ResealAll(w.ctx, w.keys)
		must(t, err)
		if counts, err = w.SealedCount(w.ctx); err != nil || n != plantedSealed || len(counts) != 1 || counts[w.keys.PrimaryKeyID()] != plantedSealed {
			t.Fatalf("%d sealed anew, leaving %v (%v)", n, counts, err)
		}
		if n, err = w.ResealAll(w.ctx, w.keys); err != nil || n != 0 {
			t.Errorf("%d sealed anew twice (%v)", n, err)
		}
		g := w.grant(m.ID)
		for want, value := range map[string]seal.Sealed{"refresh 2": g.RefreshToken, "refresh 1": g.PreviousToken, "candidate": g.Candidate} {
			if got := w.opened(value, "grant", m.ID, "refresh_token"); got != marker+" "+want {
				t.Errorf("%s opens as something else", want)
			}
		}
		_, clients, err := w.Provider(w.ctx, "marked")
		must(t, err)
		if secret, err := w.keys.Unseal(clients[0].Sealed, seal.Where("client_secret", "marked")); err != nil || secret.Reveal() != marker+" client" {
			t.Errorf("the client secret does not open: %v", err)
		}
	})
	t.Run("one that cannot be opened does not stop the others", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("foreign@example.org")
		a := w.adoption(m, "refresh")
		a.Grant.RefreshToken = w.seal("refresh", "grant", "another mailbox", "refresh_token")
		must(t, w.Adopt(w.ctx, a))
		must(t, w.keys.Rotate())
		if n, err := w.ResealAll(w.ctx, w.keys); n != 1 || err == nil || !strings.Contains(err.Error(), m.ID) {
			t.Errorf("%d sealed anew, %v", n, err)
		}
	})
	t.Run("a refresh meanwhile is not undone", func(t *testing.T) {
		w := newWorld(t, open)
		var boxes []mailbox.Mailbox
		for i := range 20 {
			boxes = append(boxes, w.granted(fmt.Sprintf("m%d@example.org", i)))
		}
		must(t, w.keys.Rotate())
		var done sync.WaitGroup
		done.Go(func() {
			for _, m := range boxes {
				g, err := w.BeginRefresh(w.ctx, begin(m, "a", 0))
				if err == nil {
					err = w.FinishRefresh(w.ctx, w.answer(m, g.Lease.Fence, "refresh-2"))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		_, err := w.ResealAll(w.ctx, w.keys)
		done.Wait()
		must(t, err)
		_, err = w.ResealAll(w.ctx, w.keys)
		must(t, err)
		for _, m := range boxes {
			g := w.grant(m.ID)
			if w.opened(g.RefreshToken, "grant", m.ID, "refresh_token") != "refresh-2" || w.opened(g.PreviousToken, "grant", m.ID, "refresh_token") != "refresh-1" {
				t.Errorf("%s lost a token", m.Address)
			}
		}
		counts, err := w.SealedCount(w.ctx)
		must(t, err)
		if len(counts) != 1 || counts[w.keys.PrimaryKeyID()] != 60 {
			t.Errorf("got %v", counts)
		}
	})
}

// dump hands on every cell of every table of the database.
func dump(w *world, each func(table, column string, value []byte)) {
	w.t.Helper()
	db, _ := w.Database()
	list := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if w.Dialect() == "postgres" {
		list = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
	}
	names, err := db.QueryContext(w.ctx, list)
	must(w.t, err)
	var tables []string
	for names.Next() {
		var name string
		must(w.t, names.Scan(&name))
		tables = append(tables, name)
	}
	must(w.t, names.Close())
	for _, table := range tables {
		rows, err := db.QueryContext(w.ctx, "SELECT * FROM "+table)
		must(w.t, err)
		columns, err := rows.Columns()
		must(w.t, err)
		for rows.Next() {
			cells := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range cells {
				into[i] = &cells[i]
			}
			must(w.t, rows.Scan(into...))
			for i, cell := range cells {
				switch v := cell.(type) {
				case []byte:
					each(table, columns[i], v)
				default:
					each(table, columns[i], []byte(fmt.Sprint(v)))
				}
			}
		}
		must(w.t, rows.Close())
	}
}
