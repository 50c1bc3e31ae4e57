package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// stream is a server-sent event stream, line by line.
type stream struct {
	*http.Response
	lines chan string // closed when the stream ends
}

func (s *server) stream(t *testing.T, key, method, path string, headers ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Accept", "text/event-stream, application/json;q=0.5")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.http.Do(r)
	must(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("no stream but %d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	out := &stream{response, make(chan string)}
	go func() {
		defer close(out.lines)
		for in := bufio.NewScanner(response.Body); in.Scan(); {
			select {
			case out.lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// until reads on to a line that begins so.
func (s *stream) until(t *testing.T, prefix string) string {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("the stream ended before %q", prefix)
			}
			if strings.HasPrefix(line, prefix) {
				return strings.TrimSpace(strings.TrimPrefix(line, prefix))
			}
		case <-deadline.C:
			t.Fatalf("nothing begins with %q", prefix)
		}
	}
}

// ends fails unless the stream ends by itself.
func (s *stream) ends(t *testing.T) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		select {
		case _, open := <-s.lines:
			if !open {
				return
			}
		case <-deadline.C:
			t.Fatal("the stream goes on")
		}
	}
}

const subject = "The printer is on fire"

func TestStory(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	c := s.client(t, s.key)
	ctx := t.Context()

	t.Run("resources", func(t *testing.T) { s.resources(t, c) })
	t.Run("an authorization without a body, cancelled", func(t *testing.T) {
		link, err := c.CreateLink(ctx, directory.StoryAdele, client.LinkRequest{})
		must(t, err)
		s.do(t, s.key, "GET", box(directory.StoryDesk)+"/authorizations/"+link.ID, nil).refused(t, 404, "link.unknown")
		s.do(t, s.key, "DELETE", box(directory.StoryDesk)+"/authorizations/"+link.ID, nil).refused(t, 404, "link.unknown")
		must(t, c.CancelLink(ctx, directory.StoryAdele, link.ID))
		if l, err := c.Authorization(ctx, directory.StoryAdele, link.ID); err != nil || l.State != "cancelled" {
			t.Errorf("%+v, %v", l, err)
		}
		if a := s.do(t, s.key, "POST", box(directory.StoryAdele)+"/authorizations", nil); a.status != 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("an authorization, granted", func(t *testing.T) {
		link, err := c.CreateLink(ctx, strings.ToUpper(directory.StoryDesk), client.LinkRequest{ExpiresIn: "24h"})
		must(t, err)
		s.authorize(t, link.URL)
		if l, err := c.Authorization(ctx, directory.StoryDesk, link.ID); err != nil || l.State != "granted" {
			t.Errorf("%+v, %v", l, err)
		}
		if g, err := c.Grant(ctx, directory.StoryDesk); err != nil || g.State != "active" || len(g.History) == 0 {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("access tokens", func(t *testing.T) { s.tokens(t, c) })
	t.Run("the ladder", func(t *testing.T) {
		a := s.do(t, s.key, "POST", box(directory.StoryDesk)+"/test", nil)
		var result struct {
			OK    bool
			Rungs []struct{ Name string }
		}
		must(t, json.Unmarshal([]byte(a.body), &result))
		if !result.OK || len(result.Rungs) < 5 || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s", a.status, a.body)
		}
		in := s.stream(t, s.key, "POST", box(directory.StoryDesk)+"/test")
		for range result.Rungs {
			in.until(t, "event: rung")
		}
		in.until(t, "event: result")
		in.ends(t)
	})
	t.Run("mail in", func(t *testing.T) { s.mailIn(t, c) })
	t.Run("mail out", func(t *testing.T) { s.mailOut(t, c) })
	t.Run("the timeline", func(t *testing.T) { s.timeline(t, c) })
	t.Run("a key sees its own mailbox only", func(t *testing.T) { s.confined(t) })
	t.Run("the socket", func(t *testing.T) { s.socket(t) })
	t.Run("keys rotate", func(t *testing.T) {
		if r, err := c.RotateKeys(ctx); err != nil || r.Resealed == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := c.Token(ctx, directory.StoryDesk, client.TokenRequest{}); err != nil {
			t.Errorf("after the rotation: %v", err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		must(t, c.RevokeGrant(ctx, directory.StoryDesk))
		s.do(t, s.key, "POST", box(directory.StoryDesk)+"/token", nil).refusedWith(t, 409)
	})
	t.Run("a follower's key is removed", func(t *testing.T) {
		in := s.stream(t, s.newKey(t, "short", []access.Right{access.Read}), "GET", "/v1/events")
		in.until(t, ": following")
		must(t, c.DeleteApp(ctx, "short"))
		in.ends(t)
	})
	t.Run("a follower's key may read no more", func(t *testing.T) {
		for name, less := range map[string]access.KeyRequest{
			"turned":   {Name: "turned", May: []access.Right{access.Send}},
			"confined": {Name: "confined", May: []access.Right{access.Read}, Mailboxes: []string{directory.StoryAdele}},
		} {
			in := s.stream(t, s.newKey(t, name, []access.Right{access.Read}), "GET", "/v1/events")
			in.until(t, ": following")
			_, err := s.Access.ChangeAPIKey(ctx, byOperator, less)
			must(t, err)
			in.ends(t)
		}
	})
	t.Run("the server ends", func(t *testing.T) {
		in := s.stream(t, s.key, "GET", "/v1/events")
		in.until(t, ": following")
		s.stop()
		in.ends(t)
	})
}

func (s *server) resources(t *testing.T, c *client.Client) {
	ctx := t.Context()
	must(t, c.VerifyProvider(ctx, "contoso"))
	if a := s.do(t, s.key, "GET", "/v1/providers/contoso", nil); a.status != 200 || strings.Contains(a.body, directory.StoryClientSecret) {
		t.Errorf("%d %s", a.status, a.body)
	}
	must(t, c.PauseMailbox(ctx, directory.StoryAdele))
	if m, err := c.Mailbox(ctx, strings.ToUpper(directory.StoryAdele)); err != nil || !m.Paused {
		t.Errorf("%+v, %v", m, err)
	}
	must(t, c.ResumeMailbox(ctx, directory.StoryAdele))
	percent := strings.ReplaceAll(box(directory.StoryAdele), "@", "%40")
	if a := s.do(t, s.key, "GET", percent, nil); a.status != 200 {
		t.Errorf("%s: %d", percent, a.status)
	}
	if m, err := client.Collect(c.Mailboxes(ctx), 0); err != nil || len(m) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, more := range []struct {
		query string
		next  bool
	}{{"?limit=1", true}, {"?limit=2", false}} {
		var page struct {
			Items []object
			Next  string
		}
		a := s.do(t, s.key, "GET", "/v1/mailboxes"+more.query, nil)
		must(t, json.Unmarshal([]byte(a.body), &page))
		if page.Next != "" != more.next {
			t.Errorf("%s: next is %q", more.query, page.Next)
		}
		if more.next {
			var last struct {
				Items []object
				Next  string
			}
			a := s.do(t, s.key, "GET", "/v1/mailboxes"+more.query+"&cursor="+page.Next, nil)
			must(t, json.Unmarshal([]byte(a.body), &last))
			if len(last.Items) != 1 || last.Next != "" || last.Items[0]["address"] == page.Items[0]["address"] {
				t.Errorf("the last page: %s", a.body)
			}
		}
	}
	w, err := c.CreateWebhook(ctx, client.Webhook{Name: "desk", URL: "https://desk.example/hook", Events: []string{"grant.*"}})
	if err != nil || w.Secret == "" {
		t.Fatalf("no generated secret: %v", err)
	}
	if a := s.do(t, s.key, "GET", "/v1/webhooks/desk", nil); a.status != 200 || strings.Contains(a.body, w.Secret) {
		t.Errorf("%d %s", a.status, a.body)
	}
	must(t, c.DeleteWebhook(ctx, "desk"))
	made, err := c.CreateApp(ctx, client.App{Name: "printer", May: []string{"send"}})
	if err != nil || !strings.HasPrefix(made.APIKey, "mgk_") {
		t.Fatalf("no key: %v", err)
	}
	if a := s.do(t, s.key, "GET", "/v1/apps", nil); a.status != 200 || strings.Contains(a.body, made.APIKey) {
		t.Errorf("%d %s", a.status, a.body)
	}
	must(t, c.DeleteApp(ctx, "printer"))
	s.do(t, made.APIKey, "GET", "/v1/mailboxes", nil).refused(t, 401, "access.api_key_unknown")
}

func (s *server) tokens(t *testing.T, c *client.Client) {
	path := box(directory.StoryDesk) + "/token"
	for body, resource := range map[string]string{"": "mail", `{}`: "mail", `{"resource":"graph","min_ttl":"10m"}`: "graph"} {
		var in any
		if body != "" {
			in = body
		}
		a := s.do(t, s.key, "POST", path, in)
		var got struct {
			AccessToken string    `json:"access_token"`
			TokenType   string    `json:"token_type"`
			ExpiresAt   time.Time `json:"expires_at"`
			Resource    string
		}
		must(t, json.Unmarshal([]byte(a.body), &got))
		if a.status != 200 || got.AccessToken == "" || got.TokenType != "Bearer" || got.Resource != resource || time.Until(got.ExpiresAt) < 5*time.Minute || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, %s for %s until %s", body, a.status, got.TokenType, got.Resource, got.ExpiresAt)
		}
		if resource == "mail" {
			seen, err := c.Inspect(t.Context(), client.InspectRequest{Token: got.AccessToken, Mailbox: directory.StoryDesk})
			if err != nil || strings.Contains(fmt.Sprint(seen), got.AccessToken) {
				t.Errorf("%+v, %v", seen, err)
			}
		}
	}
	s.do(t, s.key, "POST", path, `{"resource":"calendar"}`).refused(t, 422, "grant.undeclared_resource")
	s.do(t, s.key, "POST", path, `{"min_ttl":"soon"}`).refused(t, 422, "token.min_ttl")
	s.do(t, s.key, "POST", path, `{"min_ttl":"-1m"}`).refused(t, 422, "token.min_ttl")
}

func (s *server) mailIn(t *testing.T, c *client.Client) {
	in := s.stream(t, s.key, "GET", "/v1/events?kind=message.*&after=0")
	const letters = 5
	for n := range letters {
		raw := fmt.Sprintf("From: Adele <%s>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%d@a.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
			"--b\r\nContent-Type: text/plain\r\n\r\nPlease come.\r\n--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\n<p>\r\n--b--\r\n",
			directory.StoryAdele, directory.StoryDesk, subject, n)
		_, err := s.box.Exchange().Deliver(directory.StoryDesk, []byte(raw))
		must(t, err)
	}
	for range letters {
		in.until(t, "event: message.received")
	}
	seen := map[string]bool{}
	pages := 0
	for cursor := ""; ; pages++ {
		a := s.do(t, s.key, "GET", "/v1/messages?limit=1&cursor="+cursor, nil)
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		must(t, json.Unmarshal([]byte(a.body), &page))
		for _, m := range page.Items {
			seen[m.ID] = true
		}
		if cursor = page.Next; cursor == "" || pages > letters {
			break
		}
	}
	if len(seen) != letters || pages != letters-1 {
		t.Errorf("%d messages on %d pages", len(seen), pages+1)
	}
	for id := range seen {
		m, err := c.Message(t.Context(), id)
		if err != nil || m.Mailbox != directory.StoryDesk {
			t.Errorf("%+v, %v", m, err)
		}
		if a := s.do(t, s.key, "GET", "/v1/messages/"+id+"/raw", nil); a.header.Get("Content-Type") != "message/rfc822" || !strings.Contains(a.body, "Please come.") {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
		part := s.do(t, s.key, "GET", "/v1/messages/"+id+"/attachments/0", nil)
		if part.status != 200 || !strings.Contains(part.body, "<p>") || !strings.HasPrefix(part.header.Get("Content-Disposition"), "attachment") ||
			!strings.Contains(part.header.Get("Content-Security-Policy"), "sandbox") || part.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %v %s", part.status, part.header, part.body)
		}
		s.do(t, s.key, "GET", "/v1/messages/"+id+"/attachments/999", nil).refusedWith(t, 404)
	}
}

func (s *server) mailOut(t *testing.T, c *client.Client) {
	mail := object{"from": object{"address": directory.StoryDesk}, "to": []object{{"address": directory.StoryAdele}}, "subject": "Re: " + subject, "text": "Coming."}
	submit := func(key, text string) answer {
		mail["text"] = text
		return s.do(t, s.key, "POST", "/v1/submissions", mail, "Idempotency-Key", key)
	}
	id := func(a answer) string {
		var got struct{ ID, State string }
		must(t, json.Unmarshal([]byte(a.body), &got))
		if a.status != 202 || got.ID == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		return got.ID
	}
	first := id(submit("k1", "Coming."))
	if again := id(submit("k1", "Coming.")); again != first {
		t.Errorf("a repeated request made %s beside %s", again, first)
	}
	submit("k1", "Not coming.").refused(t, 422, "idempotency.key_reused")
	if other := id(submit("k2", "Coming.")); other == first {
		t.Error("another key gave the same submission")
	}
	raw := "From: " + directory.StoryDesk + "\r\nTo: " + directory.StoryAdele + "\r\nSubject: whole\r\n\r\nx\r\n"
	id(s.do(t, s.key, "POST", "/v1/submissions", raw, "Content-Type", "message/rfc822"))
	in := s.stream(t, s.key, "GET", "/v1/events?kind=submission.sent&after=0")
	for range 3 {
		in.until(t, "event: submission.sent")
	}
	if got, err := c.Submission(t.Context(), first); err != nil || got.State != "sent" {
		t.Errorf("%+v, %v", got, err)
	}
	if all, err := client.Collect(c.Submissions(t.Context(), client.MailFilter{PageSize: 2}), 0); err != nil || len(all) != 3 {
		t.Errorf("%d submissions, %v", len(all), err)
	}
}

func (s *server) timeline(t *testing.T, c *client.Client) {
	all, err := client.Collect(c.Events(t.Context(), client.EventFilter{PageSize: 3}), 0)
	must(t, err)
	whole, err := client.Collect(c.Events(t.Context(), client.EventFilter{}), 0)
	if err != nil || len(all) != len(whole) || len(all) < 10 {
		t.Fatalf("%d events in small pages, %d in large ones, %v", len(all), len(whole), err)
	}
	known := whole[3]
	in := s.stream(t, s.key, "GET", "/v1/events", "Last-Event-ID", known.ID)
	for i := 2; i >= 0; i-- {
		if got := in.until(t, "id:"); got != whole[i].ID {
			t.Errorf("resumed with %s, want %s", got, whole[i].ID)
		}
	}
	must(t, c.PauseMailbox(t.Context(), directory.StoryAdele))
	in.until(t, "event: mailbox.paused")
	s.do(t, s.key, "GET", "/v1/events?kind=no.such.kind", nil).refusedWith(t, 422)
}

// confined looks with a key that may do everything, at Adele's mailbox only.
func (s *server) confined(t *testing.T) {
	own := s.newKey(t, "adele", []access.Right{access.Read, access.Send, access.Token, access.Manage}, strings.ToLower(directory.StoryAdele))
	c, every := s.client(t, own), s.client(t, s.key)
	ctx := t.Context()
	boxes, err := client.Collect(c.Mailboxes(ctx), 0)
	if err != nil || len(boxes) != 1 || !strings.EqualFold(boxes[0].Address, directory.StoryAdele) {
		t.Errorf("%+v, %v", boxes, err)
	}
	events, err := client.Collect(c.Events(ctx, client.EventFilter{}), 0)
	if err != nil || len(events) == 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if !strings.EqualFold(e.Mailbox, directory.StoryAdele) {
			t.Errorf("an event of %q: %s", e.Mailbox, e.Text)
		}
	}
	if m, err := client.Collect(c.Messages(ctx, client.MailFilter{}), 0); err != nil || len(m) > 0 {
		t.Errorf("%d messages, %v", len(m), err)
	}
	if m, err := client.Collect(c.Submissions(ctx, client.MailFilter{}), 0); err != nil || len(m) > 0 {
		t.Errorf("%d submissions, %v", len(m), err)
	}
	messages, err := client.Collect(every.Messages(ctx, client.MailFilter{}), 1)
	must(t, err)
	submissions, err := client.Collect(every.Submissions(ctx, client.MailFilter{}), 1)
	must(t, err)
	for _, path := range []string{"/v1/messages/" + messages[0].ID, "/v1/messages/" + messages[0].ID + "/raw", "/v1/messages/" + messages[0].ID + "/attachments/0"} {
		s.do(t, own, "GET", path, nil).refused(t, 404, "message.unknown")
	}
	s.do(t, own, "GET", "/v1/submissions/"+submissions[0].ID, nil).refused(t, 404, "submission.unknown")
	link, err := every.CreateLink(ctx, directory.StoryDesk, client.LinkRequest{})
	must(t, err)
	s.do(t, own, "GET", box(directory.StoryAdele)+"/authorizations/"+link.ID, nil).refused(t, 404, "link.unknown")
	for _, path := range []string{"/grant", "/authorizations/" + link.ID, ""} {
		s.do(t, own, "GET", box(directory.StoryDesk)+path, nil).refused(t, 403, "access.forbidden")
	}
	s.do(t, own, "GET", "/v1/events?mailbox="+directory.StoryDesk, nil).refused(t, 403, "access.forbidden")
	s.do(t, own, "POST", "/v1/submissions", object{"from": object{"address": directory.StoryDesk}, "to": []object{{"address": "a@example.org"}}, "text": "x"}).
		refused(t, 403, "access.forbidden")
}

func (s *server) socket(t *testing.T) {
	c, err := client.New(client.Options{Socket: app.SocketPath(filepath.Join(s.dir, "data"))})
	must(t, err)
	t.Cleanup(c.Close)
	if link, err := c.CreateSetupLink(t.Context()); err != nil || !strings.Contains(link.URL, "/setup/") {
		t.Errorf("%v", err)
	}
	must(t, c.ResumeMailbox(t.Context(), directory.StoryAdele))
	events, err := client.Collect(c.Events(t.Context(), client.EventFilter{Kinds: []string{"mailbox.resumed"}}), 1)
	if err != nil || len(events) != 1 || events[0].Actor.Kind != "local" || !strings.HasPrefix(events[0].Actor.Name, "uid ") {
		t.Errorf("%+v, %v", events, err)
	}
}
