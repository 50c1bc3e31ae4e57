package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// lists are the filters of events, messages and submissions.
func lists(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("events by who caused them, words, time and need of attention", func(t *testing.T) { eventFilters(newWorld(t, open)) })
	t.Run("a page looks at so many events and no more, and says where to go on", func(t *testing.T) { rareEvents(newWorld(t, open)) })
	t.Run("who follows goes past what is not wanted", func(t *testing.T) {
		w := newWorld(t, open)
		for range 3 {
			w.happen(event.MessageReceived, "m", "a@example.org")
		}
		newest := w.happen(event.GrantRefreshed, "m", "a@example.org")
		f := event.Filter{After: "0", Text: "nothing like this"}
		page, err := w.EventPage(w.ctx, f)
		must(t, err)
		if len(page.Events) != 0 || page.Next != newest.ID {
			t.Fatalf("%d events, on from %q", len(page.Events), page.Next)
		}
		f.After = page.Next
		if page, err = w.EventPage(w.ctx, f); err != nil || page.Next != newest.ID {
			t.Errorf("on from %q (%v)", page.Next, err)
		}
	})
	t.Run("messages by words and time, without their texts", func(t *testing.T) { messageFilters(newWorld(t, open)) })
	t.Run("what was done with messages at the mail server", func(t *testing.T) { disposals(newWorld(t, open)) })
	t.Run("submissions by state, words and time", func(t *testing.T) { submissionFilters(newWorld(t, open)) })
	t.Run("deliveries of an event", func(t *testing.T) {
		w := newWorld(t, open)
		w.webhook("b", []event.Pattern{"*"})
		w.webhook("a", []event.Pattern{"message.*"})
		e := w.happen(event.MessageReceived, "m", "a@example.org")
		handed, err := w.HandedOn(w.ctx, e.ID)
		must(t, err)
		if len(handed) != 2 || handed[0].Webhook != "a" || handed[1].Webhook != "b" || handed[0].State != "pending" || handed[0].ID == "" {
			t.Errorf("got %+v", handed)
		}
	})
}

func eventFilters(w *world) {
	t := w.t
	happened := func(kind event.Kind, kindOf event.ActorKind, name, text string, minute int) {
		e := event.New(noon().Add(time.Duration(minute)*time.Minute), kind, event.Actor{Kind: kindOf, Name: name}, text).About("m", "a@example.org")
		must(t, w.WriteEvent(w.ctx, e))
	}
	happened(event.MailboxPaused, event.ActorOperator, "anna", "zero: Paused.", 10)
	happened(event.MailboxResumed, event.ActorOperator, "bert", "one: Resumed.", 20)
	happened(event.SubmissionAccepted, event.ActorAPIKey, "desk", "two: 100% _fine_.", 30)
	happened(event.GrantDead, event.ActorSystem, "", "three: It ended.", 40)
	happened(event.GrantRefreshed, event.ActorSystem, "", "four: Renewed.", 50)
	happened(event.SubmissionFailed, event.ActorSystem, "", "five: Refused.", 60)
	at := func(minute int) time.Time { return noon().Add(time.Duration(minute) * time.Minute) }
	actor := func(text string) event.Actor {
		a, err := event.ParseActor(text)
		must(t, err)
		return a
	}
	m := []string{"m"}
	for _, c := range []struct {
		f    event.Filter
		want string
	}{
		{event.Filter{}, "five four three two one zero"},
		{event.Filter{Actors: []event.Actor{actor("operator")}}, "one zero"},
		{event.Filter{Actors: []event.Actor{actor("operator:bert"), actor("api_key")}}, "two one"},
		{event.Filter{Actors: []event.Actor{actor("system")}}, "five four three"},
		{event.Filter{Actors: []event.Actor{actor("operator:nobody")}}, ""},
		{event.Filter{Attention: true}, "five three"},
		{event.Filter{Attention: true, Patterns: []event.Pattern{"grant.*"}}, "three"},
		{event.Filter{Attention: true, Patterns: []event.Pattern{"operator.*"}}, ""},
		{event.Filter{Text: "PAUSED"}, "zero"},
		{event.Filter{Text: "100%"}, "two"},
		{event.Filter{Text: "0% _"}, "two"},
		{event.Filter{Text: "%"}, "two"},
		{event.Filter{Text: "\x00"}, ""},
		{event.Filter{Text: "e", Patterns: []event.Pattern{"submission.*"}}, "five two"},
		{event.Filter{Since: at(30)}, "five four three two"},
		{event.Filter{Until: at(30)}, "one zero"},
		{event.Filter{Since: at(20), Until: at(41), Actors: []event.Actor{actor("system")}}, "three"},
		{event.Filter{Since: at(100)}, ""},
		{event.Filter{Until: at(0)}, ""},
		{event.Filter{Text: "e", Limit: 2}, "five four"},
		{event.Filter{After: "0", Actors: []event.Actor{actor("operator")}}, "zero one"},
		{event.Filter{After: "0", Attention: true, Limit: 1}, "three"},
	} {
		c.f.MailboxIDs = m
		for _, mailboxes := range [][]string{m, {"other", "m"}, nil} {
			if mailboxes == nil && !c.f.Attention && c.f.Text == "" && len(c.f.Actors) == 0 {
				continue // the provider's own event is among them
			}
			c.f.MailboxIDs = mailboxes
			found, err := w.Events(w.ctx, c.f)
			must(t, err)
			var words []string
			for _, e := range found {
				if word, _, ok := strings.Cut(e.Text, ":"); ok && e.MailboxID == "m" {
					words = append(words, word)
				}
			}
			if got := strings.Join(words, " "); got != c.want && !(mailboxes == nil && strings.Contains(got, c.want)) {
				t.Errorf("%+v gave %q, want %q", c.f, got, c.want)
			}
		}
	}
}

