package acceptance_test

import (
	"os"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestPicturesOfMail walks through messages, submissions, events and the
// inspector.
func TestPicturesOfMail(t *testing.T) {
	wanted := os.Getenv("MAILGRANT_TEST_PICTURES")
	if wanted == "" {
		t.Skip("set MAILGRANT_TEST_PICTURES=1 to take pictures for docs/pictures, =all for every width and scheme")
	}
	w := &walk{site: openSite(t, 0), chromium: testbed.StartChromium(t, testbed.ChromiumOptions{}), t: t, all: wanted == "all"}
	must(t, os.MkdirAll(picturesFolder, 0o755))
	v := w.visitor()
	v.becomeOperator()
	w.see(v, "/messages", "Messages", "messages-empty")
	w.see(v, "/submissions", "Submissions", "submissions-empty")
	w.connected(t, w.chromium)
	w.messages(v)
	w.submissions(v)
	w.events(v)
	w.inspector(v)
}

// see opens a page and takes its picture.
func (w *walk) see(v *visitor, path, heading, name string) {
	w.t.Helper()
	v.open(w.base + path)
	v.heading(heading)
	w.take(v, name)
}

func (w *walk) messages(v *visitor) {
	_, _, err := w.Webhooks.Save(w.t.Context(), byOperator, webhook.Input{Name: "desk", URL: "https://desk.example/hook", Events: []event.Pattern{"message.*"}})
	must(w.t, err)
	html := `<div style="font-family:Georgia,serif;color:#234"><h1 style="color:#06c">Your invoice</h1><p>Please find the invoice of November enclosed.</p><img src="https://elsewhere.example/logo.png" alt="a logo from elsewhere"><p><a href="https://elsewhere.example/pay">Pay now</a></p></div>`
	all := tortures()
	for _, name := range []string{"a subject without space", "right to left", "turned around", "hostile HTML", "hostile names", "broken charset"} {
		w.arrives(w.t, v, all[name])
	}
	letterOf := w.arrives(w.t, v, letter("--x\r\nContent-Type: text/plain\r\n\r\nGood morning,\r\n\r\nplease find the invoice of November enclosed.\r\n\r\nKind regards\r\nAdele\r\n--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"+html+
		"\r\n--x\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"Invoice November.pdf\"\r\n\r\nJVBERi0xLjQK\r\n--x--\r\n",
		"From: Adele Vance <AdeleV@vbcpn.example>", "To: Service Desk <"+directory.StoryDesk+">", "Cc: Bert <bert@example.org>", "Subject: Invoice November", "Message-ID: <7b1d@vbcpn.example>",
		"In-Reply-To: <2f9c@vbcpn.example>", "Date: Tue, 24 Nov 2026 09:00:00 +0000", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=x"))
	w.see(v, "/messages", "Messages", "messages")
	w.see(v, "/messages?text=invoice&mailbox=nobody@example.org", "Messages", "messages-refused")
	w.see(v, "/messages?text=nothing", "Messages", "messages-nothing")
	for _, show := range []string{"text", "html", "header"} {
		w.see(v, "/messages/"+letterOf.ID+"?show="+show, "Invoice November", "message-"+show)
	}
	strange := w.arrives(w.t, v, all["turned around"])
	w.see(v, "/messages/"+strange.ID, "invoice", "message-strange")
	rtl := w.arrives(w.t, v, all["right to left"])
	w.see(v, "/messages/"+rtl.ID, "42", "message-right-to-left")
}

func (w *walk) submissions(v *visitor) {
	w.see(v, "/submissions/new", "Send a message", "submission-new")
	v.fill("#to", "you@example.org, not an address")
	v.fill("#subject", "The printer")
	v.click("main form button")
	v.awaitText("#to-help", "is not a mail address")
	w.take(v, "submission-refused")
	send := func(from, subject string) outbox.Submission {
		s, _, err := w.Outbox.Submit(w.t.Context(), outbox.Request{
			Actor: event.Actor{Kind: event.ActorAPIKey, Name: "erp"}, Caller: "api_key:erp", Mailbox: from,
			Draft: &message.Draft{To: []message.Party{{Address: directory.StoryAdele}}, Subject: subject, Text: "It is out of paper."},
		})
		must(w.t, err)
		return s
	}
	scans := w.addMailbox(w.t, directory.StoryScans, "")
	send(directory.StoryDesk, "Re: Invoice November")
	v.await("it is sent", func() bool { return w.newestSubmission(w.t).State == outbox.Sent })
	w.see(v, "/submissions/"+w.newestSubmission(w.t).ID, "Re: Invoice", "submission-sent")
	waits := send(scans.Address, "Scan of the second floor")
	w.settlesAs(w.t, v, outbox.Queued)
	off := send(scans.Address, "Sent by mistake")
	w.settlesAs(w.t, v, outbox.Queued)
	_, err := w.Outbox.Cancel(w.t.Context(), off.ID, byOperator)
	must(w.t, err)
	twice := send(scans.Address, "On a broken wire")
	w.settlesAs(w.t, v, outbox.Queued)
	claimed, err := w.Store.ClaimSubmission(w.t.Context(), twice.ID, "test", w.now().Add(time.Hour), w.now().Add(2*time.Hour))
	must(w.t, err)
	f := &fault.Error{ID: "smtp.recipient_refused", Text: "The mail server refuses the recipient: 550 5.1.1 User unknown.", Remedy: "Correct the address, and send the message again.", Who: []fault.Who{fault.Operator}}
	must(w.t, w.Store.Settle(w.t.Context(), outbox.Settlement{
		ID: twice.ID, Fence: claimed.Lease.Fence, State: outbox.Failed, PossiblyDuplicated: true, Reply: "550 5.1.1 User unknown", Cause: f.ID, CauseText: f.Text, Remedy: f.Remedy, Now: w.now(),
		Event: event.New(w.now(), event.SubmissionFailed, event.System(), "A message to "+directory.StoryAdele+" cannot be sent: "+f.Text).About(scans.ID, scans.Address).Because(f).With("submission_id", twice.ID),
	}))
	w.see(v, "/submissions", "Submissions", "submissions")
	w.see(v, "/submissions/"+waits.ID, "Scan of the second floor", "submission-waits")
	v.click("summary.btn-outline-danger")
	w.take(v, "submission-cancel")
	w.see(v, "/submissions/"+twice.ID, "On a broken wire", "submission-failed")
}

func (w *walk) events(v *visitor) {
	w.see(v, "/events", "Events", "events")
	v.click("[data-live] button")
	v.awaitText("[data-live] [role=status]", "Following")
	must(w.t, w.Connect.Mailboxes.Pause(w.t.Context(), directory.StoryScans, byOperator))
	v.awaitText("[data-live] .btn-primary", "1 new event")
	v.click(".mg-filters summary")
	v.click("#events summary")
	w.take(v, "events-live")
	w.see(v, "/events?attention=1", "Events", "events-attention")
	w.see(v, "/events?until=soon", "Events", "events-refused")
}

func (w *walk) inspector(v *visitor) {
	w.see(v, "/inspect", "Inspector", "inspector")
	m, err := w.Connect.Mailboxes.Get(w.t.Context(), directory.StoryDesk)
	must(w.t, err)
	token, _, err := w.Broker.Lend(w.t.Context(), m.ID, provider.ResourceMail, time.Minute)
	must(w.t, err)
	v.fill("#token", "Bearer "+token.Reveal())
	v.fill("#mailbox", directory.StoryScans)
	v.click("main form button")
	v.awaitText("#report", "will not do")
	w.take(v, "inspector-wrong")
	v.fill("#mailbox", directory.StoryDesk)
	v.click("main form button")
	v.awaitText("#report", "as it has to be")
	w.take(v, "inspector-own")
	v.fill("#token", "AADSTS50011: the redirect URI")
	v.click("main form button")
	v.awaitText("#token-help", "not a token")
	w.take(v, "inspector-refused")
}
