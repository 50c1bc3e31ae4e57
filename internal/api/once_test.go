package api_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// creating gives a good document for each operation that creates; n makes a
// fresh one each time. An operation that is missing here fails the test.
func (s *server) creating(n int) map[string]object {
	name := fmt.Sprintf("made-%d", n)
	provider := s.provider()
	provider["name"] = name
	return map[string]object{
		"create-provider":      provider,
		"create-mailbox":       s.mailbox(fmt.Sprintf("made-%d@%s", n, directory.StoryDomain)),
		"create-authorization": {"expires_in": fmt.Sprintf("%dh", 1+n%24)},
		"create-submission":    {"from": object{"address": directory.StoryDesk}, "to": []object{{"address": directory.StoryAdele}}, "subject": name, "text": "x"},
		"create-webhook":       {"name": name, "url": "https://desk.example/hook", "events": []string{"grant.*"}},
		"create-app":           {"name": name, "may": []string{"read"}},
		"create-setup-link":    nil,
		"renew-app-key":        {"expires_at": fmt.Sprintf("%d-01-01T00:00:00Z", 2100+n)},
		"create-operator":      {"name": fmt.Sprint("operator", n)},

		"create-operator-setup-link": nil,
		"apply":                      {"apps": []object{{"name": "applied-" + name, "may": []string{"read"}}}},
		"send-submission-again":      nil,
		"rotate-webhook-secret":      {"overlap": []string{"0s", "0m", "0h"}[n%3]},
	}
}

// secretLooking is what a generated secret looks like, in whatever member it is.
var secretLooking = regexp.MustCompile(`[A-Za-z0-9+/_=-]{40,}`)

func TestIdempotencyKey(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk, directory.StoryAdele)
	if a := s.do(t, s.key, "POST", "/v1/webhooks", object{"name": "renewed", "url": "https://desk.example/", "events": []string{"*"}}); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	other := s.newKey(t, "other", []access.Right{access.Read, access.Send, access.Token, access.Manage})
	s.newKey(t, "renewed", []access.Right{access.Read})
	_, _, err := s.Access.Invite(t.Context(), byOperator, "renewed")
	must(t, err)
	made := 0
	for _, o := range s.operations(t) {
		if o.method != "POST" {
			continue
		}
		if !o.creates {
			if slices.Contains(o.parameters, "Idempotency-Key") || strings.HasPrefix(o.id, "create-") {
				t.Errorf("%s creates, or does not: its answer, 201 or 202, has to agree with its name and its Idempotency-Key", o.id)
			}
			continue
		}
		if !slices.Contains(o.parameters, "Idempotency-Key") {
			t.Errorf("%s does not describe its Idempotency-Key", o.id)
		}
		made++
		t.Run(o.id, func(t *testing.T) {
			first, again := s.creating(2 * made)[o.id], s.creating(2*made + 1)[o.id]
			if _, known := s.creating(0)[o.id]; !known {
				t.Fatalf("%s creates something: add a document for it to the list of this test", o.id)
			}
			s.onceOnly(t, o, first, again, other)
		})
	}
	if made < 7 {
		t.Errorf("only %d operations create", made)
	}
}

// onceOnly holds one creating operation to the rules of its key.
func (s *server) onceOnly(t *testing.T, o operation, first, second object, otherKey string) {
	path := strings.NewReplacer("{address}", directory.StoryDesk, "{name}", "renewed").Replace(o.path)
	local := strings.HasPrefix(o.path, "/v1/operators") // possible through the socket only
	if o.id == "send-submission-again" {
		path = strings.ReplaceAll(path, "{id}", s.calledOff(t, "once"))
	}
	post := func(apiKey, key string, body object) answer {
		t.Helper()
		var in any
		if body != nil {
			in = body
		}
		if local {
			return s.throughSocket(t, "POST", path, in, "Idempotency-Key", key)
		}
		return s.do(t, apiKey, "POST", path, in, "Idempotency-Key", key)
	}
	one := post(s.key, o.id, first)
	if one.status != o.success || one.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %s", one.status, one.body)
	}
	two := post(s.key, o.id, first)
	if two.status != one.status || two.header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("the repetition: %d %v %s", two.status, two.header, two.body)
	}
	var before, after object
	must(t, json.Unmarshal([]byte(one.body), &before))
	must(t, json.Unmarshal([]byte(two.body), &after))
	for name, value := range before {
		text, given := fmt.Sprint(value), fmt.Sprint(first)
		if secret := secretLooking.FindString(text); secret != "" && !strings.Contains(given, secret) {
			if strings.Contains(two.body, secret) {
				t.Errorf("%s is shown again", name)
			}
			continue
		}
		if strings.HasPrefix(o.path, "/v1/submissions") {
			continue // says where it stands by now
		}
		if got := fmt.Sprint(after[name]); got != text {
			t.Errorf("%s was %s and is %s", name, text, got)
		}
	}
	if after["id"] != before["id"] {
		t.Errorf("%v was made beside %v", after["id"], before["id"])
	}
	if first == nil {
		return
	}
	post(s.key, o.id, second).refused(t, 422, "idempotency.key_reused")
	post(s.key, strings.Repeat("k", 256), second).refused(t, 422, "idempotency.key")
	if a := post(otherKey, o.id, second); !local && (a.status != o.success || a.header.Get("Idempotency-Replayed") != "") {
		t.Errorf("another caller's key: %d %s", a.status, a.body)
	}
	// A refusal leaves the key free.
	post(s.key, o.id+"-refused", object{"no_such_member": 1}).problem(t)
	if a := post(s.key, o.id+"-refused", object{"no_such_member": 1}); a.status < 400 || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("a refusal came back as %d", a.status)
	}
}

// A key whose rights changed does not get what it was answered before.
func TestIdempotencyKey_BelongsToTheRightsOfItsCaller(t *testing.T) {
	t.Parallel()
	s := open(t)
	key := s.newKey(t, "operate", []access.Right{access.Read, access.Manage})
	document := object{"name": "made", "may": []string{"read"}}
	if a := s.do(t, key, "POST", "/v1/apps", document, "Idempotency-Key", "k"); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := s.do(t, s.key, "PUT", "/v1/apps/operate", object{"may": []string{"read"}}); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.do(t, key, "POST", "/v1/apps", document, "Idempotency-Key", "k").refused(t, 422, "idempotency.key_reused")
	s.do(t, key, "POST", "/v1/apps", document, "Idempotency-Key", "l").refused(t, 403, "access.forbidden")
}
