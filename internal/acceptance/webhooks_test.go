package acceptance_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// choose ticks or unticks a box of a form.
func (v *visitor) choose(name, value string) {
	v.t.Helper()
	box := fmt.Sprintf(`document.querySelector('input[name="%s"][value="%s"]')`, name, value)
	if before, after := v.evaluate(`String(`+box+`.checked)`), v.evaluate(box+`.click() ?? String(`+box+`.checked)`); before == after {
		v.t.Fatalf("%s stays %s", value, before)
	}
}

// happens writes an event about the mailbox of the story.
func (s *site) happens(t *testing.T, mailboxID, text string) {
	t.Helper()
	must(t, s.Store.WriteEvent(t.Context(), event.New(s.now(), event.MessageReceived, event.System(), text).About(mailboxID, directory.StoryDesk)))
}

func (s *site) standing(t *testing.T, name string) webhook.Standing {
	t.Helper()
	h, err := s.Webhooks.Get(t.Context(), name)
	must(t, err)
	all, err := s.Webhooks.Standings(t.Context())
	must(t, err)
	return all[h.ID]
}

// webhookPages are webhooks and their deliveries.
func webhookPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	box := s.addMailbox(t, directory.StoryDesk, "")
	a := openReceiver(t, answers(http.StatusServiceUnavailable))
	v := s.visit(t, chromium)
	v.becomeOperator()
	step := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			v.t = t
			test(t)
			v.clean()
		})
	}
	step("an empty list teaches what a webhook is", func(*testing.T) {
		v.open(s.base + "/webhooks")
		v.says(v.heading("Webhooks"), "No webhook yet", "mailgrant webhook create")
		v.click(`main a[href="/new/webhook"]`)
		v.heading("Add a webhook")
	})
	step("every mistake is told beside its field, and what was typed stays", func(t *testing.T) {
		v.fill("#name", "Service Desk")
		v.fill("#url", "http://10.0.0.1/hook")
		v.fill("#mailboxes", "nobody")
		v.fill("#secret", "short")
		v.fill("#ca_pem", "none")
		v.click(".card-footer button")
		v.awaitText("#name-help.invalid-feedback", "not a usable name")
		v.awaitText("#url-help.invalid-feedback", "10.0.0.1")
		v.awaitText("#mailboxes-help.invalid-feedback", "nobody")
		v.awaitText("#secret-help.invalid-feedback", "24 to 512")
		v.awaitText("#ca_pem-help.invalid-feedback", "no certificate")
		for selector, want := range map[string]string{"#name": "Service Desk", "#url": "http://10.0.0.1/hook", "#secret": "", `input[value="message.received"]:checked`: "message.received"} {
			if got := v.evaluate(fmt.Sprintf(`document.querySelector(%q).value`, selector)); got != want {
				t.Errorf("%s holds %q, want %q", selector, got, want)
			}
		}
	})
	step("the secret is shown once", func(t *testing.T) {
		v.fill("#name", "service-desk")
		v.fill("#url", a.url)
		v.fill("#mailboxes", directory.StoryDesk)
		v.fill("#ca_pem", "")
		v.choose("events", "grant.*")
		v.click(".card-footer button")
		v.says(v.heading("service-desk"), "The signing secret of service-desk", "shown this once", "message.received", "grant.*", directory.StoryDesk, "Nothing that it asks for has happened yet")
		secret := v.text("#fresh-secret")
		v.clean()
		v.open(s.base + "/webhooks/service-desk")
		if text := v.heading("service-desk"); !strings.HasPrefix(secret, "whsec_") || strings.Contains(text, secret) {
			t.Errorf("the secret is shown again")
		}
		v.open(s.base + "/webhooks")
		v.says(v.heading("Webhooks"), "service-desk", a.url, "on", "never")
	})
	// From here on the receiver can check what it gets.
	_, _, err := s.Webhooks.RotateSecret(t.Context(), byOperator, "service-desk", webhook.Rotation{Secret: seal.NewSecret(receiverSecret)})
	must(t, err)
	step("a test says what the receiver answers", func(*testing.T) {
		v.open(s.base + "/webhooks/service-desk")
		v.click(`form[action$="/test"] button`)
		v.awaitText(".alert-danger", "The receiver answered 503 Service Unavailable")
		v.clean()
		a.becomes(answers(http.StatusNoContent))
		v.click(`form[action$="/test"] button`)
		v.awaitText(".alert-success", "Taken: 204 No Content")
	})
	step("a delivery that fails is shown with its answer, and tried at once when asked", func(t *testing.T) {
		a.becomes(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "The desk is closed.", http.StatusInternalServerError)
		})
		s.happens(t, box.ID, "The first message arrived.")
		s.happens(t, box.ID, "The second message arrived.")
		v.await("it was tried", func() bool {
			waiting, err := s.Webhooks.Deliveries(t.Context(), "service-desk", webhook.Filter{State: webhook.Waiting})
			return err == nil && len(waiting) == 2 && waiting[1].Delivery.Attempts == 1
		})
		v.open(s.base + "/webhooks/service-desk?show=pending")
		v.says(v.heading("service-desk"), "Waiting (2)", "not taken yet", "The receiver answered 500", "waits", "none yet")
		v.clean()
		v.click("tbody tr:last-child a")
		v.says(v.heading("message.received"), "The first message arrived.", "The desk is closed.", "webhook-id", "webhook-signature", `"type": "message.received"`, "Try it now")
		v.clean()
		a.becomes(answers(http.StatusNoContent))
		v.click(`form[action$="/replay"] button`)
		v.awaitText(`[role="status"]`, "made again")
		v.await("both are delivered", func() bool { return s.standing(t, "service-desk").Waiting == 0 })
		v.open(s.base + "/webhooks/service-desk")
		v.says(v.heading("service-desk"), "delivered", "204 No Content", "just now")
	})
	step("what is parked is made again, all of it", func(t *testing.T) {
		a.becomes(answers(http.StatusInternalServerError))
		s.happens(t, box.ID, "The third message arrived.")
		v.await("it was tried", func() bool {
			waiting, err := s.Webhooks.Deliveries(t.Context(), "service-desk", webhook.Filter{State: webhook.Waiting})
			return err == nil && len(waiting) == 1 && waiting[0].Delivery.Attempts > 0
		})
		s.advance(25 * time.Hour)
		v.await("it is parked", func() bool { return s.standing(t, "service-desk").Parked == 1 })
		v.open(s.base + "/login/local") // the session ended in that day
		v.fillSignIn(operatorName, operatorPassword)
		v.heading("Mailboxes")
		v.open(s.base + "/webhooks")
		v.click(`a[href="/webhooks/service-desk?show=parked"]`)
		v.says(v.heading("service-desk"), "1 delivery is parked", "Deliver it again")
		v.clean()
		a.becomes(answers(http.StatusNoContent))
		v.click(`.alert form[action$="/replay"] button`)
		v.awaitText(`[role="status"]`, "made again, in order")
		v.await("it is delivered", func() bool {
			now := s.standing(t, "service-desk")
			return now.Waiting == 0 && now.Parked == 0
		})
	})
	step("a receiver that is gone switches it off; it is switched on by a button", func(t *testing.T) {
		a.becomes(answers(http.StatusGone))
		s.happens(t, box.ID, "The fourth message arrived.")
		v.await("it is off", func() bool {
			h, err := s.Webhooks.Get(t.Context(), "service-desk")
			return err == nil && h.Disabled != ""
		})
		v.open(s.base + "/webhooks")
		v.says(v.heading("Webhooks"), "off: receiver gone", "410 Gone")
		v.clean()
		v.open(s.base + "/webhooks/service-desk")
		v.says(v.heading("service-desk"), "This webhook is off", "1 delivery keeps its place")
		v.clean()
		a.becomes(answers(http.StatusNoContent))
		v.click(`form[action$="/enable"] button`)
		v.awaitText(`[role="status"]`, "The webhook is on")
		v.await("what waited is delivered", func() bool { return s.standing(t, "service-desk").Waiting == 0 })
	})
	step("a new secret, a change, off and away", func(*testing.T) {
		v.open(s.base + "/webhooks/service-desk")
		v.click(`details:has(form[action$="/secret"]) summary`)
		v.click(`form[action$="/secret"] button`)
		v.awaitText("#secret-heading", "The signing secret of service-desk")
		v.says(v.heading("service-desk"), "signed with the previous secret too")
		v.clean()
		v.open(s.base + "/webhooks/service-desk/change")
		v.heading("Change service-desk")
		v.clean()
		v.fill("#mailboxes", "")
		v.click(".card-footer button")
		v.awaitText(`[role="status"]`, "The webhook was changed")
		v.says(v.heading("service-desk"), "all, and events that are about no mailbox")
		v.click(`details:has(form[action$="/disable"]) summary`)
		v.click(`form[action$="/disable"] button`)
		v.awaitText(`[role="status"]`, "The webhook is off")
		v.clean()
		v.click(`details:has(form[action$="/remove"]) summary`)
		v.click(`form[action$="/remove"] button`)
		v.awaitText(`[role="status"]`, "The webhook was removed")
		v.open(s.base + "/webhooks/service-desk")
		v.says(v.heading("Not found"), "No webhook is called service-desk")
	})
}
