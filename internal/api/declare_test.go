package api_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// whole is a document with one resource of each kind.
func (s *server) whole() object {
	return object{
		"providers": []object{s.provider()}, "mailboxes": []object{s.mailbox(directory.StoryDesk)},
		"webhooks": []object{{"name": "desk", "url": "https://desk.example/hook", "events": []string{"message.*"}}},
		"apps":     []object{{"name": "printer", "may": []string{"send"}, "mailboxes": []string{"scans@vbcpn.onmicrosoft.com"}}},
	}
}

type applied struct {
	Changes []struct {
		Kind, Name, Action string
		Fields             []string
		APIKey             string `json:"api_key"`
		Secret             string
	}
}

func (s *server) apply(t *testing.T, query string, document any) applied {
	t.Helper()
	a := s.do(t, s.key, "POST", "/v1/apply"+query, document)
	if a.status != 200 {
		t.Fatalf("apply: %d %s", a.status, a.body)
	}
	var out applied
	must(t, json.Unmarshal([]byte(a.body), &out))
	return out
}

func (a applied) actions() string {
	var words []string
	for _, c := range a.Changes {
		words = append(words, c.Kind+" "+c.Action)
	}
	return strings.Join(words, ", ")
}

func TestApply_MakesWhatADocumentSays(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := "provider created, mailbox created, webhook created, app created"
	if got := s.apply(t, "?dry_run=true", s.whole()).actions(); !strings.HasPrefix(got, all) {
		t.Errorf("dry run: %s", got)
	}
	if a := s.do(t, s.key, "GET", "/v1/providers", nil); strings.Contains(a.body, "contoso") {
		t.Fatal("a dry run wrote something")
	}
	first := s.apply(t, "", s.whole())
	if first.actions() != all {
		t.Errorf("first: %s", first.actions())
	}
	if key := first.Changes[3].APIKey; !strings.HasPrefix(key, "mgk_") || s.do(t, key, "GET", "/v1/apps", nil).status != 403 {
		t.Error("the app's API key is not given, or does not work")
	}
	if !strings.HasPrefix(first.Changes[2].Secret, "whsec_") {
		t.Error("the signing secret that was made is not given")
	}
	again := s.apply(t, "?prune=false", s.whole())
	if got := again.actions(); got != strings.ReplaceAll(all, "created", "unchanged") || again.Changes[3].APIKey+again.Changes[2].Secret != "" {
		t.Errorf("again: %s", got)
	}
	changed := s.whole()
	changed["mailboxes"].([]object)[0]["after_receive"] = "mark_seen"
	changed["apps"].([]object)[0]["may"] = []string{"send", "read"}
	got := s.apply(t, "", changed)
	if got.actions() != "provider unchanged, mailbox updated, webhook unchanged, app updated" || fmt.Sprint(got.Changes[1].Fields, got.Changes[3].Fields) != "[after_receive] [may]" {
		t.Errorf("changed: %+v", got)
	}
}

func TestApply_TakesBackWhatWasExported(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.apply(t, "", s.whole())
	exported := s.do(t, s.key, "GET", "/v1/export", nil)
	for _, secret := range []string{directory.StoryClientSecret, "mgk_", "whsec_", "created_at", "effective_redirect_uri", "status"} {
		if strings.Contains(exported.body, secret) {
			t.Errorf("the export holds %s", secret)
		}
	}
	for _, c := range s.apply(t, "?prune=true", exported.body).Changes {
		if c.Action != "unchanged" {
			t.Errorf("the %s %s was %s", c.Kind, c.Name, c.Action)
		}
	}
	if again := s.do(t, s.key, "GET", "/v1/export", nil); again.body != exported.body {
		t.Errorf("the export changed:\n%s\n%s", exported.body, again.body)
	}
}

func TestApply_RefusesADocumentWholeAndTellsEveryMistake(t *testing.T) {
	t.Parallel()
	s := open(t)
	before := s.do(t, s.key, "GET", "/v1/export", nil).body
	d := s.whole()
	d["providers"].([]object)[0]["cloud"] = "globl"
	d["mailboxes"] = append(d["mailboxes"].([]object), s.mailbox("Other@vbcpn.onmicrosoft.com"), s.mailbox("other@vbcpn.onmicrosoft.com"))
	d["mailboxes"].([]object)[0]["receive"].(object)["mode"] = "watch"
	d["webhooks"].([]object)[0]["url"] = "http://desk.example/"
	d["apps"].([]object)[0]["may"] = []string{"send", "fly"}
	a := s.do(t, s.key, "POST", "/v1/apply", d)
	a.refused(t, 422, "provider.cloud")
	var p client.Problem
	must(t, json.Unmarshal([]byte(a.body), &p))
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
		if e.Detail == "" || e.Remedy == "" {
			t.Errorf("%s is told by half: %q, %q", e.Field, e.Detail, e.Remedy)
		}
	}
	if want := []string{"providers[0].cloud", "mailboxes[0].receive.mode", "mailboxes[2].address", "webhooks[0].url", "apps[0].may[1]"}; !slices.Equal(fields, want) {
		t.Errorf("told are %v, want %v", fields, want)
	}
	if after := s.do(t, s.key, "GET", "/v1/export", nil).body; after != before {
		t.Errorf("a refused document wrote something: %s", after)
	}
}

