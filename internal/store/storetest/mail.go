package storetest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/store"
)

// claim takes watches for an owner with a lease of a minute from noon plus after.
func (w *world) claim(owner string, after time.Duration, limit int) []fetch.Watch {
	w.t.Helper()
	now := noon().Add(after)
	watches, err := w.ClaimWatches(w.ctx, owner, now, now.Add(time.Minute), limit)
	must(w.t, err)
	return watches
}

// watch claims one mailbox, the only free one.
func (w *world) watch(m mailbox.Mailbox) fetch.Watch {
	w.t.Helper()
	watches := w.claim("a", 0, 10)
	if len(watches) != 1 || watches[0].Mailbox.ID != m.ID {
		w.t.Fatalf("claimed %v", watches)
	}
	return watches[0]
}

// batch is messages of INBOX with UIDs from 1, as bodies.
func (w *world) batch(watch fetch.Watch, bodies ...string) fetch.Keep {
	k := fetch.Keep{MailboxID: watch.Mailbox.ID, Fence: watch.Lease.Fence, Folder: "INBOX", Cursor: message.Cursor{UIDValidity: 7, UID: uint32(len(bodies))}, Now: noon()}
	for i, body := range bodies {
		k.Messages = append(k.Messages, fetch.Stored{
			ID: event.NewID(), Received: message.Received{Folder: "INBOX", UIDValidity: 7, UID: uint32(i + 1), ArrivedAt: noon(), Raw: []byte(body)},
			Parsed: message.Parsed{Subject: body[:min(20, len(body))] + "\x00", From: []message.Party{{Address: "a@example.org"}}},
			Digest: hashed(body), ExpiresAt: noon().Add(24 * time.Hour), Event: about(event.MessageReceived, watch.Mailbox),
		})
	}
	return k
}

func watches(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("two owners share what there is", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 10 {
			w.granted(fmt.Sprintf("m%d@example.org", i))
		}
		race(2, func(i int) error {
			w.claim(fmt.Sprint("owner", i), 0, 5)
			return nil
		})
		// One may have passed over rows that the other was taking just then.
		held := map[string]bool{}
		for i := range 2 {
			for _, watch := range w.claim(fmt.Sprint("owner", i), time.Second, 5) {
				if held[watch.Mailbox.ID] {
					t.Errorf("%s is held twice", watch.Mailbox.Address)
				}
				held[watch.Mailbox.ID] = true
			}
		}
		if len(held) != 10 {
			t.Errorf("%d of 10 are held", len(held))
		}
	})
	t.Run("a renewed lease keeps its fence, a taken one raises it", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		first := w.watch(m)
		again := w.claim("a", 30*time.Second, 0)
		if len(again) != 1 || again[0].Lease.Fence != first.Lease.Fence || !again[0].Lease.Until.Equal(noon().Add(90*time.Second)) {
			t.Fatalf("got %+v", again)
		}
		if other := w.claim("b", time.Minute, 5); len(other) != 0 {
			t.Fatalf("a held lease was taken: %+v", other)
		}
		taken := w.claim("b", 90*time.Second, 5)
		if len(taken) != 1 || taken[0].Lease.Fence != first.Lease.Fence+1 {
			t.Fatalf("got %+v", taken)
		}
		_, err := w.Keep(w.ctx, w.batch(first, "late"))
		wantFault(t, err, "work.fenced", fault.Conflict)
		wantFault(t, w.ResetFolder(w.ctx, m.ID, first.Lease.Fence, "INBOX", message.Cursor{UIDValidity: 9}, about(event.FolderReset, m)), "work.fenced", fault.Conflict)
		if w.events(event.MessageReceived) != 0 || w.events(event.FolderReset) != 0 {
			t.Error("a fenced write left its event")
		}
		must(t, w.ReleaseWatches(w.ctx, "b"))
		if free := w.claim("a", 91*time.Second, 5); len(free) != 1 {
			t.Errorf("a released mailbox was not free: %v", free)
		}
	})
	t.Run("paused mailboxes and ended grants are not watched", func(t *testing.T) {
		w := newWorld(t, open)
		paused, ended, silent := w.granted("a@example.org"), w.granted("b@example.org"), w.granted("c@example.org")
		w.mailbox("d@example.org")
		if held := w.claim("a", 0, 10); len(held) != 3 {
			t.Fatalf("got %v", held)
		}
		paused.Paused, paused.Version = true, 2
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: paused, IfVersion: 1}))
		silent.Receive, silent.Version = nil, 2
		must(t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: silent, IfVersion: 1}))
		must(t, w.EndGrant(w.ctx, ended.ID, noon(), ending(ended)))
		if held := w.claim("a", 0, 10); len(held) != 0 {
			t.Errorf("got %v", held)
		}
	})
}

