package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/web"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// hidden is what a page holds in a hidden field.
func hidden(t *testing.T, page, name string) string {
	t.Helper()
	found := regexp.MustCompile(`<input type="hidden" name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page has no hidden %s: %s", name, page)
	}
	return found[1]
}

func (d *desk) page(t *testing.T, cookies []*http.Cookie, target string) string {
	t.Helper()
	return body(t, d.do(t, http.MethodGet, target, nil, with(cookies)))
}

func TestApp_AChangeInTheMeantimeIsTold(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	cookies, anna := d.signIn(t, "").Cookies(), access.Local(0).Actor
	if _, _, err := d.access.CreateAPIKey(t.Context(), anna, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}}); err != nil {
		t.Fatal(err)
	}
	typed := url.Values{"may": {"read"}, "networks": {"10.1.0.0/16"}, "version": {hidden(t, d.page(t, cookies, "/apps/desk/change"), "version")}}
	if _, err := d.access.ChangeAPIKey(t.Context(), anna, access.KeyRequest{Name: "desk", May: []access.Right{access.Send}, ExpiresAt: at(t, "2099-05-01T17:30:00Z")}); err != nil {
		t.Fatal(err)
	}
	code, page := d.post(t, cookies, "/apps/desk/change", typed)
	if code != http.StatusConflict || !strings.Contains(page, "Somebody else changed this app in the meantime") {
		t.Fatalf("%d: %s", code, page)
	}
	for _, want := range []string{"Rights: send", "Ends on: 2099-05-01", "Networks: nothing", "10.1.0.0/16</textarea>"} {
		if !strings.Contains(strings.ReplaceAll(page, "<wbr>", ""), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if k, err := d.access.APIKey(t.Context(), "desk"); err != nil || k.May[0] != access.Send || k.ExpiresAt.IsZero() {
		t.Errorf("it was saved all the same: %+v, %v", k, err)
	}
	typed.Set("version", hidden(t, page, "version"))
	if code, _ := d.post(t, cookies, "/apps/desk/change", typed); code != http.StatusSeeOther {
		t.Errorf("saved again: %d", code)
	}
	if k, err := d.access.APIKey(t.Context(), "desk"); err != nil || k.May[0] != access.Read || len(k.Networks) != 1 || !k.ExpiresAt.IsZero() {
		t.Errorf("stored is %+v, %v", k, err)
	}
}

func TestWebhook_AChangeInTheMeantimeIsTold(t *testing.T) {
	t.Parallel()
	var hooks *webhook.Webhooks
	d := open(t, func(o *web.Options) {
		keys, err := seal.NewKeyset()
		if err != nil {
			t.Fatal(err)
		}
		store, is := o.Reads.(webhook.Store)
		if !is {
			t.Fatal("the store keeps no webhooks")
		}
		hooks = webhook.New(webhook.Options{Store: store, Keys: keys, Owner: "test"})
		o.Webhooks = hooks
	})
	cookies := d.signIn(t, "").Cookies()
	in := webhook.Input{Name: "desk", URL: "https://desk.example/hook", Events: []event.Pattern{"message.received"}}
	if _, _, err := hooks.Save(t.Context(), event.System(), in); err != nil {
		t.Fatal(err)
	}
	typed := url.Values{"url": {"https://desk.example/other"}, "events": {"message.received"}, "version": {hidden(t, d.page(t, cookies, "/webhooks/desk/change"), "version")}}
	in.Events, in.Mailboxes = []event.Pattern{"grant.*", "message.received"}, []string{"a@b.test"}
	if _, _, err := hooks.Save(t.Context(), event.System(), in); err != nil {
		t.Fatal(err)
	}
	code, page := d.post(t, cookies, "/webhooks/desk/change", typed)
	if code != http.StatusConflict || !strings.Contains(page, "Somebody else changed this webhook in the meantime") {
		t.Fatalf("%d: %s", code, page)
	}
	for _, want := range []string{"Events: grant.*, message.received", `Mailboxes: <span class="mg-whole">a@b.test</span>`, "URL: https://desk.example/hook", `value="https://desk.example/other"`} {
		if !strings.Contains(strings.ReplaceAll(page, "<wbr>", ""), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if h, err := hooks.Get(t.Context(), "desk"); err != nil || h.URL != in.URL || len(h.Mailboxes) != 1 {
		t.Errorf("it was saved all the same: %+v, %v", h, err)
	}
	typed.Set("version", hidden(t, page, "version"))
	if code, _ := d.post(t, cookies, "/webhooks/desk/change", typed); code != http.StatusSeeOther {
		t.Errorf("saved again: %d", code)
	}
	if h, err := hooks.Get(t.Context(), "desk"); err != nil || h.URL != typed.Get("url") || len(h.Events) != 1 || len(h.Mailboxes) != 0 {
		t.Errorf("stored is %+v, %v", h, err)
	}
}

func TestLink_OneThatIsOutIsNotCancelledUnasked(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	m, now := d.add(t), time.Now()
	l := connect.Link{ID: event.NewID(), Hash: []byte("hash"), MailboxID: m.ID, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	if err := d.store.CreateLink(t.Context(), l, event.New(now, event.LinkCreated, event.System(), "x")); err != nil {
		t.Fatal(err)
	}
	cookies := d.signIn(t, "").Cookies()
	r := d.do(t, http.MethodPost, "/mailboxes/"+box+"/link", nil, with(cookies))
	if to := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || to != "/mailboxes/"+box+"/connect?done=out" {
		t.Fatalf("%s to %q", r.Status, to)
	}
	if stored, err := d.store.LatestLink(t.Context(), m.ID); err != nil || stored.ID != l.ID || stored.State != connect.LinkPending {
		t.Errorf("the link is %+v, %v", stored, err)
	}
	page := d.page(t, cookies, "/mailboxes/"+box)
	if !strings.Contains(page, "Replace the link that is out") || hidden(t, page, "replaces") != l.ID {
		t.Error("the button does not say that it replaces the link")
	}
}

func TestMailboxForm_ARefusalWithoutAFieldStandsAbove(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	d.add(t)
	code, page := d.post(t, d.signIn(t, "").Cookies(), "/mailboxes", url.Values{"address": {"a@b.test"}, "provider": {"gone"}, "does": {"receive"}})
	_, alert, shown := strings.Cut(page, `alert-danger`)
	if code < 400 || code >= 500 || !shown || !strings.Contains(alert, "gone") {
		t.Errorf("%d, with an alert: %t", code, shown)
	}
}
