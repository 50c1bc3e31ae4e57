package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/api"
)

// contract is the description that a server gives, and what was seen of it. It
// stands between the tests and the server: every answer that a test gets, by hand
// or through the client, is held to the description.
type contract struct {
	t    testing.TB
	next http.RoundTripper

	once       sync.Once
	doc        object
	operations []operation
	problems   []api.ProblemKind

	mu     sync.Mutex
	called map[string]bool // by operation ID
}

func newContract(t testing.TB) *contract {
	return &contract{t: t, next: http.DefaultTransport, called: map[string]bool{}}
}

// RoundTrip sends a request and checks the answer.
func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return answer, err
	}
	c.once.Do(func() { c.read(r) })
	o := c.find(r)
	if o == nil {
		return answer, nil
	}
	c.mu.Lock()
	c.called[o.id] = true
	c.mu.Unlock()
	media, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if media == "text/event-stream" {
		return answer, nil
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if err == nil && answer.StatusCode != http.StatusMisdirectedRequest && answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		c.check(o, answer.StatusCode, media, body)
	}
	return answer, err
}

// read fetches the description from the server that is spoken to.
func (c *contract) read(r *http.Request) {
	u := *r.URL
	u.Path, u.RawQuery = "/openapi.json", ""
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return
	}
	answer, err := c.next.RoundTrip(ask)
	if err != nil {
		return
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(raw, &c.doc)
	}
	if err != nil {
		c.t.Errorf("read the description: %v", err)
		return
	}
	c.operations = operationsOf(c.t, raw)
	if c.problems, err = api.ProblemKinds(); err != nil {
		c.t.Errorf("%v", err)
	}
}

// find gives the operation that a request calls; the one with more fixed words
// comes first, as it does in the server.
func (c *contract) find(r *http.Request) *operation {
	path := strings.Split(r.URL.EscapedPath(), "/")
	var best *operation
	fixed := -1
	for i, o := range c.operations {
		words := strings.Split(o.path, "/")
		n := 0
		matches := o.method == r.Method && len(words) == len(path)
		for i := 0; matches && i < len(words); i++ {
			if strings.HasPrefix(words[i], "{") {
				matches = path[i] != ""
				continue
			}
			matches = words[i] == path[i]
			n++
		}
		if matches && n > fixed {
			best, fixed = &c.operations[i], n
		}
	}
	return best
}

// check holds an answer to the description of its operation.
func (c *contract) check(o *operation, status int, media string, body []byte) {
	described := c.at("paths", o.path, strings.ToLower(o.method), "responses", fmt.Sprint(status))
	if described == nil {
		c.t.Errorf("%s answers %d, which is not described: %s", o.id, status, body)
		return
	}
	described = c.resolved(described)
	content, _ := described["content"].(object)
	if len(content) == 0 {
		if len(body) > 0 {
			c.t.Errorf("%s answers %d with a body that is not described", o.id, status)
		}
		return
	}
	how, ok := content[media].(object)
	if !ok {
		if _, any := content["*/*"]; !any {
			c.t.Errorf("%s answers %d as %s, which is not described", o.id, status, media)
		}
		return
	}
	if !strings.HasSuffix(media, "json") {
		return
	}
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		c.t.Errorf("%s answers %d with what is no JSON: %v", o.id, status, err)
		return
	}
	if p, ok := document.(object); ok && media == "application/problem+json" {
		if id := strings.TrimPrefix(fmt.Sprint(p["type"]), "urn:mailgrant:problem:"); !slices.ContainsFunc(c.problems, func(k api.ProblemKind) bool { return k.ID == id }) {
			c.t.Errorf("%s refuses with %s, which docs/problems.md does not list", o.id, id)
		}
	}
	for _, fault := range c.faults(how["schema"].(object), document, "") {
		c.t.Errorf("%s answers %d: %s", o.id, status, fault)
	}
}

// at walks down the description.
func (c *contract) at(names ...string) object {
	o := c.doc
	for _, name := range names {
		o, _ = o[name].(object)
	}
	return o
}

