package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// standings: what the database selects by is what the noun says.
func standings(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("every case is found by the standing that it has, and by no other", func(t *testing.T) {
		w := newWorld(t, open)
		n := w.everyCase()
		all, err := w.Mailboxes(w.ctx, mailbox.Filter{})
		must(t, err)
		if len(all) != n {
			t.Fatalf("%d of %d mailboxes are listed", len(all), n)
		}
		want, counts := map[mailbox.Standing][]string{}, map[mailbox.Standing]int{}
		for _, l := range all {
			want[l.Standing()] = append(want[l.Standing()], l.Mailbox.Address)
			counts[l.Standing()]++
		}
		for _, s := range mailbox.Standings() {
			found, err := w.Mailboxes(w.ctx, mailbox.Filter{Standing: s})
			must(t, err)
			var got []string
			for _, l := range found {
				got = append(got, l.Mailbox.Address)
			}
			if d := cmp.Diff(want[s], got); d != "" {
				t.Errorf("%s: %s", s, d)
			}
			if len(want[s]) == 0 {
				t.Errorf("no case is %s", s)
			}
		}
		counted, err := w.CountStandings(w.ctx, nil)
		must(t, err)
		if d := cmp.Diff(counts, counted); d != "" {
			t.Error(d)
		}
		some, err := w.CountStandings(w.ctx, []string{all[0].Mailbox.Address, "nobody@example.org"})
		must(t, err)
		if d := cmp.Diff(map[mailbox.Standing]int{all[0].Standing(): 1}, some); d != "" {
			t.Error(d)
		}
	})
	t.Run("a part of an address is looked for letter by letter, without case", func(t *testing.T) {
		w := newWorld(t, open)
		for _, a := range []string{"50%off@example.org", "50_off@example.org", "500off@example.org", "desk@other.test"} {
			w.mailbox(a)
		}
		for part, want := range map[string]int{"50%": 1, "50_O": 1, "OFF@": 3, "!": 0, "other": 1, "": 4} {
			found, err := w.Mailboxes(w.ctx, mailbox.Filter{Part: part})
			must(t, err)
			if len(found) != want {
				t.Errorf("%q finds %d, want %d", part, len(found), want)
			}
		}
		found, err := w.Mailboxes(w.ctx, mailbox.Filter{Provider: "contoso", Addresses: []string{"desk@other.test"}})
		must(t, err)
		none, err := w.Mailboxes(w.ctx, mailbox.Filter{Provider: "fabrikam"})
		must(t, err)
		per, err := w.MailboxesOf(w.ctx)
		must(t, err)
		if len(found) != 1 || len(none) != 0 || per["contoso"] != 4 || len(per) != 1 {
			t.Errorf("found %d and %d, %v", len(found), len(none), per)
		}
	})
	t.Run("the latest link is the one that was made last", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		_, err := w.LatestLink(w.ctx, m.ID)
		wantFault(t, err, "link.unknown", fault.NotFound)
		for i := range 3 {
			l := connect.Link{ID: event.NewID(), Hash: []byte{byte(i)}, MailboxID: m.ID, State: connect.LinkPending, CreatedAt: noon().Add(time.Duration(i) * time.Second), ExpiresAt: noon().Add(time.Hour)}
			must(t, w.CreateLink(w.ctx, l, about(event.LinkCreated, m)))
			got, err := w.LatestLink(w.ctx, m.ID)
			must(t, err)
			if got.ID != l.ID || got.State != connect.LinkPending {
				t.Errorf("got %s (%s), want %s", got.ID, got.State, l.ID)
			}
		}
	})
}

// everyCase stores a mailbox for each combination of what decides a standing.
func (w *world) everyCase() (n int) {
	w.t.Helper()
	db, _ := w.Database()
	run := func(query string, args ...any) {
		w.t.Helper()
		_, err := db.ExecContext(w.ctx, query, args...)
		must(w.t, err)
	}
	for _, state := range []mailbox.GrantState{"", mailbox.GrantActive, mailbox.GrantSuspended, mailbox.GrantDead, mailbox.GrantRevoked} {
		for bits := range 32 {
			failing, waits, paused, stopped, sendsOnly := bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0, bits&16 > 0
			address := fmt.Sprintf("%s-%02d@example.org", map[bool]string{true: "no", false: string(state)}[state == ""], bits)
			m := w.mailbox(address)
			if state != "" {
				must(w.t, w.Adopt(w.ctx, w.adoption(m, "refresh-1")))
				run("UPDATE grants SET state = $2, failures = $3 WHERE mailbox_id = $1", m.ID, string(state), map[bool]int{true: 2}[failing])
			}
			if waits {
				w.setAside(w.quarantine(m))
			}
			if stopped {
				run("UPDATE watches SET stopped_at = 5 WHERE mailbox_id = $1", m.ID)
			}
			changed := m
			changed.Paused, changed.Version = paused, 2
			if sendsOnly {
				changed.Receive, changed.Send = nil, &mailbox.Send{Protocol: "smtp"}
			}
			must(w.t, w.SaveMailbox(w.ctx, connect.SaveMailbox{Mailbox: changed, IfVersion: 1}))
			n++
		}
	}
	return n
}

