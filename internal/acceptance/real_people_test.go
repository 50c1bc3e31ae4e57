package acceptance_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/browser"
)

// Links and keys as pages and answers show them, once.
var (
	realSetupLink = regexp.MustCompile(`/setup/([\w-]{43})`)
	realAPIKey    = regexp.MustCompile(`mgk_[\w-]{43}`)
)

// team is what operators do about each other and about programs: invitations,
// passwords, keys made, renewed and used, on the pages and by the API.
func (s *realSecrets) team(t *testing.T) {
	window := browser.New(browser.Options{Transport: s.recorder})
	submit := func(w *browser.Browser, page, action string, values map[string]string, says string) string {
		t.Helper()
		must(t, w.Open(t.Context(), s.base+page))
		must(t, w.Submit(t.Context(), browser.Action(action), values))
		if !w.Page().Contains(says) {
			t.Fatalf("%s does not say %q, but: %s", action, says, w.Page().Text)
		}
		return w.Page().Text
	}
	submit(window, "/login/local", "/login/local", map[string]string{"name": "anna", "password": realOperatorPassword}, "Mailboxes")

	// Programs.
	key := realAPIKey.FindString(submit(window, "/new/app", "/apps", map[string]string{"name": "by-page"}, "The API key of by-page"))
	renewed := realAPIKey.FindString(submit(window, "/apps/by-page", "/renew", nil, "The new API key of by-page"))
	var made, again struct {
		APIKey string `json:"api_key"`
	}
	s.ask(t, http.MethodPut, "/v1/apps/by-put", map[string]any{"may": []string{"read"}}, &made)
	s.ask(t, http.MethodPost, "/v1/apps/by-put/key", nil, &again)
	for k, want := range map[string]int{key: 401, renewed: 200, made.APIKey: 401, again.APIKey: 200} {
		status, _, err := realCall(t.Context(), s.http, http.MethodGet, s.base+"/v1/mailboxes", http.Header{"Authorization": {"Bearer " + k}}, nil)
		if len(k) != 47 || err != nil || status != want {
			t.Errorf("a key of %d characters is answered with %d, want %d: %v", len(k), status, want, err)
		}
		s.try(t, http.MethodPut, "/v1/apps/by-put", map[string]any{"may": []string{"read"}, "networks": []string{k}}, http.StatusUnprocessableEntity)
	}
	for _, page := range []string{"/apps", "/apps/by-page", "/apps/by-page/change"} {
		must(t, window.Open(t.Context(), s.base+page))
	}

	// People: bob by a page, carla through the socket.
	link := realSetupLink.FindString(submit(window, "/operators", "/operators", map[string]string{"name": "bob"}, "Send this link to bob"))
	other := realSetupLink.FindString(submit(window, "/operators/bob", "/link", nil, "Send this link to bob"))
	var carla struct {
		SetupLink struct{ URL string } `json:"setup_link"`
	}
	s.local(t, "/v1/operators", map[string]string{"name": "carla"}, &carla)
	_, secret, _ := strings.Cut(carla.SetupLink.URL, "/setup/")
	s.m.add("set-up link", secret)
	bob := browser.New(browser.Options{Transport: s.recorder})
	must(t, bob.Open(t.Context(), s.base+link))
	passwords := []string{"marker-shrt", "marker-bobs-first-password-51", "marker-bobs-wrong-password-52", "marker-bobs-second-password-53"}
	s.m.add("password", passwords...)
	submit(bob, other, other, map[string]string{"password": passwords[0]}, "at least 12")
	submit(bob, other, other, map[string]string{"password": passwords[1]}, "Mailboxes")
	change := func(old, fresh, says string) {
		t.Helper()
		submit(bob, "/me", "/me/password", map[string]string{"old_password": old, "password": fresh}, says)
	}
	change(passwords[2], passwords[3], "not your present password")
	change(passwords[1], passwords[3], "Your password was changed")
	for _, page := range []string{"/operators", "/operators/bob", "/operators/carla", "/me"} {
		must(t, window.Open(t.Context(), s.base+page))
	}
	submit(window, "/operators/bob", "/operators/bob/remove", nil, "The operator was removed")
	must(t, bob.Open(t.Context(), s.base+"/me"))
	submit(window, "/", "/logout", nil, "Sign in")
}
