package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// processes opens a fresh PostgreSQL database as several processes do.
func processes(t *testing.T, n int) []*Store {
	t.Helper()
	if testing.Short() {
		t.Skip("PostgreSQL is left out of short runs")
	}
	url := testbed.StartPostgres(t).NewDatabase(t)
	var all []*Store
	for range n {
		s, err := Open(t.Context(), Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		all = append(all, s)
	}
	return all
}

// timeline lists the texts of all events, in their order.
func timeline(t *testing.T, s *Store) []string {
	t.Helper()
	found, err := s.Events(t.Context(), event.Filter{After: "0"})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range found {
		texts = append(texts, e.Text)
	}
	return texts
}

func happened(text string) event.Event {
	return event.New(time.Now(), event.MailboxTested, event.System(), text).About("m", "a@example.org")
}

func TestPlaces_NobodyWaitsForAnothersCommit(t *testing.T) {
	t.Parallel()
	all := processes(t, 2)
	written, release := make(chan struct{}), make(chan struct{})
	slow := make(chan error, 1)
	go func() {
		slow <- all[0].change(t.Context(), "be slow", func(x *tx) error {
			err := x.addEvents(happened("slow"))
			close(written)
			<-release
			return err
		})
	}()
	<-written
	for _, s := range all {
		if err := s.WriteEvent(t.Context(), happened("quick")); err != nil {
			t.Error(err)
		}
	}
	page, err := all[1].EventPage(t.Context(), event.Filter{After: "0"})
	if err != nil || len(page.Events) != 2 {
		t.Errorf("%d events can be seen (%v), want those that are committed", len(page.Events), err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	// Who had read up to there misses nothing.
	page, err = all[1].EventPage(t.Context(), event.Filter{After: page.Next})
	if err != nil || len(page.Events) != 1 || page.Events[0].Text != "slow" {
		t.Errorf("then follows %v (%v)", page.Events, err)
	}
}

func TestPlaces_WhatAProcessLeftIsPlacedByAnother(t *testing.T) {
	t.Parallel()
	s := processes(t, 1)[0]
	now := time.Now()
	w := webhook.Webhook{ID: "w", Name: "w", URL: "https://hooks.example.org", Events: []event.Pattern{"*"}, Version: 1, CreatedAt: now, UpdatedAt: now}
	if err := s.SaveWebhook(t.Context(), webhook.Saving{Webhook: w}); err != nil {
		t.Fatal(err)
	}
	// die commits, and gets no further.
	die := func(e event.Event) {
		t.Helper()
		begun, err := s.write.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		x := &tx{Tx: begun, s: s, ctx: t.Context()}
		if err := errors.Join(x.addEvents(e), begun.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	first := happened("first")
	die(first)
	// The sweep finds it, once.
	for range 2 {
		queues, err := s.DueQueues(t.Context(), now.Add(time.Minute), 10)
		if err != nil || len(queues) != 1 || queues[0].MailboxID != "m" {
			t.Errorf("due are %v (%v)", queues, err)
		}
	}
	// So does whoever writes next, in the order of what happened.
	die(happened("second"))
	if err := s.WriteEvent(t.Context(), happened("third")); err != nil {
		t.Error(err)
	}
	// Its writer did not learn that it was committed.
	if err := s.WriteEvent(t.Context(), first); err != nil {
		t.Error(err)
	}
	// So does whoever looks.
	die(happened("fourth"))
	if got := timeline(t, s); !slices.Equal(got, []string{"first", "second", "third", "fourth"}) {
		t.Errorf("the timeline has %v", got)
	}
	deliveries, err := s.Deliveries(t.Context(), webhook.Filter{WebhookID: "w", Limit: 10})
	if err != nil || len(deliveries) != 4 {
		t.Errorf("%d deliveries (%v)", len(deliveries), err)
	}
}

func TestPlaces_KeepTheOrderOfEachMailbox(t *testing.T) {
	t.Parallel()
	all := processes(t, 3)
	const mailboxes, each = 9, 20
	var group sync.WaitGroup
	for m := range mailboxes {
		group.Go(func() {
			for i := range each {
				e := event.New(time.Now(), event.MailboxTested, event.System(), fmt.Sprint(i)).About(fmt.Sprint(m), "a@example.org")
				if err := all[(m+i)%len(all)].WriteEvent(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for m := range mailboxes {
		found, err := all[0].Events(t.Context(), event.Filter{After: "0", MailboxIDs: []string{fmt.Sprint(m)}})
		if err != nil || len(found) != each {
			t.Fatalf("mailbox %d has %d events (%v), want %d", m, len(found), err, each)
		}
		for i, e := range found {
			if e.Text != fmt.Sprint(i) {
				t.Errorf("mailbox %d has %s in place %d", m, e.Text, i)
			}
		}
	}
}

// TestPlaces_MoreThanOneTransactionPlaces has a backlog placed in several.
func TestPlaces_MoreThanOneTransactionPlaces(t *testing.T) {
	t.Parallel()
	s := processes(t, 1)[0]
	err := s.change(t.Context(), "write many", func(x *tx) error {
		var events []event.Event
		for i := range mostPlaced + 1 {
			events = append(events, happened(fmt.Sprint(i)))
		}
		return x.addEvents(events...)
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, after := 0, "0"
	for {
		page, err := s.EventPage(t.Context(), event.Filter{After: after, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if e.Text != fmt.Sprint(seen) {
				t.Fatalf("event %d is %s", seen, e.Text)
			}
			seen++
		}
		if page.Next == after || page.Next == "" {
			break
		}
		after = page.Next
	}
	if seen != mostPlaced+1 {
		t.Errorf("%d events were placed, want %d", seen, mostPlaced+1)
	}
}
