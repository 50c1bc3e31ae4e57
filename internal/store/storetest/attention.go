package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/store"
)

// attention: what could not be sent or delivered is found, and nothing else.
func attention(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	nothing, err := w.Unsent(w.ctx, noon(), nil, 5)
	must(t, err)
	if none, err := w.Undelivered(w.ctx); err != nil || len(none)+len(nothing) > 0 {
		t.Fatalf("an empty database has %v and %v, %v", nothing, none, err)
	}
	db, _ := w.Database()
	run := func(query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(w.ctx, query, args...)
		must(t, err)
	}
	settle := func(state string, after time.Duration, text string) {
		t.Helper()
		run("UPDATE submissions SET state = $2, settled_at = $3, cause = 'smtp.refused', cause_text = $4, remedy = 'Ask.' WHERE id = $1",
			w.accept().ID, state, noon().Add(after).UnixMicro(), text)
	}
	settle("failed", time.Minute, "The first.")
	settle("expired", 2*time.Minute, "The last.")
	settle("sent", 3*time.Minute, "")
	settle("failed", -time.Minute, "Too long ago.")
	w.accept()
	got, err := w.Unsent(w.ctx, noon(), nil, 5)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("found %+v", got)
	}
	want := diagnose.Unsent{Mailbox: got[0].Mailbox, Number: 2, Last: noon().Add(2 * time.Minute), Cause: "smtp.refused", Text: "The last.", Remedy: "Ask."}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
	if others, err := w.Unsent(w.ctx, noon(), []string{"another"}, 5); err != nil || len(others) > 0 {
		t.Errorf("another mailbox has %v, %v", others, err)
	}

	m := w.granted("desk@example.org")
	w.webhook("good", nil)
	w.webhook("gone", nil)
	w.webhook("off", nil)
	hook := w.webhook("slow", []event.Pattern{"message.*"})
	for range 3 {
		w.happen(event.MessageReceived, m.ID, m.Address)
	}
	run("UPDATE webhooks SET disabled = 'It answered 410.', disabled_by = 'receiver' WHERE name = 'gone'")
	run("UPDATE webhooks SET disabled = 'No need.', disabled_by = 'operator' WHERE name = 'off'")
	w.dueQueues(0) // has them stand in their queue
	run("UPDATE deliveries SET state = 'parked' WHERE webhook_id = $1 AND sequence > 1", hook.ID)
	undelivered, err := w.Undelivered(w.ctx)
	must(t, err)
	if d := cmp.Diff([]diagnose.Undelivered{{Webhook: "gone", Disabled: "It answered 410."}, {Webhook: "slow", Parked: 2}}, undelivered); d != "" {
		t.Error(d)
	}
}