// rareEvents looks for two among 50,000, more than some pages look at.
func rareEvents(w *world) {
	t := w.t
	rare := func(text string) {
		must(t, w.WriteEvent(w.ctx, event.New(noon(), event.MailboxPaused, event.System(), text).About("m", "a@example.org")))
	}
	rare("The first needle.")
	db, _ := w.Database()
	_, err := db.ExecContext(w.ctx, `
		INSERT INTO events (position, id, at, kind, mailbox_id, mailbox, actor_kind, actor_name, cause, text, remedy, data)
		WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
		SELECT 10 + n.i, '01900000-0000-7000-8000-' || substr(CAST(n.i + 1000000000000 AS TEXT), 2), 0, 'message.received', 'm', 'a@example.org', 'system', '', '', 'Hay.', '', '{}' FROM n`)
	must(t, err)
	rare("The last needle.")
	for name, f := range map[string]event.Filter{
		"everywhere": {Text: "needle"}, "in a mailbox": {MailboxIDs: []string{"m"}, Text: "needle"},
		"of a kind in a mailbox": {MailboxIDs: []string{"m"}, Patterns: []event.Pattern{"mailbox.paused"}},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			pages := 0
			for ; ; pages++ {
				page, err := w.EventPage(w.ctx, f)
				must(t, err)
				for _, e := range page.Events {
					found = append(found, e.Text)
				}
				if f.Before = page.Next; page.Next == "" {
					break
				}
				if pages > 10 {
					t.Fatal("there is no end of pages")
				}
			}
			if fmt.Sprint(found) != "[The last needle. The first needle.]" || pages < 2 {
				t.Errorf("%d pages gave %v", pages+1, found)
			}
		})
	}
	exact, err := w.EventPage(w.ctx, event.Filter{Patterns: []event.Pattern{"mailbox.*"}})
	must(t, err)
	if len(exact.Events) != 2 || exact.Next != "" {
		t.Errorf("what an index finds took pages: %d, %q", len(exact.Events), exact.Next)
	}
}

