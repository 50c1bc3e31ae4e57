package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func TestRefusals(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	operations := s.operations(t)
	only := s.newKey(t, "desk-only", []access.Right{access.Read, access.Send, access.Token, access.Manage}, directory.StoryDesk)
	reader := s.newKey(t, "reader", []access.Right{access.Read})

	t.Run("every operation needs a key", func(t *testing.T) {
		for _, o := range operations {
			a := s.do(t, "", o.method, o.concrete(), nil)
			a.refused(t, 401, "access.no_api_key")
			if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="mailgrant"` {
				t.Errorf("%s: challenge %s", o.id, got)
			}
		}
	})
	t.Run("a key that is not good is an invalid token", func(t *testing.T) {
		a := s.do(t, "mgk_planted-wrong-key", "GET", "/v1/mailboxes", nil)
		a.refused(t, 401, "access.api_key_unknown")
		if !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) || strings.Contains(a.body, "planted") {
			t.Errorf("%s %s", a.header.Get("WWW-Authenticate"), a.body)
		}
	})
	t.Run("a right that is missing is named and nothing else", func(t *testing.T) {
		for path, right := range map[string]string{"/authorizations": "manage", "/token": "token", "/pause": "manage"} {
			for _, address := range []string{directory.StoryDesk, "nobody@example.org"} {
				a := s.do(t, reader, "POST", box(address)+path, nil)
				p := a.refused(t, 403, "access.forbidden")
				if p.Detail != "This API key lacks the right “"+right+"”." || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
					t.Errorf("%s: %s, %s", path, p.Detail, a.header.Get("WWW-Authenticate"))
				}
			}
		}
	})
	t.Run("a key of one mailbox manages no more than that", func(t *testing.T) {
		for _, c := range []struct {
			method, path string
			body         any
		}{
			{"POST", "/v1/apps", object{"name": "thief", "may": []string{"read"}}},
			{"GET", "/v1/apps", nil},
			{"GET", "/v1/apps/all", nil},
			{"PUT", "/v1/apps/desk-only", object{"may": []string{"manage"}}},
			{"POST", "/v1/apps/all/key", nil},
			{"DELETE", "/v1/apps/all", nil},
			{"POST", "/v1/keys/rotate", nil},
			{"GET", "/v1/providers", nil},
			{"PUT", "/v1/providers/contoso", s.provider()},
			{"DELETE", "/v1/providers/contoso", nil},
			{"POST", "/v1/providers/contoso/verify", nil},
			{"GET", "/v1/webhooks", nil},
			{"POST", "/v1/webhooks", object{"name": "thief", "url": "https://thief.example/", "events": []string{"*"}}},
			{"PUT", box(directory.StoryAdele), s.mailbox(directory.StoryAdele)},
			{"POST", "/v1/mailboxes", s.mailbox("new@" + directory.StoryDomain)},
		} {
			s.do(t, only, c.method, c.path, c.body).refused(t, 403, "access.forbidden")
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		for path, id := range map[string]string{
			box("nobody@example.org"): "mailbox.unknown", "/v1/providers/none": "provider.unknown", "/v1/webhooks/none": "webhook.unknown", "/v1/apps/none": "api_key.unknown",
			"/v1/messages/none": "message.unknown", "/v1/messages/none/raw": "message.unknown", "/v1/submissions/none": "submission.unknown",
			box(directory.StoryDesk) + "/authorizations/none": "link.unknown", "/v1/nothing": "api.no_such_path",
		} {
			s.do(t, s.key, "GET", path, nil).refused(t, 404, id)
		}
	})
	t.Run("what is there already", func(t *testing.T) {
		s.do(t, s.key, "POST", "/v1/providers", s.provider()).refusedWith(t, 409)
		s.do(t, s.key, "POST", "/v1/mailboxes", s.mailbox(directory.StoryDesk)).refusedWith(t, 409)
		s.do(t, s.key, "POST", "/v1/apps", object{"name": "reader", "may": []string{"read"}}).refusedWith(t, 409)
		s.do(t, s.key, "DELETE", "/v1/providers/contoso", nil).refusedWith(t, 409)
	})
	t.Run("a path says another name than its document", func(t *testing.T) {
		for _, path := range []string{"/v1/providers/other", "/v1/webhooks/other"} {
			s.do(t, s.key, "PUT", path, object{"name": "contoso", "kind": "microsoft", "client_id": "x", "url": "https://a.example", "events": []string{"*"}}).refusedWith(t, 422)
		}
	})
	t.Run("another method", func(t *testing.T) {
		a := s.do(t, s.key, "PATCH", box(directory.StoryDesk), nil)
		a.refused(t, 405, "api.method")
		if got := a.header.Get("Allow"); got != "GET, PUT, DELETE" {
			t.Errorf("Allow: %s", got)
		}
	})
	t.Run("a body that cannot be", func(t *testing.T) {
		for _, path := range []string{"/v1/providers", "/v1/mailboxes", "/v1/webhooks", "/v1/apps", "/v1/inspect", "/v1/submissions", box(directory.StoryDesk) + "/token"} {
			for _, body := range []string{`{"planted-value`, `{"client_secrets":"planted-value"}`, `[]`, `{"planted": 7} {}`, `"planted-value"`, `{"no_such_member":"planted-value"}`} {
				a := s.do(t, s.key, "POST", path, body)
				a.problem(t)
				if a.status != 400 && a.status != 422 || strings.Contains(a.body, "planted-value") {
					t.Errorf("%s %s: %d %s", path, body, a.status, a.body)
				}
			}
			s.do(t, s.key, "POST", path, `{}`, "Content-Type", "text/plain").refused(t, 415, "api.media_type")
		}
		s.do(t, s.key, "POST", "/v1/providers", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`).refused(t, 413, "api.too_large")
		s.do(t, s.key, "POST", "/v1/providers", nil).refusedWith(t, 400)
	})
	t.Run("another name of the server", func(t *testing.T) {
		if a := s.do(t, s.key, "GET", "/v1/mailboxes", nil, "Host", "evil.example"); a.status != http.StatusMisdirectedRequest {
			t.Errorf("%d %s", a.status, a.body)
		}
		for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
			if a := s.do(t, "", "GET", path, nil, "Host", "10.0.0.7"); a.status != 200 || a.body != want {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
	t.Run("no value comes back", func(t *testing.T) { s.noEcho(t) })
}

func (a answer) refusedWith(t *testing.T, status int) {
	t.Helper()
	if a.problem(t); a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
}

// noEcho plants a marker in every text of every document, one at a time: as it
// is, and where only a document's other members are right.
func (s *server) noEcho(t *testing.T) {
	full := s.provider()
	for _, name := range []string{"cloud", "issuer", "redirect_uri", "ca_pem", "identity_claim"} {
		full[name] = ""
	}
	full["authorize"] = object{"prompt": "login"}
	full["client_secrets"] = []any{object{"id": "", "value": "v", "expires_at": "2030-01-01T00:00:00Z"}}
	full["profiles"] = []any{object{"name": "p", "grant_type": "authorization_code", "scopes": []any{"openid"}}}
	desk := s.mailbox(directory.StoryDesk)
	for _, name := range []string{"grant_type", "profile", "acts_as", "from", "after_receive"} {
		desk[name] = ""
	}
	for _, side := range []string{"receive", "send"} {
		for _, name := range []string{"user", "every", "fallback"} {
			if side == "receive" != (name == "fallback") {
				desk[side].(object)[name] = ""
			}
		}
	}
	mail := object{
		"mailbox": directory.StoryDesk, "from": object{"address": directory.StoryDesk, "name": ""}, "to": []any{object{"address": "a@example.org"}},
		"subject": "s", "text": "t", "attachments": []any{object{"filename": "f", "content_type": "text/plain", "content": "eA=="}},
	}
	documents := []struct {
		method, path string
		body         object
	}{
		{"POST", "/v1/providers", full},
		{"PUT", "/v1/providers/contoso", full},
		{"POST", "/v1/mailboxes", desk},
		{"PUT", box(directory.StoryDesk), desk},
		{"POST", "/v1/webhooks", object{"name": "w", "url": "https://a.example/", "secret": "", "events": []any{"*"}, "mailboxes": []any{directory.StoryDesk}, "ca_pem": ""}},
		{"POST", "/v1/apps", object{"name": "w", "may": []any{"read"}, "mailboxes": []any{""}, "networks": []any{""}, "expires_at": ""}},
		{"PUT", "/v1/apps/w", object{"name": "w", "may": []any{"read"}, "mailboxes": []any{""}, "networks": []any{""}, "expires_at": ""}},
		{"POST", "/v1/apps/w/key", object{"expires_at": ""}},
		{"POST", box(directory.StoryDesk) + "/authorizations", object{"expires_in": "", "allow_subject": ""}},
		{"POST", box(directory.StoryDesk) + "/token", object{"resource": "", "min_ttl": ""}},
		{"POST", box(directory.StoryDesk) + "/test", object{"send_to": ""}},
		{"POST", "/v1/inspect", object{"token": "", "mailbox": ""}},
		{"POST", "/v1/submissions", mail},
	}
	const marker = "Planted-Marker-7f3a"
	for _, d := range documents {
		raw, err := json.Marshal(d.body)
		must(t, err)
		for n := 0; ; n++ {
			var copied any
			must(t, json.Unmarshal(raw, &copied))
			at := plant(copied, marker, "", &[]int{n}[0])
			if at == "" {
				if n == 0 {
					t.Fatalf("%s has no text", d.path)
				}
				break
			}
			a := s.do(t, s.key, d.method, d.path, copied)
			if a.status >= 400 {
				a.problem(t)
				if strings.Contains(strings.ToLower(a.body), strings.ToLower(marker)) {
					t.Errorf("%s %s, %s: %d %s", d.method, d.path, at, a.status, a.body)
				}
			}
			if a.status >= 500 {
				t.Errorf("%s %s, %s: %d %s", d.method, d.path, at, a.status, a.body)
			}
		}
	}
	if a := s.do(t, s.key, "POST", "/v1/providers", object{"name": "n", "kind": "gogle", "client_id": "x"}); !strings.Contains(a.body, "“gogle”") {
		t.Errorf("a mistyped word is not shown: %s", a.body)
	}
	for _, a := range []answer{
		s.do(t, s.key, "GET", "/v1/events?limit="+marker, nil), s.do(t, s.key, "GET", "/v1/messages/x/attachments/"+marker, nil),
	} {
		if a.refusedWith(t, 422); strings.Contains(a.body, marker) {
			t.Error(a.body)
		}
	}
}

// plant replaces the nth text of a document and says where that is.
func plant(v any, marker, at string, n *int) string {
	each := func(child any, path string, set func(any)) string {
		if _, ok := child.(string); ok {
			if *n == 0 {
				set(marker)
				*n = -1
				return path
			}
			*n--
			return ""
		}
		return plant(child, marker, path, n)
	}
	switch v := v.(type) {
	case object:
		for _, name := range sorted(v) {
			if found := each(v[name], at+"."+name, func(x any) { v[name] = x }); found != "" {
				return found
			}
		}
	case []any:
		for i := range v {
			if found := each(v[i], fmt.Sprintf("%s[%d]", at, i), func(x any) { v[i] = x }); found != "" {
				return found
			}
		}
	}
	return ""
}
