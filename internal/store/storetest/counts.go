package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

func counts(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("an empty database counts nothing", func(t *testing.T) {
		got, err := newWorld(t, open).Counts(t.Context())
		must(t, err)
		want := store.Counts{Mailboxes: map[string]int64{}, Submissions: map[string]int64{}, Deliveries: map[string]int64{}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("everything is counted by its state", func(t *testing.T) {
		w := newWorld(t, open)
		granted := w.granted("desk@example.org")
		w.setAside(w.quarantine(w.mailbox("a@example.org")))
		w.mailbox("b@example.org")
		_, err := w.Keep(w.ctx, w.batch(w.watch(granted), "one", "two"))
		must(t, err)
		w.accept()
		w.claimed(w.accept().ID, 0)
		w.webhook("all", []event.Pattern{"message.*"})
		w.happen(event.MessageReceived, granted.ID, granted.Address)

		got, err := w.Counts(w.ctx)
		must(t, err)
		want := store.Counts{
			Mailboxes: map[string]int64{"active": 1, "none": 2}, Quarantined: 1, Messages: 2,
			Submissions: map[string]int64{string(outbox.Queued): 1, string(outbox.Sending): 1},
			Deliveries:  map[string]int64{"pending": 1},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}
