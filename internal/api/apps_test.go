package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestApps is the life of API keys, as a program sees it.
func TestApps(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	c := s.client(t, s.key)
	ctx := t.Context()
	t.Run("PUT adds one and shows its key, and changes one and shows none", func(t *testing.T) {
		made, err := c.PutApp(ctx, "desk", client.App{May: []string{"read"}, Mailboxes: []string{directory.StoryDesk}})
		if err != nil || !strings.HasPrefix(made.APIKey, "mgk_") || made.Name != "desk" || made.CreatedBy != "all" || !made.LastUsedAt.IsZero() {
			t.Fatalf("%+v, %v", made, err)
		}
		for range 2 {
			if a := s.do(t, made.APIKey, "GET", box(directory.StoryDesk), nil); a.status != 200 {
				t.Fatalf("the key may not read: %d %s", a.status, a.body)
			}
		}
		s.do(t, made.APIKey, "GET", box(directory.StoryAdele), nil).refused(t, 403, "access.forbidden")
		changed, err := c.PutApp(ctx, "desk", client.App{May: []string{"send"}, Mailboxes: []string{directory.StoryAdele}})
		if err != nil || changed.APIKey != "" || len(changed.May) != 1 || changed.LastUsedAt.IsZero() {
			t.Errorf("%+v, %v", changed, err)
		}
		p := s.do(t, made.APIKey, "GET", box(directory.StoryDesk), nil).refused(t, 403, "access.forbidden")
		if p.Detail != "This API key lacks the right “read”." {
			t.Error(p.Detail)
		}
		s.do(t, s.key, "PUT", "/v1/apps/desk", object{"name": "other", "may": []string{"send"}}).refused(t, 422, "api.name_differs")
		if shown, err := c.App(ctx, "desk"); err != nil || shown.APIKey != "" || !strings.EqualFold(shown.Mailboxes[0], directory.StoryAdele) {
			t.Errorf("%+v, %v", shown, err)
		}
	})
	t.Run("a renewed key works and the one before it does not", func(t *testing.T) {
		old := s.newKey(t, "renewed", []access.Right{access.Read})
		s.do(t, old, "GET", box(directory.StoryDesk), nil)
		ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		renewed, err := c.RenewApp(ctx, "renewed", ends)
		if err != nil || renewed.APIKey == "" || renewed.APIKey == old || !renewed.ExpiresAt.Equal(ends) {
			t.Fatalf("%+v, %v", renewed, err)
		}
		s.do(t, old, "GET", box(directory.StoryDesk), nil).refused(t, 401, "access.api_key_unknown")
		if a := s.do(t, renewed.APIKey, "GET", box(directory.StoryDesk), nil); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if again, err := c.RenewApp(ctx, "renewed", time.Time{}); err != nil || !again.ExpiresAt.Equal(ends) {
			t.Errorf("the end moved to %v, %v", again.ExpiresAt, err)
		}
	})
	t.Run("a key ends on its day", func(t *testing.T) {
		k := s.newKey(t, "short", []access.Right{access.Read})
		if a := s.do(t, s.key, "PUT", "/v1/apps/short", object{"may": []string{"read"}, "expires_at": s.clock().Add(time.Hour)}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		s.ahead.Add(int64(2 * time.Hour))
		s.do(t, k, "GET", box(directory.StoryDesk), nil).refused(t, 401, "access.api_key_expired")
		s.do(t, s.key, "POST", "/v1/apps/short/key", nil).refused(t, 409, "api_key.ended")
		if p := s.do(t, s.key, "PUT", "/v1/apps/short", object{"may": []string{"read"}, "expires_at": "2020-01-01T00:00:00Z"}).refused(t, 422, "access.api_key_field"); p.Field != "expires_at" {
			t.Errorf("the field is %s", p.Field)
		}
	})
	t.Run("a key works from its networks only", func(t *testing.T) {
		for network, status := range map[string]int{"127.0.0.0/8": 200, "192.0.2.0/24": 403} {
			s.do(t, s.key, "DELETE", "/v1/apps/bound", nil)
			a := s.do(t, s.key, "POST", "/v1/apps", object{"name": "bound", "may": []string{"read"}, "networks": []string{network}})
			var made client.App
			must(t, json.Unmarshal([]byte(a.body), &made))
			// Nobody is trusted to say for whom they ask.
			if got := s.do(t, made.APIKey, "GET", box(directory.StoryDesk), nil, "X-Forwarded-For", "192.0.2.1"); got.status != status {
				t.Errorf("bound to %s: %d %s", network, got.status, got.body)
			}
		}
	})
	t.Run("each right opens what it names, and no more", func(t *testing.T) {
		calls := map[access.Right]struct{ method, path string }{
			access.Read: {"GET", box(directory.StoryDesk)}, access.Token: {"POST", box(directory.StoryDesk) + "/token"},
			access.Manage: {"POST", box(directory.StoryDesk) + "/pause"}, access.Send: {"POST", "/v1/submissions"},
		}
		mail := object{"from": object{"address": directory.StoryDesk}, "to": []object{{"address": "a@example.org"}}, "text": "x"}
		for _, right := range access.Rights() {
			k := s.newKey(t, "only-"+string(right), []access.Right{right})
			for needs, call := range calls {
				var body any
				if needs == access.Send {
					body = mail
				}
				a := s.do(t, k, call.method, call.path, body)
				if needs == right && a.status == 403 {
					t.Errorf("%s does not open %s: %s", right, call.path, a.body)
				}
				if needs != right {
					if p := a.refused(t, 403, "access.forbidden"); p.Detail != "This API key lacks the right “"+string(needs)+"”." {
						t.Errorf("%s at %s: %s", right, call.path, p.Detail)
					}
				}
			}
		}
	})
	t.Run("the timeline says who changed what", func(t *testing.T) {
		events, err := client.Collect(c.Events(ctx, client.EventFilter{Kinds: []string{"api_key.*"}}), 0)
		must(t, err)
		kinds := map[string]int{}
		for _, e := range events {
			kinds[e.Kind]++
			if e.Kind == "api_key.updated" && (e.Actor.Name != "all" || e.Data["api_key"] == "") {
				t.Errorf("%+v", e)
			}
		}
		if kinds["api_key.updated"] < 2 || kinds["api_key.renewed"] != 2 || kinds["api_key.created"] < 5 || kinds["api_key.deleted"] != 1 {
			t.Errorf("%v", kinds)
		}
	})
}

// TestOperators is how operators are looked after through the socket, and by
// nobody else.
func TestOperators(t *testing.T) {
	s := open(t)
	local, err := client.New(client.Options{Socket: app.SocketPath(s.dir + "/data")})
	must(t, err)
	t.Cleanup(local.Close)
	ctx := t.Context()
	const password = "a made-up sentence for tests"
	complete := func(link string) access.SignedIn {
		t.Helper()
		_, secret, found := strings.Cut(link, s.base+"/setup/")
		if !found {
			t.Fatalf("the link is %s", link)
		}
		in, err := s.Access.CompleteSetup(ctx, secret, "", password, access.Visit{UserAgent: "curl/8"})
		must(t, err)
		return in
	}
	t.Run("an API key never looks after operators", func(t *testing.T) {
		for _, c := range []struct{ method, path string }{
			{"GET", "/v1/operators"},
			{"POST", "/v1/operators"},
			{"GET", "/v1/operators/anna"},
			{"DELETE", "/v1/operators/anna"},
			{"POST", "/v1/operators/setup"},
			{"POST", "/v1/operators/anna/setup"},
			{"GET", "/v1/operators/anna/sessions"},
			{"DELETE", "/v1/operators/anna/sessions"},
			{"DELETE", "/v1/operators/anna/sessions/1"},
		} {
			var body any
			if c.path == "/v1/operators" && c.method == "POST" {
				body = object{"name": "thief"}
			}
			p := s.do(t, s.key, c.method, c.path, body).refused(t, 403, "access.operators_not_by_key")
			if !strings.Contains(p.Detail, "leaked") || !strings.Contains(p.Remedy, "mailgrant operator") {
				t.Errorf("%s %s: %s %s", c.method, c.path, p.Detail, p.Remedy)
			}
		}
	})
	t.Run("invited, listed, signed in, signed out, removed", func(t *testing.T) {
		anna, err := local.CreateOperator(ctx, "Anna")
		if err != nil || anna.Name != "anna" || anna.CanSignIn || anna.SetupLink == nil || !strings.HasPrefix(anna.CreatedBy, "uid ") {
			t.Fatalf("%+v, %v", anna, err)
		}
		if shown, err := local.Operator(ctx, "anna"); err != nil || shown.SetupLink == nil || shown.SetupLink.URL != "" || !shown.SetupLink.ExpiresAt.Equal(anna.SetupLink.ExpiresAt) {
			t.Errorf("%+v, %v", shown, err)
		}
		if _, err := local.CreateOperator(ctx, "anna"); !client.HasID(err, "operator.exists") {
			t.Error(err)
		}
		complete(anna.SetupLink.URL)
		link, err := local.CreateOperatorSetupLink(ctx, "anna")
		must(t, err)
		in := complete(link.URL)
		shown, err := local.Operator(ctx, "anna")
		if err != nil || !shown.CanSignIn || shown.SetupLink != nil || shown.LastSignedInAt.IsZero() {
			t.Errorf("%+v, %v", shown, err)
		}
		sessions, err := client.Collect(local.Sessions(ctx, "anna"), 0)
		if err != nil || len(sessions) != 1 || sessions[0].Browser != "curl" || sessions[0].ID != in.Session.ID {
			t.Fatalf("%+v, %v", sessions, err)
		}
		must(t, local.EndSession(ctx, "anna", sessions[0].ID))
		if err := local.EndSession(ctx, "anna", sessions[0].ID); !client.HasID(err, "session.unknown") {
			t.Error(err)
		}
		_, err = s.Access.SignIn(ctx, "anna", password, access.Visit{})
		must(t, err)
		must(t, local.EndSessions(ctx, "anna"))
		if sessions, err := client.Collect(local.Sessions(ctx, "anna"), 0); err != nil || len(sessions) != 0 {
			t.Errorf("%+v, %v", sessions, err)
		}
		if err := local.DeleteOperator(ctx, "anna"); !client.HasID(err, "operator.last") {
			t.Error(err)
		}
		bob, err := local.CreateOperator(ctx, "bob@example.org")
		must(t, err)
		complete(bob.SetupLink.URL)
		must(t, local.DeleteOperator(ctx, "anna"))
		if all, err := client.Collect(local.Operators(ctx), 0); err != nil || len(all) != 1 || all[0].Name != "bob@example.org" {
			t.Errorf("%+v, %v", all, err)
		}
		must(t, local.EndSessions(ctx, "bob@example.org"))
		for _, name := range []string{"anna", "x y"} {
			if _, err := local.Operator(ctx, name); !client.HasID(err, "operator.unknown") {
				t.Error(err)
			}
		}
		_, err = local.CreateOperator(ctx, "x y")
		if !client.HasID(err, "access.operator_name") {
			t.Error(err)
		}
	})
}
