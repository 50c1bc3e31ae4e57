package acceptance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// submissionPages are sending a message, and what people do with one that waits.
func submissionPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	desk := s.addMailbox(t, directory.StoryDesk, "")
	t.Run("an empty list teaches", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/submissions")
		v.says(v.heading("Submissions"), "Nothing has been handed over", "Send a message")
		v.clean()
	})
	t.Run("what is wrong stands beside its field, and what was typed stays", func(t *testing.T) {
		v.t = t
		v.click(`a[href="/submissions/new"]`)
		v.says(v.heading("Send a message"), "No mailbox is connected that sends")
		v.fill("#mailbox", "nobody@example.org")
		v.fill("#to", "you@example.org, not an address")
		v.fill("#subject", "The printer")
		v.fill("#text", "It is out of paper.")
		v.click("main form button")
		v.awaitText("#to-help.invalid-feedback", "“not an address” is not a mail address")
		v.fill("#to", directory.StoryAdele)
		v.click("main form button")
		v.awaitText("#mailbox-help.invalid-feedback", "nobody@example.org")
		if got := v.evaluate(`["subject", "text", "to"].map((n) => document.getElementById(n).value).join(" | ")`); got != "The printer | It is out of paper. | "+directory.StoryAdele {
			t.Errorf("the fields hold %q", got)
		}
		v.clean()
	})
	t.Run("a message of a mailbox that nobody has authorised waits, and says for whom", func(t *testing.T) {
		v.t = t
		v.fill("#mailbox", desk.Address)
		v.click("main form button")
		v.says(v.heading("The printer"), "was accepted", directory.StoryAdele, desk.Address, "operator "+operatorName)
		s.settlesAs(t, v, outbox.Queued)
		v.open(v.Address(t))
		v.says(v.heading("The printer"), "Why it waits", "Given up", "Nobody has authorised the mailbox", "mailbox owner", "Try now", "Call it off")
		v.clean()
		v.open(s.base + "/submissions?show=waiting&text=PRINTER")
		v.says(v.heading("Submissions"), "The printer", "to "+directory.StoryAdele, "next try")
		v.clean()
	})
	t.Run("it can be tried at once, called off after a second look, and sent again", func(t *testing.T) {
		v.t = t
		v.click("td a")
		v.heading("The printer")
		v.click(`form[action$="/retry"] button`)
		v.awaitText(".alert-success", "It is tried at once")
		s.settlesAs(t, v, outbox.Queued)
		v.open(v.Address(t)) // which may have been shown while it was being tried
		v.heading("The printer")
		v.tabTo("summary.btn-outline-danger")
		v.outlined()
		v.keys(enter)
		v.says(v.evaluate(`document.querySelector(".mg-confirm").innerText`), "is not sent", "Call off the message to "+directory.StoryAdele)
		v.tabTo(`form[action$="/cancel"] button`)
		v.keys(enter)
		v.awaitText(".alert-success", "called off")
		v.says(v.heading("The printer"), "called off", "Send it again", "submission.cancelled")
		v.clean()
		old := v.Address(t)
		v.click(`form[action$="/again"] button`)
		v.awaitText(".alert-success", "This is the new submission")
		if now := v.Address(t); strings.TrimSuffix(now, "?done=again") == strings.TrimSuffix(old, "?done=cancel") {
			t.Error("it is the same submission")
		}
		v.says(v.heading("The printer"), directory.StoryAdele)
		v.open(old)
		v.click(`form[action$="/again"] button`) // the form has a key of its own: this is another one
		v.awaitText(".alert-success", "This is the new submission")
		v.clean()
	})
	t.Run("what is meanwhile done with is told, not done twice", func(t *testing.T) {
		v.t = t
		s.settlesAs(t, v, outbox.Queued)
		v.open(v.Address(t))
		v.heading("The printer")
		_, err := s.Outbox.Cancel(t.Context(), s.newestSubmission(t).ID, byOperator)
		must(t, err)
		v.click(`form[action$="/retry"] button`)
		v.awaitText(".alert-danger", "has ended")
		v.clean()
	})
	t.Run("the same form sent twice is one message, with its file", func(t *testing.T) { v.t = t; sentTwice(t, s, v) })
	t.Run("once authorised, it goes; without scripts too", func(t *testing.T) {
		owner := s.visit(t, chromium)
		owner.authorize(s.link(t, desk.Address), directory.StoryDesk)
		owner.heading(desk.Address + " is connected")
		v.t = t
		v.await("it is sent", func() bool { return s.newestSubmission(t).State == outbox.Sent })
		u := s.visit(t, chromium)
		u.open(s.base + "/login/local")
		u.fillSignIn(operatorName, operatorPassword)
		u.heading("Mailboxes")
		u.withoutScripts()
		u.open(s.base + "/submissions/new")
		u.fill("#to", directory.StoryAdele)
		u.fill("#subject", "Without scripts")
		u.click("main form button")
		u.heading("Without scripts")
		u.await("it is sent", func() bool { return s.newestSubmission(t).State == outbox.Sent })
		u.open(s.base + "/submissions?show=sent")
		u.says(u.heading("Submissions"), "Without scripts", "sent")
		u.click("td a")
		u.says(u.heading("Without scripts"), "Server's reply", "submission.sent", "submission.accepted")
		u.clean()
	})
}

func (s *site) newestSubmission(t *testing.T) outbox.Submission {
	t.Helper()
	page, err := s.Store.Submissions(t.Context(), outbox.Filter{Limit: 1})
	must(t, err)
	if len(page.Submissions) == 0 {
		return outbox.Submission{}
	}
	return page.Submissions[0]
}

// settlesAs waits until the newest submission has been tried and stands so.
func (s *site) settlesAs(t *testing.T, v *visitor, state outbox.State) {
	t.Helper()
	v.await("it is tried", func() bool {
		one := s.newestSubmission(t)
		return one.State == state && one.Cause != "" && one.NextAttemptAt.After(s.now())
	})
}

func sentTwice(t *testing.T, s *site, v *visitor) {
	v.open(s.base + "/submissions/new")
	v.heading("Send a message")
	v.fill("#mailbox", directory.StoryDesk)
	v.fill("#to", directory.StoryAdele)
	v.fill("#subject", "Twice")
	const send = `(async () => {
		const form = new FormData(document.querySelector("main form"));
		form.set("attachments", new File(["%s"], "../../x.html", {type: "text/html"}));
		const answer = await fetch("/submissions", {method: "POST", body: form});
		return answer.status + " " + new URL(answer.url).pathname + " " + (await answer.text()).includes("has been sent before");
	})()`
	first := v.promised(fmt.Sprintf(send, "one"))
	if second := v.promised(fmt.Sprintf(send, "one")); second != first || !strings.HasPrefix(first, "200 /submissions/") {
		t.Errorf("first %s, then %s", first, second)
	}
	if third := v.promised(fmt.Sprintf(send, "another file")); third != "422 /submissions true" {
		t.Errorf("another message under the same key: %s", third)
	}
	got := s.newestSubmission(t)
	if got.Subject != "Twice" {
		t.Errorf("the newest is %q", got.Subject)
	}
	raw := v.promised(fmt.Sprintf(`fetch("/submissions/%s/raw").then((r) => r.text())`, got.ID))
	if !strings.Contains(raw, "x.html") || strings.Contains(raw, "..") {
		t.Errorf("the message is %s", raw)
	}
}