func TestApply_IsForWhoManagesEverything(t *testing.T) {
	t.Parallel()
	s := open(t)
	for outcome, key := range map[string]string{
		"a reader":               s.newKey(t, "reader", []access.Right{access.Read}),
		"a manager of mailboxes": s.newKey(t, "some", []access.Right{access.Manage}, directory.StoryDesk),
	} {
		t.Run(outcome, func(t *testing.T) {
			s.do(t, key, "POST", "/v1/apply", object{}).refused(t, 403, "access.forbidden")
			s.do(t, key, "GET", "/v1/export", nil).refused(t, 403, "access.forbidden")
		})
	}
}

func TestApply_DoesNotPruneTheKeyThatItIsAppliedWith(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := s.do(t, s.key, "POST", "/v1/apply?prune=true", object{"apps": []object{}}).refused(t, 409, "api_key.own")
	if p.Field != "apps" || s.do(t, s.key, "GET", "/v1/apps", nil).status != 200 {
		t.Errorf("%+v", p)
	}
	s.apply(t, "?prune=true", object{"apps": []object{{"name": "all", "may": []string{"read", "send", "token", "manage"}}}})
}

// A database that refuses the last change does not take back those before it:
// they are told, with what was made with them.
func TestApply_SaysWhatWasDoneWhenItStopsMidway(t *testing.T) {
	t.Parallel()
	s := open(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "mailgrant.db")+"?_pragma=busy_timeout(10000)")
	must(t, err)
	defer func() { must(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), "CREATE TRIGGER full BEFORE INSERT ON api_keys BEGIN SELECT RAISE(ABORT, 'no more'); END")
	must(t, err)
	a := s.do(t, s.key, "POST", "/v1/apply", s.whole())
	p := a.refused(t, 500, "internal")
	var done applied
	must(t, json.Unmarshal([]byte(a.body), &done))
	if done.actions() != "provider created, mailbox created, webhook created" || !strings.HasPrefix(done.Changes[2].Secret, "whsec_") {
		t.Errorf("told as done: %s", a.body)
	}
	if !strings.Contains(p.Detail, "The app printer could not be created (changes made before: 3).") || !strings.Contains(p.Remedy, "apply the document again") {
		t.Errorf("%s %s", p.Detail, p.Remedy)
	}
	_, err = db.ExecContext(t.Context(), "DROP TRIGGER full")
	must(t, err)
	if got := s.apply(t, "", s.whole()).actions(); got != "provider unchanged, mailbox unchanged, webhook unchanged, app created" {
		t.Errorf("the second time: %s", got)
	}
}

// As many mailboxes as a house has pass the door; no other operation takes as much.
func TestApply_TakesTenThousandMailboxes(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.furnish(t)
	provider := s.mailbox(directory.StoryDesk)["provider"]
	all := make([]object, 0, 10_001)
	for i := range 10_000 {
		all = append(all, object{
			"address": fmt.Sprintf("user%05d@vbcpn.onmicrosoft.com", i), "provider": provider, "grant_type": "authorization_code", "profile": "", "acts_as": "owner", "from": "",
			"receive": object{"protocol": "imap", "folders": []string{"INBOX"}, "mode": "push"}, "send": object{"protocol": "smtp"}, "after_receive": "keep",
		})
	}
	all = append(all, object{"address": "not an address", "provider": provider}) // so that nothing has to be written
	p := s.do(t, s.key, "POST", "/v1/apply?dry_run=true", object{"mailboxes": all})
	if !strings.Contains(p.body, `"mailboxes[10000].address"`) || strings.Contains(p.body, `"mailboxes[9999]`) {
		t.Errorf("%d %.500s", p.status, p.body)
	}
	dense := "[" + strings.Repeat("1,", 4<<20-2) + "1]"
	s.do(t, s.key, "POST", "/v1/apply", json.RawMessage(dense)).refused(t, 400, "api.invalid_request")
}
