package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// submitted hands over a message that waits, since nobody has authorised its mailbox.
func (s *server) submitted(t *testing.T, subject string) string {
	t.Helper()
	a := s.do(t, s.key, "POST", "/v1/submissions", object{"from": object{"address": directory.StoryDesk}, "to": []object{{"address": directory.StoryAdele}}, "subject": subject, "text": "x"})
	var out object
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 202 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return out["id"].(string)
}

// calledOff hands one over and calls it off.
func (s *server) calledOff(t *testing.T, subject string) string {
	t.Helper()
	id := s.submitted(t, subject)
	c := s.client(t, s.key)
	// It is being tried just now; a moment later it waits for its grant.
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := c.CancelSubmission(t.Context(), id)
		if err == nil && got.State == "failed" && got.Cause == "submission.cancelled" {
			return id
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

func TestSubmissions_ActsAndFilters(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	c, ctx := s.client(t, s.key), t.Context()
	off := s.calledOff(t, "The printer")
	s.do(t, s.key, "POST", "/v1/submissions/"+off+"/cancel", nil).refused(t, 409, "submission.settled")
	s.do(t, s.key, "POST", "/v1/submissions/"+off+"/retry", nil).refused(t, 409, "submission.settled")
	again, err := c.SendAgain(ctx, "key", off)
	must(t, err)
	if again.ID == off || again.Subject != "The printer" || again.Settled() {
		t.Errorf("sent again: %+v", again)
	}
	if second, err := c.SendAgain(ctx, "key", off); err != nil || second.ID != again.ID {
		t.Errorf("the same key made %s beside %s (%v)", second.ID, again.ID, err)
	}
	s.do(t, s.key, "POST", "/v1/submissions/"+again.ID+"/again", nil).refused(t, 409, "submission.not_failed")
	old, err := c.Submission(ctx, off)
	must(t, err)
	if again.MessageID != old.MessageID || fmt.Sprint(again.Envelope) != fmt.Sprint(old.Envelope) {
		t.Errorf("another message was made of it: %+v, %+v", again, old)
	}
	waiting := s.submitted(t, "The lift")
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := c.RetrySubmission(ctx, waiting)
		if err == nil {
			if got.State != "queued" && got.State != "sending" {
				t.Errorf("tried at once: %+v", got)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{
		"": 3, "state=failed": 1, "state=failed,expired": 1, "text=PRINTER": 2, "text=printer&state=failed": 1, "text=nothing": 0,
		"since=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)): 0, "until=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)): 3,
	} {
		var page struct{ Items []object }
		a := s.do(t, s.key, "GET", "/v1/submissions?"+query, nil)
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Items) != want {
			t.Errorf("%q gave %d, want %d: %s", query, len(page.Items), want, a.body)
		}
	}
	s.do(t, s.key, "GET", "/v1/submissions?state=lost", nil).refusedWith(t, 422)
	s.do(t, s.key, "GET", "/v1/submissions?since=yesterday", nil).refusedWith(t, 422)
	var raw strings.Builder
	if err := c.RawSubmission(ctx, off, &raw); err != nil || !strings.Contains(raw.String(), "Subject: The printer\r\n") {
		t.Errorf("%v: %s", err, raw.String())
	}
	t.Run("only who may send there may act", func(t *testing.T) {
		reader := s.newKey(t, "reader", []access.Right{access.Read})
		elsewhere := s.newKey(t, "elsewhere", []access.Right{access.Send}, strings.ToLower(directory.StoryAdele))
		for _, act := range []string{"/retry", "/cancel", "/again"} {
			s.do(t, reader, "POST", "/v1/submissions/"+off+act, nil).refused(t, 403, "access.forbidden")
			s.do(t, elsewhere, "POST", "/v1/submissions/"+off+act, nil).refused(t, 404, "submission.unknown")
		}
		s.do(t, elsewhere, "GET", "/v1/submissions/"+off+"/raw", nil).refused(t, 404, "submission.unknown")
		s.do(t, s.key, "POST", "/v1/submissions/none/cancel", nil).refused(t, 404, "submission.unknown")
	})
	t.Run("who did it is in the timeline", func(t *testing.T) {
		acts, err := client.Collect(c.Events(ctx, client.EventFilter{Actors: []string{"api_key"}, Kinds: []string{"submission.*"}, Text: off}), 0)
		must(t, err)
		var kinds []string
		for _, e := range acts {
			kinds = append(kinds, e.Kind)
		}
		if got := strings.Join(kinds, " "); got != "submission.failed submission.accepted" {
			t.Errorf("the timeline tells %s", got)
		}
	})
}

func TestEvents_Filters(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk)
	c := s.client(t, s.key)
	must(t, c.PauseMailbox(t.Context(), directory.StoryDesk))
	for query, want := range map[string]string{
		"kind=mailbox.*&actor=api_key":               "mailbox.paused mailbox.created",
		"kind=mailbox.*,provider.*&text=PAUSED":      "mailbox.paused",
		"attention=true":                             "",
		"actor=operator&kind=mailbox.*":              "",
		"kind=mailbox.*&until=2020-01-01T00:00:00Z":  "",
		"kind=mailbox.paused&since=2020-01-01T00:00": "",
	} {
		a := s.do(t, s.key, "GET", "/v1/events?"+query, nil)
		if strings.HasSuffix(query, "T00:00") {
			a.refusedWith(t, 422)
			continue
		}
		var page struct{ Items []struct{ Kind string } }
		must(t, json.Unmarshal([]byte(a.body), &page))
		var kinds []string
		for _, e := range page.Items {
			kinds = append(kinds, e.Kind)
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s gave %q, want %q", query, got, want)
		}
	}
	if p := s.do(t, s.key, "GET", "/v1/events?actor=operator,martian", nil).refused(t, 422, "event.unknown_actor"); p.Field != "actor[1]" {
		t.Errorf("about %q", p.Field)
	}
	if p := s.do(t, s.key, "GET", "/v1/events?kind=no.such", nil).refused(t, 422, "event.unknown_kind"); p.Field != "kind[0]" {
		t.Errorf("about %q", p.Field)
	}
}