// outages: why nothing is received is recorded beside the watch.
func outages(t *testing.T, open func(*testing.T) *store.Store) {
	because := func(cause string) mailbox.Outage {
		return mailbox.Outage{Since: noon().Add(-time.Hour), Cause: cause, Text: "The server refused.", Remedy: "Ask it.", Who: []fault.Who{fault.MailAdmin}}
	}
	t.Run("an outage is told once, shows its latest cause, and ends once", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		held := w.watch(m).Lease.Fence
		must(t, w.StopReceiving(w.ctx, m.ID, held, because("net.refused"), about(event.FetchStopped, m)))
		later := because("imap.auth_refused")
		later.Since = noon()
		must(t, w.StopReceiving(w.ctx, m.ID, held, later, about(event.FetchStopped, m)))
		listed, err := w.Mailboxes(w.ctx, mailbox.Filter{})
		must(t, err)
		if d := cmp.Diff(because("imap.auth_refused"), listed[0].Stopped()); d != "" {
			t.Error(d)
		}
		claimed, err := w.ClaimWatches(w.ctx, "next", noon().Add(time.Hour), noon().Add(2*time.Hour), 5)
		must(t, err)
		if len(claimed) != 1 || claimed[0].Outage.Cause != "imap.auth_refused" || !claimed[0].Outage.Since.Equal(noon().Add(-time.Hour)) {
			t.Errorf("whoever watches next learns %+v", claimed)
		}
		must(t, w.ResumeReceiving(w.ctx, m.ID, held+1, about(event.FetchResumed, m)))
		must(t, w.ResumeReceiving(w.ctx, m.ID, held+1, about(event.FetchResumed, m)))
		listed, err = w.Mailboxes(w.ctx, mailbox.Filter{})
		must(t, err)
		if d := cmp.Diff(mailbox.Outage{Who: []fault.Who{}}, listed[0].Outage); d != "" {
			t.Error(d)
		}
		if w.events(event.FetchStopped) != 1 || w.events(event.FetchResumed) != 1 {
			t.Errorf("told %d times that it stopped and %d times that it resumed", w.events(event.FetchStopped), w.events(event.FetchResumed))
		}
	})
	t.Run("who has lost the watch records nothing", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.granted("desk@example.org")
		held := w.watch(m).Lease.Fence
		wantFault(t, w.StopReceiving(w.ctx, m.ID, held-1, because("x"), about(event.FetchStopped, m)), "work.fenced", fault.Conflict)
		wantFault(t, w.ResumeReceiving(w.ctx, m.ID, held-1, about(event.FetchResumed, m)), "work.fenced", fault.Conflict)
		if w.events(event.FetchStopped)+w.events(event.FetchResumed) != 0 {
			t.Error("an event was written")
		}
	})
}

// hours: events are counted by the hour as they are written.
func hours(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	one, other := w.mailbox("one@example.org"), w.mailbox("other@example.org")
	write := func(m mailbox.Mailbox, kind event.Kind, at time.Time) {
		e := about(kind, m)
		e.At = at
		must(t, w.WriteEvent(w.ctx, e))
	}
	for i := range 3 {
		write(one, event.MessageReceived, noon().Add(time.Duration(i)*25*time.Minute))
	}
	write(other, event.MessageReceived, noon())
	write(other, event.SubmissionSent, noon().Add(-3*time.Hour))
	write(other, event.MailboxTested, noon())
	hour := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	kinds := []event.Kind{event.MessageReceived, event.SubmissionSent}
	count := func(from time.Time, ids ...string) []event.Hour {
		t.Helper()
		got, err := w.EventHours(w.ctx, from, kinds, ids)
		must(t, err)
		return got
	}
	if d := cmp.Diff([]event.Hour{{At: hour, Kind: event.MessageReceived, Number: 4}}, count(noon())); d != "" {
		t.Errorf("from the present hour: %s", d)
	}
	want := []event.Hour{{At: hour.Add(-3 * time.Hour), Kind: event.SubmissionSent, Number: 1}, {At: hour, Kind: event.MessageReceived, Number: 4}}
	if d := cmp.Diff(want, count(noon().Add(-24*time.Hour))); d != "" {
		t.Errorf("of a day: %s", d)
	}
	if d := cmp.Diff([]event.Hour{{At: hour, Kind: event.MessageReceived, Number: 3}}, count(noon().Add(-24*time.Hour), one.ID)); d != "" {
		t.Errorf("of one mailbox: %s", d)
	}
	_, err := w.PurgeEvents(w.ctx, noon().Add(-time.Hour), 100)
	must(t, err)
	if got := count(noon().Add(-24 * time.Hour)); len(got) != 1 {
		t.Errorf("after the retention %v is left", got)
	}
}