func (c *contract) resolved(o object) object {
	for {
		reference, ok := o["$ref"].(string)
		if !ok {
			return o
		}
		o = c.at(strings.Split(strings.TrimPrefix(reference, "#/"), "/")...)
	}
}

// faults says where a document breaks a schema: types, required and unknown
// members, and words that are not in the list.
func (c *contract) faults(schema object, v any, at string) []string {
	schema = c.resolved(schema)
	var found []string
	wrong := func(format string, args ...any) { found = append(found, at+" "+fmt.Sprintf(format, args...)) }
	if of, ok := schema["enum"].([]any); ok && !slices.Contains(of, v) {
		wrong("is %v, which is none of %v", v, of)
	}
	switch schema["type"] {
	case "object":
		o, ok := v.(object)
		if !ok {
			wrong("is no object: %v", v)
			break
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, there := o[name.(string)]; !there {
				wrong("lacks %s", name)
			}
		}
		properties, _ := schema["properties"].(object)
		for name, value := range o {
			if member, known := properties[name].(object); known {
				found = append(found, c.faults(member, value, at+"."+name)...)
			} else if schema["additionalProperties"] == false {
				wrong("has an unknown member %s", name)
			}
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			wrong("is no list: %v", v)
			break
		}
		for i, item := range list {
			found = append(found, c.faults(schema["items"].(object), item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case "string":
		if _, ok := v.(string); !ok {
			wrong("is no text: %v", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			wrong("is neither true nor false: %v", v)
		}
	case "integer", "number":
		if _, ok := v.(float64); !ok {
			wrong("is no number: %v", v)
		}
	}
	return found
}

// TestClient_CallsEveryOperation calls every method that the public client has
// against a real server: each operation that is described must have been asked
// for. What it is given names nothing, so that most are refused; that what they
// do is right is what the other tests look at.
func TestClient_CallsEveryOperation(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch := newContract(t)
	methods := reflect.TypeFor[*client.Client]()
	for i := range methods.NumMethod() {
		if name := methods.Method(i).Name; name != "Close" {
			t.Run(name, func(t *testing.T) {
				once, stop := context.WithCancel(ctx)
				defer stop()
				c, err := client.New(client.Options{Server: s.base, APIKey: s.key, Transport: endless{watch, stop}})
				must(t, err)
				defer c.Close()
				callAnyhow(t, once, reflect.ValueOf(c).Method(i))
			})
		}
	}
	for _, o := range s.operations(t) {
		if !watch.called[o.id] {
			t.Errorf("no method of the client calls %s (%s %s)", o.id, o.method, o.path)
		}
	}
}

// endless ends a stream as soon as it has begun.
type endless struct {
	next http.RoundTripper
	stop func()
}

func (e endless) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := e.next.RoundTrip(r)
	if err == nil && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		e.stop()
	}
	return answer, err
}

// callAnyhow calls a method with arguments that are good enough for a request,
// and looks at the first item where it gives a sequence.
func callAnyhow(t *testing.T, ctx context.Context, method reflect.Value) {
	t.Helper()
	kind := method.Type()
	var args []reflect.Value
	for i := range kind.NumIn() {
		in := kind.In(i)
		switch {
		case kind.IsVariadic() && i == kind.NumIn()-1:
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(ctx))
		case in == reflect.TypeFor[io.Writer]():
			args = append(args, reflect.ValueOf(io.Discard))
		case in.Kind() == reflect.String:
			args = append(args, reflect.ValueOf("none").Convert(in))
		case in.Kind() == reflect.Func:
			args = append(args, reflect.MakeFunc(in, func([]reflect.Value) []reflect.Value { return zeros(in) }))
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	for _, out := range method.Call(args) {
		if out.Kind() == reflect.Func && out.Type().NumIn() == 1 {
			yield := out.Type().In(0)
			out.Call([]reflect.Value{reflect.MakeFunc(yield, func([]reflect.Value) []reflect.Value { return zeros(yield) })})
		}
	}
}

func zeros(f reflect.Type) []reflect.Value {
	var out []reflect.Value
	for i := range f.NumOut() {
		out = append(out, reflect.Zero(f.Out(i)))
	}
	return out
}