func messages(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("are kept whole, once, with their event and the cursor", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		watch := w.watch(m)
		long := string(bytes.Repeat([]byte("0123456789abcdef"), 50_000)) + "end" // 800 KB: several pieces
		k := w.batch(watch, "short", long)
		if n, err := w.Keep(w.ctx, k); err != nil || n != 2 {
			t.Fatalf("%d kept (%v)", n, err)
		}
		again := w.batch(watch, "short", long, "third")
		if n, err := w.Keep(w.ctx, again); err != nil || n != 1 {
			t.Fatalf("%d kept again (%v)", n, err)
		}
		cursor, err := w.Cursor(w.ctx, m.ID, "INBOX")
		must(t, err)
		if cursor != (message.Cursor{UIDValidity: 7, UID: 3}) || w.events(event.MessageReceived) != 3 {
			t.Errorf("cursor %v, %d events", cursor, w.events(event.MessageReceived))
		}
		raw, err := w.MessageRaw(w.ctx, k.Messages[1].ID)
		must(t, err)
		content, err := io.ReadAll(raw)
		must(t, err)
		must(t, raw.Close())
		if string(content) != long {
			t.Errorf("%d bytes came back, not the %d that were kept", len(content), len(long))
		}
		found, err := w.Message(w.ctx, k.Messages[0].ID)
		must(t, err)
		want := fetch.Message{
			ID: k.Messages[0].ID, MailboxID: m.ID, Mailbox: m.Address, Folder: "INBOX", UIDValidity: 7, UID: 1, ReceivedAt: noon(), Size: 5,
			ExpiresAt: noon().Add(24 * time.Hour), Parsed: k.Messages[0].Parsed, EventID: k.Messages[0].Event.ID,
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
		listed, err := w.Mailboxes(w.ctx, mailbox.Filter{Limit: 1})
		must(t, err)
		if !listed[0].LastMailAt.Equal(noon()) {
			t.Errorf("last mail at %v", listed[0].LastMailAt)
		}
	})
	t.Run("what after_receive owes is known until it is done", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		watch := w.watch(m)
		owed := func(want ...uint32) {
			t.Helper()
			got, err := w.Owed(w.ctx, m.ID, "INBOX")
			must(t, err)
			if !slices.Equal(got, want) {
				t.Errorf("%v are owed, want %v", got, want)
			}
		}
		keep := func(owes bool, bodies ...string) {
			t.Helper()
			k := w.batch(watch, bodies...)
			k.Owes = owes
			_, err := w.Keep(w.ctx, k)
			must(t, err)
		}
		owed() // of a folder that was never read
		keep(false, "1", "2")
		owed()
		more := w.batch(watch, "1", "2", "3", "4")
		more.Messages, more.Owes = more.Messages[2:], true
		_, err := w.Keep(w.ctx, more)
		must(t, err)
		owed(3, 4) // and not what was kept without
		keep(true, "1", "2", "3", "4", "5")
		owed(3, 4, 5)
		done := fetch.Disposed{MailboxID: m.ID, Fence: watch.Lease.Fence, Folder: "INBOX", UIDValidity: 7, UIDs: []uint32{3, 4, 5}, What: "mark_seen"}
		must(t, w.Disposed(w.ctx, done))
		owed()
		keep(true, "1", "2", "3", "4", "5", "6")
		must(t, w.ResetFolder(w.ctx, m.ID, watch.Lease.Fence, "INBOX", message.Cursor{UIDValidity: 8}, about(event.FolderReset, m)))
		owed() // until the messages are recognised under their new numbers
		k := w.batch(watch, "5", "6")
		for i := range k.Messages {
			k.Messages[i].Received.UIDValidity = 8
		}
		k.Cursor, k.Owes = message.Cursor{UIDValidity: 8, UID: 2}, true
		_, err = w.Keep(w.ctx, k)
		must(t, err)
		owed(1, 2)
		w.claim("b", time.Hour, 5)
		wantFault(t, w.Disposed(w.ctx, done), "work.fenced", fault.Conflict)
		owed(1, 2)
	})
	t.Run("what was kept without its content is owed nothing", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		k := w.batch(w.watch(m), "1", "too large", "3")
		k.Messages[1].Received.Raw, k.Owes = nil, true
		_, err := w.Keep(w.ctx, k)
		must(t, err)
		if got, err := w.Owed(w.ctx, m.ID, "INBOX"); err != nil || !slices.Equal(got, []uint32{1, 3}) {
			t.Errorf("%v are owed (%v)", got, err)
		}
	})
	t.Run("names are remembered while the server has them", func(t *testing.T) { names(t, open) })
	t.Run("a folder that is numbered anew doubles none", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		watch := w.watch(m)
		// Two equal messages are two.
		if n, err := w.Keep(w.ctx, w.batch(watch, "twin", "twin", "other")); err != nil || n != 3 {
			t.Fatalf("%d kept (%v)", n, err)
		}
		must(t, w.ResetFolder(w.ctx, m.ID, watch.Lease.Fence, "INBOX", message.Cursor{UIDValidity: 8}, about(event.FolderReset, m)))
		cursor, err := w.Cursor(w.ctx, m.ID, "INBOX")
		must(t, err)
		if cursor != (message.Cursor{UIDValidity: 8}) {
			t.Errorf("got %v", cursor)
		}
		k := w.batch(watch, "other", "twin", "twin", "new")
		for i := range k.Messages {
			k.Messages[i].Received.UIDValidity = 8
		}
		for _, want := range []int{1, 0} {
			if n, err := w.Keep(w.ctx, k); err != nil || n != want {
				t.Fatalf("%d kept (%v), want %d", n, err, want)
			}
		}
		listed, err := w.Messages(w.ctx, fetch.Filter{})
		must(t, err)
		for _, message := range listed.Messages {
			if message.UIDValidity != 8 {
				t.Errorf("%s kept its old number", message.Parsed.Subject)
			}
		}
	})
	t.Run("lists go newest first, by mailbox and page", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		watch := w.watch(m)
		k := w.batch(watch, "1", "2", "3")
		_, err := w.Keep(w.ctx, k)
		must(t, err)
		page, err := w.Messages(w.ctx, fetch.Filter{MailboxIDs: []string{m.ID}, Limit: 2})
		must(t, err)
		rest, err := w.Messages(w.ctx, fetch.Filter{MailboxIDs: []string{m.ID}, Limit: 2, Before: page.Next})
		must(t, err)
		if len(page.Messages) != 2 || len(rest.Messages) != 1 || rest.Next != "" || page.Messages[0].ID != k.Messages[2].ID || rest.Messages[0].ID != k.Messages[0].ID {
			t.Errorf("got %v and %v", page, rest)
		}
		if none, err := w.Messages(w.ctx, fetch.Filter{MailboxIDs: []string{"other"}}); err != nil || len(none.Messages) != 0 {
			t.Errorf("got %v, %v", none, err)
		}
	})
	t.Run("are purged when their retention ends", func(t *testing.T) {
		w := newWorld(t, open)
		watch := w.watch(w.granted("desk@example.org"))
		k := w.batch(watch, "1", "2", "3")
		_, err := w.Keep(w.ctx, k)
		must(t, err)
		for _, want := range []struct {
			after time.Duration
			n     int
		}{{23 * time.Hour, 0}, {24 * time.Hour, 2}, {24 * time.Hour, 1}} {
			if n, err := w.Purge(w.ctx, noon().Add(want.after), 2); err != nil || n != want.n {
				t.Fatalf("%d purged (%v), want %d", n, err, want.n)
			}
		}
		_, err = w.Message(w.ctx, k.Messages[0].ID)
		wantFault(t, err, "message.unknown", fault.NotFound)
		_, err = w.MessageRaw(w.ctx, k.Messages[0].ID)
		wantFault(t, err, "message.unknown", fault.NotFound)
	})
}
