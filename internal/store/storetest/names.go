package storetest

import (
	"maps"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/store"
)

// names are what a server calls messages that it does not number.
func names(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	m := w.granted("desk@example.org")
	watch := w.watch(m)
	fence := watch.Lease.Fence
	want := func(validity, highest uint32, want map[string]uint32) {
		t.Helper()
		got, most, err := w.Handed(w.ctx, m.ID, "INBOX", validity)
		must(t, err)
		if !maps.Equal(got, want) || most != highest {
			t.Errorf("%v up to %d, want %v up to %d", got, most, want, highest)
		}
	}
	want(7, 0, map[string]uint32{})
	k := w.batch(watch, "1", "2", "3")
	k.Messages[0].Received.RemoteID, k.Messages[1].Received.RemoteID = "a", "b"
	_, err := w.Keep(w.ctx, k)
	must(t, err)
	_, err = w.Keep(w.ctx, k) // and again
	must(t, err)
	want(7, 3, map[string]uint32{"a": 1, "b": 2})
	want(8, 0, map[string]uint32{})
	must(t, w.Forget(w.ctx, m.ID, fence, "INBOX", 7, []string{"a", "unknown"}))
	must(t, w.Forget(w.ctx, m.ID, fence, "INBOX", 8, []string{"b"}))
	want(7, 3, map[string]uint32{"b": 2})
	wantFault(t, w.Forget(w.ctx, m.ID, fence-1, "INBOX", 7, []string{"b"}), "work.fenced", fault.Conflict)
	_, err = w.Purge(w.ctx, noon().Add(48*time.Hour), 10)
	must(t, err)
	want(7, 0, map[string]uint32{"b": 2}) // a message outlives its retention at the server
	must(t, w.ResetFolder(w.ctx, m.ID, fence, "INBOX", message.Cursor{UIDValidity: 8}, about(event.FolderReset, m)))
	want(7, 0, map[string]uint32{})
}