func messageFilters(w *world) {
	t := w.t
	m := w.granted("desk@example.org")
	watch := w.watch(m)
	k := w.batch(watch, "Printer is out of paper", "ÄRGER with the lift", "third")
	for i := range k.Messages {
		k.Messages[i].Parsed.Text, k.Messages[i].Parsed.HTML = "the body", "<p>the body"
		k.Messages[i].Parsed.From[0].Name = []string{"Adele Vance", "Bert", "Bert"}[i]
		k.Messages[i].Parsed.Parts = []message.Part{{Filename: "a.pdf"}}
		k.Messages[i].Received.ArrivedAt = noon().Add(time.Duration(i) * time.Hour)
	}
	_, err := w.Keep(w.ctx, k)
	must(t, err)
	for _, c := range []struct {
		f    fetch.Filter
		want string
	}{
		{fetch.Filter{}, "210"},
		{fetch.Filter{Text: "PRINTER"}, "0"},
		{fetch.Filter{Text: "ärger"}, "1"},
		{fetch.Filter{Text: "bert"}, "21"},
		{fetch.Filter{Text: "body"}, ""},
		{fetch.Filter{Since: noon().Add(time.Hour)}, "21"},
		{fetch.Filter{Until: noon().Add(time.Hour)}, "0"},
		{fetch.Filter{Text: "bert", Since: noon(), Until: noon().Add(2 * time.Hour), MailboxIDs: []string{m.ID}}, "1"},
		{fetch.Filter{Text: "bert", MailboxIDs: []string{"other"}}, ""},
	} {
		c.f.Brief = true
		page, err := w.Messages(w.ctx, c.f)
		must(t, err)
		got := ""
		for _, found := range page.Messages {
			for i := range k.Messages {
				if k.Messages[i].ID == found.ID {
					got += fmt.Sprint(i)
				}
			}
			if found.Parsed.Text != "" || found.Parsed.HTML != "" || len(found.Parsed.Parts) != 1 || found.Parsed.Subject == "" {
				t.Errorf("a list shows %+v", found.Parsed)
			}
		}
		if got != c.want {
			t.Errorf("%+v gave %q, want %q", c.f, got, c.want)
		}
	}
}

func disposals(w *world) {
	t := w.t
	watch := w.watch(w.granted("desk@example.org"))
	k := w.batch(watch, "1", "2")
	_, err := w.Keep(w.ctx, k)
	must(t, err)
	d := fetch.Disposed{
		MailboxID: watch.Mailbox.ID, Fence: watch.Lease.Fence, Folder: "INBOX", UIDValidity: 7, UIDs: []uint32{1, 99}, What: "move: Done",
		Event: about(event.DisposeRefused, watch.Mailbox),
	}
	must(t, w.Disposed(w.ctx, d))
	for i, want := range []string{"move: Done", ""} {
		found, err := w.Message(w.ctx, k.Messages[i].ID)
		must(t, err)
		if found.Disposed != want {
			t.Errorf("message %d: %q, want %q", i, found.Disposed, want)
		}
	}
	if w.events(event.DisposeRefused) != 1 {
		t.Error("its event is not there")
	}
	d.Fence--
	wantFault(t, w.Disposed(w.ctx, d), "work.fenced", fault.Conflict)
}

func submissionFilters(w *world) {
	t := w.t
	var ids []string
	for i, subject := range []string{"Printer", "Lift", "Printer again"} {
		v := submission("", "body")
		v.Subject, v.CreatedAt = subject, noon().Add(time.Duration(i)*time.Hour)
		if i == 2 {
			v.MailboxID, v.Envelope.ForwardPaths = "other", []string{"Rare@example.net"}
		}
		_, _, err := w.Accept(w.ctx, v, []byte("body"), accepted(v))
		must(t, err)
		ids = append(ids, v.ID)
	}
	v := w.claimed(ids[0], 0)
	must(t, w.Settle(w.ctx, outbox.Settlement{ID: v.ID, Fence: v.Lease.Fence, State: outbox.Failed, Now: noon(), Event: accepted(v)}))
	for _, c := range []struct {
		f    outbox.Filter
		want string
	}{
		{outbox.Filter{}, "210"},
		{outbox.Filter{States: []outbox.State{outbox.Queued, outbox.Sending}}, "21"},
		{outbox.Filter{States: []outbox.State{outbox.Failed}}, "0"},
		{outbox.Filter{States: []outbox.State{outbox.Queued}, MailboxIDs: []string{"m"}}, "1"},
		{outbox.Filter{Text: "printer"}, "20"},
		{outbox.Filter{Text: "rare@EXAMPLE.net"}, "2"},
		{outbox.Filter{Text: "printer", States: []outbox.State{outbox.Queued}}, "2"},
		{outbox.Filter{Since: noon().Add(time.Hour), Until: noon().Add(2 * time.Hour)}, "1"},
	} {
		page, err := w.Submissions(w.ctx, c.f)
		must(t, err)
		got := ""
		for _, found := range page.Submissions {
			for i, id := range ids {
				if id == found.ID {
					got += fmt.Sprint(i)
				}
			}
		}
		if got != c.want {
			t.Errorf("%+v gave %q, want %q", c.f, got, c.want)
		}
	}
}
