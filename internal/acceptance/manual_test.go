package acceptance_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// manualPage looks at the page about the API, which nobody has to sign in for:
// every operation, event and problem is on it, and every link within it leads
// somewhere.
func manualPage(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.open(s.base + "/docs")
	v.heading("The API")
	text := v.evaluate(`document.querySelector("main").textContent`)
	var described struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/openapi.json", nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	raw, err := io.ReadAll(answer.Body)
	must(t, err)
	must(t, answer.Body.Close())
	must(t, json.Unmarshal(raw, &described))
	there := map[string]bool{}
	for _, id := range strings.Fields(v.evaluate(`[...document.querySelectorAll("article")].map((a) => a.id + ":" + a.querySelector("h3 code").textContent).join(" ")`)) {
		there[id] = true
	}
	operations := 0
	for path, methods := range described.Paths {
		for _, o := range methods {
			operations++
			if !there[o.OperationID+":"+path] {
				t.Errorf("%s is not on the page", o.OperationID)
			}
		}
	}
	if operations < 40 {
		t.Errorf("only %d operations", operations)
	}
	for _, k := range event.Kinds() {
		if !strings.Contains(text, string(k.Kind)) {
			t.Errorf("the event %s is not on the page", k.Kind)
		}
	}
	for _, word := range []string{"$MAILGRANT_API_KEY", "idempotency.key_reused", "webhook-signature", "Last-Event-ID", "urn:mailgrant:problem:"} {
		if !strings.Contains(text, word) {
			t.Errorf("%s is not on the page", word)
		}
	}
	if lost := v.evaluate(`[...document.querySelectorAll("a[href^='#']")].map((a) => a.getAttribute("href").slice(1)).filter((id) => !document.getElementById(id)).join(" ")`); lost != "" {
		t.Errorf("links that lead nowhere: %s", lost)
	}
	v.clean()
}
