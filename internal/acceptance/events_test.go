package acceptance_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// eventPages are the timeline over everything, what it is asked for, and what
// comes while one looks.
func eventPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	desk := s.addMailbox(t, directory.StoryDesk, "")
	must(t, s.Store.WriteEvent(t.Context(), event.New(s.now(), event.GrantDead, event.System(), "The grant ended.").About(desk.ID, desk.Address).
		With("who", "mailbox_owner").With("message_id", "some-message").With("subject", "<b>bold\u202E\x07")))
	t.Run("it tells what happened, and what people did", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/events")
		v.says(v.heading("Events"), "The grant ended", "attention", "mailbox.created", "operator "+operatorName, "the message")
		if html := v.evaluate(`document.querySelector("#events").innerHTML`); !strings.Contains(html, "&lt;b&gt;bold\uFFFD\uFFFD") {
			t.Errorf("the details are not shown as text: %s", html)
		}
		v.clean()
		v.click(`a[href*="by="]`)
		v.await("only people are left", func() bool {
			text, err := v.try(`document.readyState === "complete" ? document.querySelector("#events").innerText : "ended"`)
			return err == nil && !strings.Contains(text, "ended")
		})
		v.says(v.evaluate(`document.querySelector("#events").innerText`), "mailbox.created")
		v.open(s.base + "/events?attention=1")
		v.says(v.heading("Events"), "The grant ended")
		if n := v.evaluate(`String(document.querySelectorAll("#events > li").length)`); n != "1" {
			t.Errorf("%s events need attention", n)
		}
		v.clean()
	})
	t.Run("it is searched, and says beside a field what is wrong with it", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/events")
		v.heading("Events")
		v.click(".mg-filters summary")
		v.fill("#name", operatorName)
		v.fill("#text", "mailbox")
		v.tabTo(".mg-search button")
		v.keys(enter)
		v.await("it is found", func() bool {
			n, _ := v.try(`String(document.querySelectorAll("#events > li").length)`)
			return n == "1"
		})
		v.says(v.evaluate(`document.querySelector("#events").innerText`), "mailbox.created")
		v.clean()
		v.open(s.base + "/events?kind=no.such&mailbox=nobody@example.org&until=soon&by=martian")
		v.awaitText("#until-help", "“soon” is not a time")
		v.says(v.evaluate(`document.querySelector("main").innerText`), "No event is called", "There is no mailbox nobody@example.org", "names nobody")
		if got := v.evaluate(`document.querySelector("#until").value`); got != "soon" {
			t.Errorf("the field holds %q", got)
		}
		v.clean()
		v.open(s.base + "/events?text=nothing+of+the+kind")
		v.says(v.heading("Events"), "Nothing is like this")
		v.clean()
	})
	t.Run("what comes is seen, and moves nothing until one asks", func(t *testing.T) { v.t = t; follows(t, s, v) })
	t.Run("it can be taken along, an event a line", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/events?kind=mailbox.*")
		v.heading("Events")
		text := v.promised(`fetch(document.querySelector("a[download]").href).then(async (r) => r.headers.get("Content-Type") + "\n" + r.headers.get("Content-Disposition") + "\n" + await r.text())`)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if lines[0] != "application/x-ndjson" || !strings.HasPrefix(lines[1], `attachment; filename="events-`) || len(lines) < 3 {
			t.Fatalf("got %s", text)
		}
		for _, l := range lines[2:] {
			var e event.Event
			if err := json.Unmarshal([]byte(l), &e); err != nil || !strings.HasPrefix(string(e.Kind), "mailbox.") {
				t.Errorf("%s: %v", l, err)
			}
		}
	})
	t.Run("pages go back in time, without scripts too", func(t *testing.T) {
		for range 60 {
			must(t, s.Store.WriteEvent(t.Context(), event.New(s.now(), event.MailboxTested, event.System(), "Tested.").About(desk.ID, desk.Address)))
		}
		u := s.visit(t, chromium)
		u.open(s.base + "/login/local")
		u.fillSignIn(operatorName, operatorPassword)
		u.heading("Mailboxes")
		u.withoutScripts()
		u.open(s.base + "/events?kind=mailbox.tested")
		u.heading("Events")
		if got := u.evaluate(`String(document.querySelector("[data-live]").hidden)`); got != "true" {
			t.Error("what needs scripts is offered without them")
		}
		u.click(`a[rel="next"]`)
		u.await("the next page", func() bool {
			n, _ := u.try(`String(document.querySelectorAll("#events > li").length)`)
			return n == "10"
		})
		u.says(u.heading("Events"), "Newest")
		u.clean()
	})
}

// follows looks at a timeline while something happens.
func follows(t *testing.T, s *site, v *visitor) {
	v.open(s.base + "/events?text=mailbox")
	v.heading("Events")
	rows := func() string { return v.evaluate(`String(document.querySelectorAll("#events > li").length)`) }
	before := rows()
	v.tabTo("[data-live] button")
	v.outlined()
	v.keys(enter)
	v.awaitText("[data-live] [role=status]", "Following")
	must(t, s.Connect.Mailboxes.Pause(t.Context(), directory.StoryDesk, byOperator))
	v.awaitText("[data-live] .btn-primary", "1 new event")
	must(t, s.Connect.Mailboxes.Resume(t.Context(), directory.StoryDesk, byOperator))
	must(t, s.Store.WriteEvent(t.Context(), event.New(s.now(), event.KeysRotated, event.System(), "Not asked for.")))
	v.awaitText("[data-live] .btn-primary", "2 new events")
	if now := rows(); now != before {
		t.Errorf("%s rows became %s by themselves", before, now)
	}
	v.clean()
	v.click("[data-live] .btn-primary")
	v.awaitText("#events > li", "mailbox.resumed")
	v.says(v.evaluate(`document.querySelector("#events").innerText`), "mailbox.paused")
	v.click("[data-live] button")
	v.awaitText("[data-live] button", "Follow what comes")
	v.click("[data-live] button")
	must(t, s.Connect.Mailboxes.Pause(t.Context(), directory.StoryDesk, byOperator))
	v.awaitText("[data-live] .btn-primary", "1 new event") // and none of before once more
	// The list is read anew while something waits: it stands there once all the same.
	v.promised(`fetch(location.href).then(async (r) => {
		document.querySelector("#events").replaceWith(new DOMParser().parseFromString(await r.text(), "text/html").querySelector("#events"));
		return "read"
	})`)
	anew := rows()
	v.click("[data-live] .btn-primary")
	v.await("nothing waits", func() bool {
		hidden, err := v.try(`String(document.querySelector("[data-live] .btn-primary").hidden)`)
		return err == nil && hidden == "true"
	})
	if now := rows(); now != anew {
		t.Errorf("a list of %s events that was read anew became one of %s", anew, now)
	}
	must(t, s.Connect.Mailboxes.Resume(t.Context(), directory.StoryDesk, byOperator))
	v.awaitText("[data-live] .btn-primary", "1 new event")
	v.clean()
	v.click("header form button") // signed out: within a minute the stream ends, and none begins again
	v.heading("Sign in")
	if got := v.promised(`fetch("/events/live", {redirect: "manual"}).then((r) => r.type)`); got != "opaqueredirect" {
		t.Errorf("a stream for nobody: %s", got)
	}
	v.fillSignIn(operatorName, operatorPassword)
	v.heading("Mailboxes")
}
