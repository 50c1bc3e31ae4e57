package api_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// ghost is the address of a mailbox that is not there.
const ghost = "ghost@" + directory.StoryDomain

var nameMember = regexp.MustCompile(`"name":"[^"]*"`)

var rightNamed = regexp.MustCompile(`“(read|send|token|manage)”|server's own host|No API key may`)

// at is the operation's path with an address and a name in the place of its
// parameters.
func (o operation) at(address, other string) string {
	path := strings.ReplaceAll(o.path, "{address}", url.PathEscape(address))
	return parameter.ReplaceAllString(strings.ReplaceAll(path, "{n}", "0"), other)
}

// example is a body that the operation takes, about a mailbox.
func (s *server) example(t *testing.T, d described, o operation, address string) any {
	t.Helper()
	content := d.Paths[o.path][strings.ToLower(o.method)].RequestBody.Content["application/json"]
	if content.Example == nil {
		return nil
	}
	raw, err := json.Marshal(content.Example)
	must(t, err)
	text := strings.ReplaceAll(string(raw), "servicedesk@contoso.example", address)
	if o.method == "PUT" { // named as the path is
		text = nameMember.ReplaceAllString(text, `"name":"none"`)
	}
	if o.id == "inspect-token" {
		text = strings.Replace(text, "{", `{"mailbox":"`+address+`",`, 1)
	}
	return text
}

// TestRights walks all operations with keys that lack something: the refusal
// says which right is missing, and never whether a mailbox is there.
func TestRights(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	all := []access.Right{access.Read, access.Send, access.Token, access.Manage}
	own := s.newKey(t, "own", all, directory.StoryAdele)
	var single []string
	for _, r := range all {
		single = append(single, s.newKey(t, "only-"+string(r), []access.Right{r}))
	}
	d := s.description(t)
	for _, o := range s.operations(t) {
		t.Run(o.id, func(t *testing.T) {
			refused := 0
			for _, key := range single {
				a := s.do(t, key, o.method, o.at(ghost, "none"), s.example(t, d, o, ghost))
				if a.status != 403 {
					continue
				}
				refused++
				p := a.problem(t)
				if !rightNamed.MatchString(p.Detail) {
					t.Errorf("the refusal names no right: %s", p.Detail)
				}
				there := s.do(t, key, o.method, o.at(directory.StoryDesk, "none"), s.example(t, d, o, directory.StoryDesk))
				if there.status != 403 || there.problem(t).Detail != p.Detail {
					t.Errorf("of a mailbox that is there: %d %s; of none: %s", there.status, there.body, p.Detail)
				}
			}
			if refused == 0 {
				t.Error("no right is needed")
			}
			s.indistinguishable(t, d, o, own)
		})
	}
}

// indistinguishable compares what a key of another mailbox is told of one that is
// there and of one that is not.
func (s *server) indistinguishable(t *testing.T, d described, o operation, key string) {
	t.Helper()
	ask := func(address string) (int, string) {
		path := o.at(address, "none")
		for _, name := range o.parameters {
			if name == "mailbox" {
				path += "?mailbox=" + url.QueryEscape(address)
			}
		}
		a := s.do(t, key, o.method, path, s.example(t, d, o, address))
		if a.status >= 500 {
			t.Errorf("%d %s", a.status, a.body)
		}
		return a.status, strings.ReplaceAll(strings.ToLower(a.body), strings.ToLower(address), "…")
	}
	there, said := ask(directory.StoryDesk)
	none, alsoSaid := ask(ghost)
	if there != none || said != alsoSaid {
		t.Errorf("of a mailbox that is there: %d %s; of none: %d %s", there, said, none, alsoSaid)
	}
	if (strings.Contains(o.path, "{address}") || strings.Contains(said, "…")) && there/100 == 2 {
		t.Errorf("a key of another mailbox was answered %d %s", there, said)
	}
}

// What puts a grant in question, or lets an identity pass, is an operator's act: a
// key for some mailboxes may do the rest there.
func TestRights_OfAManagerOfSomeMailboxes(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.furnish(t, directory.StoryDesk)
	const other = "other@vbcpn.onmicrosoft.com"
	bound := s.newKey(t, "bound", []access.Right{access.Read, access.Manage}, directory.StoryDesk, other)
	path := "/v1/mailboxes/" + directory.StoryDesk
	for outcome, change := range map[string]func(object){
		"another host":            func(m object) { m["receive"].(object)["host"] = "imap.example.org" },
		"another address":         func(m object) { m["address"] = other },
		"another who acts":        func(m object) { m["acts_as"] = "delegate: " + other },
		"what cannot be verified": func(m object) { m["allow_unverifiable"] = true },
	} {
		t.Run(outcome, func(t *testing.T) {
			m := s.mailbox(directory.StoryDesk)
			change(m)
			p := s.do(t, bound, "PUT", path, m).refused(t, 403, "access.forbidden")
			if !strings.Contains(p.Remedy, "not bound to mailboxes") {
				t.Errorf("%+v", p)
			}
		})
	}
	t.Run("a mailbox is neither added nor removed", func(t *testing.T) {
		for _, call := range []struct{ method, path string }{
			{"POST", "/v1/mailboxes"}, {"PUT", "/v1/mailboxes/" + other}, {"DELETE", "/v1/mailboxes/" + other}, {"DELETE", path},
		} {
			var body any
			if call.method != "DELETE" {
				body = s.mailbox(other)
			}
			p := s.do(t, bound, call.method, call.path, body).refused(t, 403, "access.forbidden")
			if !strings.Contains(p.Detail, "to add or remove a mailbox takes “manage” for the whole server") || !strings.Contains(p.Remedy, "not bound to mailboxes") {
				t.Errorf("%s %s: %+v", call.method, call.path, p)
			}
		}
		if a := s.do(t, s.key, "GET", path, nil); a.status != 200 {
			t.Errorf("it is gone: %d %s", a.status, a.body)
		}
		s.do(t, s.key, "GET", "/v1/mailboxes/"+other, nil).refused(t, 404, "mailbox.unknown")
	})
	link := object{"allow_subject": "someone"}
	s.do(t, bound, "POST", path+"/authorizations", link).refused(t, 403, "access.forbidden")
	if a := s.do(t, bound, "POST", path+"/authorizations", object{}); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	m := s.mailbox(directory.StoryDesk)
	m["after_receive"] = "mark_seen"
	if a := s.do(t, bound, "PUT", path, m); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	m["allow_unverifiable"] = true
	if a := s.do(t, s.key, "PUT", path, m); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.do(t, bound, "PUT", path, m); a.status != 200 {
		t.Errorf("what was allowed before: %d %s", a.status, a.body)
	}
}
