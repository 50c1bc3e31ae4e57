package acceptance_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestPicturesOfPrograms takes pictures of what programs and operators have:
// webhooks, API keys, sign-ins.
func TestPicturesOfPrograms(t *testing.T) {
	wanted := os.Getenv("MAILGRANT_TEST_PICTURES")
	if wanted == "" {
		t.Skip("set MAILGRANT_TEST_PICTURES=1 to take pictures for docs/pictures, =all for every width and scheme")
	}
	w := &walk{site: openSite(t, 0), chromium: testbed.StartChromium(t, testbed.ChromiumOptions{}), t: t, all: wanted == "all"}
	must(t, os.MkdirAll(picturesFolder, 0o755))
	v := w.visitor()
	v.becomeOperator()
	w.webhooks(v)
	w.apps(v)
	w.operators(v)
}

func (w *walk) webhooks(v *visitor) {
	box := w.addMailbox(w.t, directory.StoryDesk, "")
	receiver := openReceiver(w.t, answers(http.StatusInternalServerError))
	w.see(v, "/webhooks", "Webhooks", "webhooks-empty")
	w.see(v, "/new/webhook", "Add a webhook", "webhook-new")
	v.fill("#name", "Service Desk")
	v.fill("#url", "http://10.0.0.1/hook")
	v.click(".card-footer button")
	v.awaitText("#url-help.invalid-feedback", "10.0.0.1")
	w.take(v, "webhook-refused")
	v.fill("#name", "service-desk")
	v.fill("#url", receiver.url)
	v.click(".card-footer button")
	v.heading("service-desk")
	w.takeWithout(v, "#fresh-secret", "webhook-secret")
	_, _, err := w.Webhooks.RotateSecret(w.t.Context(), byOperator, "service-desk", webhook.Rotation{Secret: seal.NewSecret(receiverSecret)}) // the receiver checks what it gets
	must(w.t, err)
	w.happens(w.t, box.ID, "A message arrived.")
	v.await("it was tried", func() bool {
		waiting, err := w.Webhooks.Deliveries(w.t.Context(), "service-desk", webhook.Filter{State: webhook.Waiting})
		return err == nil && len(waiting) == 1 && waiting[0].Delivery.Attempts > 0
	})
	w.see(v, "/webhooks/service-desk", "service-desk", "webhook-waits")
	v.click("tbody tr:last-child a")
	v.heading("message.received")
	w.take(v, "webhook-delivery")
	w.advance(25 * time.Hour)
	v.await("it is parked", func() bool { return w.standing(w.t, "service-desk").Parked == 1 })
	v.open(w.base + "/login/local") // the session ended in that day
	v.fillSignIn(operatorName, operatorPassword)
	v.heading("Mailboxes")
	w.see(v, "/webhooks", "Webhooks", "webhooks")
	w.see(v, "/webhooks/service-desk?show=parked", "service-desk", "webhook-parked")
}

func (w *walk) apps(v *visitor) {
	w.see(v, "/apps", "Apps", "apps-empty")
	w.see(v, "/new/app", "Add an app", "app-new")
	v.fill("#name", "service-desk")
	v.fill("#networks", "10.0.0.0/99")
	v.click(".card-footer button")
	v.awaitText("#networks-help.invalid-feedback", "is not a network")
	w.take(v, "app-refused")
	v.fill("#networks", "10.0.0.0/8")
	v.click(".card-footer button")
	v.heading("service-desk")
	w.takeWithout(v, "#fresh-key", "app-key")
	w.see(v, "/apps", "Apps", "apps")
	v.open(w.base + "/apps/service-desk")
	v.heading("service-desk")
	v.click(".mg-confirm summary")
	w.take(v, "app-removal")
}

func (w *walk) operators(v *visitor) {
	w.see(v, "/operators", "Operators", "operators")
	w.see(v, "/operators/"+operatorName, operatorName, "operator")
	w.see(v, "/me", "Your sign-in", "own-sign-in")
}

// takeWithout takes a picture with dots in place of a secret.
func (w *walk) takeWithout(v *visitor, secret, name string) {
	w.t.Helper()
	v.evaluate(`document.querySelector("` + secret + `").textContent = "•".repeat(40)`)
	w.take(v, name)
}
