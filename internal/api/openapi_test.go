package api_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

// operation is one as it is described.
type operation struct {
	id, method, path string
	success          int // the status of its first good answer
	creates, body    bool
	parameters       []string // names
}

var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

// concrete is the path with something in the place of its parameters.
func (o operation) concrete() string { return parameter.ReplaceAllString(o.path, "1") }

func sorted(m object) []string { return slices.Sorted(maps.Keys(m)) }

// described is the description as far as a test reads it.
type described struct {
	OpenAPI string `json:"openapi"`
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Tags []struct {
		Name string `json:"name"`
	} `json:"tags"`
	Paths      map[string]map[string]describedOperation `json:"paths"`
	Components struct {
		Schemas map[string]struct{ Properties map[string]object } `json:"schemas"`
	} `json:"components"`
}

type describedOperation struct {
	OperationID string   `json:"operationId"`
	Summary     string   `json:"summary"`
	Tags        []string `json:"tags"`
	Parameters  []struct {
		Name, In, Description string
		Example               any
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct{ Example any } `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Ref     string                           `json:"$ref"`
		Content map[string]struct{ Example any } `json:"content"`
	} `json:"responses"`
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
	return operationsOf(t, []byte(s.do(t, "", "GET", "/openapi.json", nil).body))
}

func operationsOf(t testing.TB, document []byte) []operation {
	t.Helper()
	var d described
	if err := json.Unmarshal(document, &d); err != nil {
		t.Errorf("read the description: %v", err)
	}
	var all []operation
	for path, methods := range d.Paths {
		for method, o := range methods {
			op := operation{id: o.OperationID, method: strings.ToUpper(method), path: path}
			for _, status := range slices.Backward(slices.Sorted(maps.Keys(o.Responses))) {
				if n, err := strconv.Atoi(status); err == nil && n/100 == 2 {
					op.success = n
				}
			}
			op.creates = op.method == "POST" && (op.success == 201 || op.success == 202 || op.id == "apply")
			op.body = len(o.RequestBody.Content) > 0
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

func TestDescription(t *testing.T) {
	s := open(t)
	d := s.description(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1") || len(d.Servers) != 1 || d.Servers[0].URL != s.base {
		t.Errorf("version %s, servers %v, want 3.1 and the public_url %s", d.OpenAPI, d.Servers, s.base)
	}
	t.Run("holds its standard and good manners", func(t *testing.T) {
		for _, finding := range testbed.LintOpenAPI(t, []byte(s.do(t, "", "GET", "/openapi.json", nil).body)) {
			t.Error(finding)
		}
	})
	t.Run("names what programs hold on to", func(t *testing.T) {
		ids := map[string]bool{}
		for _, o := range s.operations(t) {
			ids[o.id] = true
		}
		for _, id := range named {
			if !ids[id] {
				t.Errorf("%s is not described", id)
			}
		}
	})
	t.Run("explains every operation", func(t *testing.T) {
		for path, methods := range d.Paths {
			for method, o := range methods {
				o.explained(t, method, path)
			}
		}
	})
	t.Run("explains every member", func(t *testing.T) {
		for name, schema := range d.Components.Schemas {
			for member, p := range schema.Properties {
				if p["description"] == nil && p["$ref"] == nil {
					t.Errorf("%s.%s is not described; say it beside the member, or in the list of fields", name, member)
				}
			}
		}
	})
	t.Run("lists the words that a member may hold", func(t *testing.T) {
		for member, word := range map[string]string{
			"Event.kind": "grant.dead", "App.may": "manage", "Grant.state": "none", "Submission.state": "expired", "LinkState.state": "granted",
			"Receive.protocol": "imap", "Send.tls": "starttls", "Problem.who": "mailbox_owner", "Grant.verdict": "alias", "Provider.kind": "generic",
		} {
			schema, name, _ := strings.Cut(member, ".")
			p := d.Components.Schemas[schema].Properties[name]
			if items, ok := p["items"].(object); ok {
				p = items
			}
			if of, _ := p["enum"].([]any); !slices.Contains(of, any(word)) {
				t.Errorf("%s lists %v", member, of)
			}
		}
	})
}

// explained fails unless a person can call the operation from what is said of it.
func (o describedOperation) explained(t *testing.T, method, path string) {
	t.Helper()
	if o.Summary == "" || len(o.Tags) != 1 {
		t.Errorf("%s lacks a summary or a tag", o.OperationID)
	}
	for _, p := range o.Parameters {
		if p.Description == "" || p.Example == nil {
			t.Errorf("%s: the parameter %s lacks a description or an example", o.OperationID, p.Name)
		}
	}
	for media, content := range o.RequestBody.Content {
		if media == "application/json" && content.Example == nil {
			t.Errorf("%s lacks an example of its body", o.OperationID)
		}
	}
	want := []string{"400", "401", "403", "422", "429", "500", "503", "default"}
	if strings.Contains(path, "{") {
		want = append(want, "404")
	}
	if method != "get" {
		want = append(want, "409")
	}
	for _, status := range want {
		if !strings.HasPrefix(o.Responses[status].Ref, "#/components/responses/") {
			t.Errorf("%s does not describe %s", o.OperationID, status)
		}
	}
	for status, r := range o.Responses {
		for media, content := range r.Content {
			if strings.HasPrefix(status, "2") && (media == "application/json" || media == "text/event-stream") && content.Example == nil {
				t.Errorf("%s lacks an example of its answer as %s", o.OperationID, media)
			}
		}
	}
}
