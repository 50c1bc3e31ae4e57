package api_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// operation is one as it is described.
type operation struct {
	id, method, path string
	success          int // the status of its first good answer
	creates          bool
	parameters       []string // names
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// concrete is the path with something in the place of its parameters.
func (o operation) concrete() string { return parameter.ReplaceAllString(o.path, "1") }

func sorted(m object) []string { return slices.Sorted(maps.Keys(m)) }

type described struct {
	OpenAPI string `json:"openapi"`
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths map[string]map[string]struct {
		OperationID string   `json:"operationId"`
		Summary     string   `json:"summary"`
		Tags        []string `json:"tags"`
		Parameters  []struct {
			Name string `json:"name"`
		} `json:"parameters"`
		Responses map[string]struct {
			Content map[string]struct{ Schema object } `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct{ Properties object } `json:"schemas"`
	} `json:"components"`
}

func (s *server) description(t *testing.T) described {
	t.Helper()
	a := s.do(t, "", "GET", "/openapi.json", nil)
	var d described
	must(t, json.Unmarshal([]byte(a.body), &d))
	return d
}

// operations are all that the description names.
func (s *server) operations(t *testing.T) []operation {
	t.Helper()
	var all []operation
	for path, methods := range s.description(t).Paths {
		for method, o := range methods {
			op := operation{id: o.OperationID, method: strings.ToUpper(method), path: path}
			for _, status := range slices.Backward(slices.Sorted(maps.Keys(o.Responses))) {
				if n, err := strconv.Atoi(status); err == nil && n/100 == 2 {
					op.success = n
				}
			}
			op.creates = op.method == "POST" && (op.success == 201 || op.success == 202)
			for _, p := range o.Parameters {
				op.parameters = append(op.parameters, p.Name)
			}
			all = append(all, op)
		}
	}
	return all
}

// named are the operations that programs hold on to.
var named = []string{
	"cancel-authorization", "create-app", "create-authorization", "create-mailbox", "create-operator", "create-operator-setup-link", "create-provider",
	"create-setup-link", "create-submission", "create-webhook", "delete-app", "delete-mailbox", "delete-operator", "delete-provider", "delete-webhook",
	"end-session", "end-sessions", "get-app", "get-attachment", "get-authorization", "get-grant", "get-mailbox", "get-message", "get-message-raw",
	"get-operator", "get-provider", "get-submission", "get-webhook", "inspect-token", "lend-token", "list-apps", "list-events", "list-mailboxes",
	"list-messages", "list-operators", "list-providers", "list-sessions", "list-submissions", "list-webhooks", "pause-mailbox", "put-app",
	"put-mailbox", "put-provider", "put-webhook", "renew-app-key", "resume-mailbox", "revoke-grant", "rotate-keys", "test-mailbox", "verify-provider",
	"disable-webhook", "enable-webhook", "get-delivery", "list-deliveries", "replay-delivery", "replay-webhook", "rotate-webhook-secret", "test-webhook",
}

func (s *server) described(t *testing.T, operations []operation) {
	d := s.description(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("version %s", d.OpenAPI)
	}
	if len(d.Servers) != 1 || d.Servers[0].URL != s.base {
		t.Errorf("servers %v, want the public_url %s", d.Servers, s.base)
	}
	ids := map[string]bool{}
	for _, o := range operations {
		if ids[o.id] {
			t.Errorf("%s is named twice", o.id)
		}
		ids[o.id] = true
	}
	for _, id := range named {
		if !ids[id] {
			t.Errorf("%s is not described", id)
		}
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			if o.Summary == "" || len(o.Tags) == 0 || len(o.Responses) < 2 {
				t.Errorf("%s %s lacks a summary, a tag or an answer: %+v", method, path, o)
			}
			schema := o.Responses["default"].Content["application/problem+json"].Schema
			if schema["$ref"] != "#/components/schemas/Problem" {
				t.Errorf("%s %s describes no refusal: %v", method, path, schema)
			}
		}
	}
	for _, member := range []string{"type", "title", "status", "detail", "remedy", "field", "provider"} {
		if d.Components.Schemas["Problem"].Properties[member] == nil {
			t.Errorf("a problem's %s is not described", member)
		}
	}
}
