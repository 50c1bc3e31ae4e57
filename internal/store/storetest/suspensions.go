package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// suspensions: whoever waits for a grant must not keep everybody else from
// writing events meanwhile.
func suspensions(t *testing.T, open func(*testing.T) *store.Store) {
	told := func(m mailbox.Mailbox) event.Event { return about(event.GrantSuspended, m) }
	suspension := &connect.Suspension{Suspended: told, Dropped: func(m mailbox.Mailbox, _ string) event.Event { return told(m) }}
	t.Run("events are written while a suspension waits for a grant that is being changed", func(t *testing.T) {
		w := newWorld(t, open)
		if w.Dialect() == "sqlite" {
			t.Skip("SQLite has one writer at a time")
		}
		m := w.granted("desk@example.org")
		db, _ := w.Database()
		other, err := db.BeginTx(w.ctx, nil)
		must(t, err)
		_, err = other.ExecContext(w.ctx, "UPDATE grants SET failures = 1 WHERE mailbox_id = $1", m.ID)
		must(t, err)
		saved := make(chan error, 1)
		go func() {
			changed := m
			changed.Version = 2
			saved <- w.SaveMailbox(w.ctx, connect.SaveMailbox{
				Mailbox: changed, IfVersion: 1, Suspend: suspension, Events: []event.Event{about(event.MailboxUpdated, m)},
			})
		}()
		w.waiting()
		limited, cancel := context.WithTimeout(w.ctx, 30*time.Second)
		defer cancel()
		err = w.WriteEvent(limited, event.New(noon(), event.RefreshSilent, event.System(), "Something else."))
		must(t, other.Commit())
		must(t, <-saved)
		if err != nil {
			t.Errorf("nobody could write an event: %v", err)
		}
		if g := w.grant(m.ID); g.State != mailbox.GrantSuspended || w.events(event.GrantSuspended) != 1 || w.events(event.MailboxUpdated) != 1 {
			t.Errorf("the grant is %s; the change and the suspension must both be told once", g.State)
		}
	})
}

// waiting returns when a session of this database waits for a lock.
func (w *world) waiting() {
	w.t.Helper()
	db, _ := w.Database()
	end := time.After(time.Minute)
	for {
		var n int
		must(w.t, db.QueryRowContext(w.ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n))
		if n > 0 {
			return
		}
		select {
		case <-end:
			w.t.Fatal("nobody waits for the grant")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
