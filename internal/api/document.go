package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/webhook"
)

// tree is a JSON object that is being worked on.
type tree = map[string]any

// document makes the description as it is served. The framework's own says what
// the code takes; this adds what only people know: what each member means, an
// example of it, which words it may hold. It is made of copies, so that what is
// described is not what is checked: the capabilities refuse better than a
// framework, which knows no remedy.
func (a *API) document() ([]byte, error) {
	d := describer{fields: fields(), words: a.words(), operations: operationWords(), examples: requestExamples(), used: map[string]bool{}}
	open := a.huma.OpenAPI()
	payload := open.Components.Schemas.Schema(typeOf[webhook.Payload](), true, "")
	raw, err := json.Marshal(open)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var doc tree
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	reference, err := asTree(payload)
	if err != nil {
		return nil, err
	}
	doc["webhooks"] = tree{"event": tree{"post": delivery(reference)}}
	schemas := at(doc, "components", "schemas")
	notNull(doc)
	for name, schema := range schemas {
		d.schema(name, schema.(tree))
	}
	for _, methods := range at(doc, "paths") {
		for _, op := range methods.(tree) {
			d.operation(schemas, op.(tree))
		}
	}
	d.operation(schemas, at(doc, "webhooks", "event", "post"))
	withoutUnused(doc)
	if stale := d.stale(); len(stale) > 0 {
		return nil, fmt.Errorf("describe the API: nothing is called %s any more", strings.Join(stale, ", "))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	return out.Bytes(), nil
}

func asTree(v any) (tree, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var t tree
	return t, json.Unmarshal(b, &t)
}

// at walks down; a way that is not there gives an empty tree.
func at(t tree, names ...string) tree {
	for _, name := range names {
		t, _ = t[name].(tree)
	}
	if t == nil {
		return tree{}
	}
	return t
}

// notNull says of lists that they are lists: the framework would allow null for
// each, and no answer of ours holds one.
func notNull(v any) {
	switch v := v.(type) {
	case tree:
		if types, ok := v["type"].([]any); ok && len(types) == 2 && types[1] == "null" {
			v["type"] = types[0]
		}
		for _, child := range v {
			notNull(child)
		}
	case []any:
		for _, child := range v {
			notNull(child)
		}
	}
}

// describer adds what only people know, and remembers what of it was of use.
type describer struct {
	fields     map[string]field
	words      map[string][]string
	operations map[string]string
	examples   map[string]any
	used       map[string]bool
}

// stale lists what describes nothing any more.
func (d describer) stale() []string {
	var names []string
	for _, of := range []iter.Seq[string]{maps.Keys(d.fields), maps.Keys(d.words), maps.Keys(d.operations), maps.Keys(d.examples)} {
		for name := range of {
			if !d.used[name] {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// field is what is known of a schema's member.
func (d describer) field(schema, member string) field {
	own, specific := d.fields[schema+"."+member]
	shared := d.fields[member]
	d.used[schema+"."+member] = true
	if !specific {
		d.used[member] = true
		return shared
	}
	if own.text == "" {
		own.text = shared.text
		d.used[member] = true
	}
	return own
}

// schema adds meaning, example and words to each member.
func (d describer) schema(name string, schema tree) {
	for member, v := range at(schema, "properties") {
		property := v.(tree)
		f := d.field(name, member)
		if _, said := property["description"]; !said && f.text != "" {
			property["description"] = f.text
		}
		if _, shown := property["examples"]; !shown && fits(f.example, property) {
			property["examples"] = []any{f.example}
		}
		of, own := d.words[name+"."+member]
		if !own {
			of = d.words["*."+member]
			d.used["*."+member] = true
		}
		if len(of) == 0 {
			continue
		}
		if items := at(property, "items"); len(items) > 0 {
			items["enum"] = of
		} else {
			property["enum"] = of
		}
	}
	if optional := unneeded(name); len(optional) > 0 {
		required, _ := schema["required"].([]any)
		schema["required"] = slices.DeleteFunc(required, func(v any) bool { return slices.Contains(optional, fmt.Sprint(v)) })
	}
}

// fits reports whether an example that goes by a name only is of the kind that
// this schema asks for.
func fits(example any, schema tree) bool {
	if of, ok := schema["enum"].([]any); ok && !slices.Contains(of, example) {
		return false
	}
	switch example.(type) {
	case string:
		return schema["type"] == "string"
	case int:
		return schema["type"] == "integer"
	case bool:
		return schema["type"] == "boolean"
	case tree:
		return schema["type"] == "object"
	case list:
		return schema["type"] == "array" && at(schema, "items")["type"] == "string"
	}
	return false
}

// unneeded are members that another one may stand in for.
func unneeded(schema string) []string {
	if schema == "SubmissionRequest" {
		return []string{"from"} // mailbox suffices
	}
	return nil
}

// operation adds what parameters mean, and an example of each document.
func (d describer) operation(schemas, op tree) {
	parameters, _ := op["parameters"].([]any)
	keyed := false
	for _, v := range parameters {
		p := v.(tree)
		name := "?" + fmt.Sprint(p["name"])
		f := d.fields[name]
		d.used[name] = true
		if _, said := p["description"]; !said && f.text != "" {
			p["description"] = f.text
		}
		if _, shown := p["example"]; !shown {
			if p["example"] = f.example; !fits(f.example, at(p, "schema")) {
				p["example"] = sample(schemas, at(p, "schema"), "readOnly")
			}
		}
		keyed = keyed || p["name"] == keyHeader
	}
	id, _ := op["operationId"].(string)
	d.used[id] = true
	if words := d.operations[id]; words != "" {
		op["description"] = words
	}
	if media := at(op, "requestBody", "content", "application/json"); len(media) > 0 {
		if example, ok := d.examples[id]; ok {
			media["example"] = example
		} else {
			media["example"] = sample(schemas, at(media, "schema"), "readOnly")
		}
	}
	for status, v := range at(op, "responses") {
		if strings.HasPrefix(status, "2") {
			success(schemas, id, v.(tree), keyed)
		}
	}
}

// success adds an example to a good answer, and the header that a repetition has.
func success(schemas tree, id string, response tree, keyed bool) {
	if media := at(response, "content", "application/json"); len(media) > 0 {
		media["example"] = sample(schemas, at(media, "schema"), "writeOnly")
	}
	if stream := at(response, "content", eventStream); len(stream) > 0 {
		stream["example"] = streamExamples()[id]
		at(stream, "schema")["description"] = "Server-sent events (WHATWG HTML, section 9.2): lines id, event and data, and an empty line after each. " +
			"Lines that begin with a colon only keep the connection open."
	}
	if keyed {
		response["headers"] = tree{replayedHeader: tree{
			"description": "true where this is the answer that was given before under the same " + keyHeader + ".", "schema": tree{"type": "string", "enum": []string{"true"}},
		}}
	}
}

// sample is a document as a schema allows it, without the members that are
// marked so: what must be there, and what has an example.
func sample(schemas, schema tree, without string) any {
	if reference, ok := schema["$ref"].(string); ok {
		return sample(schemas, at(schemas, reference[strings.LastIndexByte(reference, '/')+1:]), without)
	}
	if examples, ok := schema["examples"].([]any); ok && len(examples) > 0 {
		return examples[0]
	}
	if of, ok := schema["enum"].([]string); ok && len(of) > 0 {
		return of[0]
	}
	if of, ok := schema["enum"].([]any); ok && len(of) > 0 {
		return of[0]
	}
	switch schema["type"] {
	case "object":
		out := tree{}
		required, _ := schema["required"].([]any)
		for name, v := range at(schema, "properties") {
			property := v.(tree)
			_, example := property["examples"]
			needed := slices.Contains(required, any(name))
			if property[without] == true || !example && !needed {
				continue
			}
			out[name] = sample(schemas, property, without)
		}
		return out
	case "array":
		return []any{sample(schemas, at(schema, "items"), without)}
	case "boolean":
		return false
	case "integer", "number":
		return 0
	case "string":
		if schema["format"] == "date-time" {
			return "2026-11-24T09:30:00Z"
		}
		return "text"
	default: // anything
		return tree{}
	}
}

// delivery describes what a webhook sends.
func delivery(payload tree) tree {
	header := func(name, text, example string) tree {
		return tree{"name": name, "in": "header", "required": true, "description": text, "example": example, "schema": tree{"type": "string"}}
	}
	return tree{
		"operationId": "receive-event", "summary": "An event, as a webhook delivers it", "tags": []any{"Webhooks"}, "security": []any{},
		"parameters": []any{
			header("webhook-id", "The delivery's ID. It stays the same over repetitions: drop what you have seen.", "0193d3a1-6b3c-7c2e-9a51-2f0d8b7c4e10"),
			header("webhook-timestamp", "When this attempt was made, in seconds since 1970. Refuse what is older than five minutes.", "1795000000"),
			header("webhook-signature", "v1, and the base64 of HMAC-SHA256 over id.timestamp.body under the webhook's secret; several are separated by spaces, and one that matches suffices.", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
		},
		"requestBody": tree{"required": true, "content": tree{"application/json": tree{"schema": payload}}},
		"responses": tree{
			"2XX": tree{"description": "Received. Any other answer is repeated with back-off for a day."},
			"410": tree{"description": "Gone: the webhook is switched off."},
		},
	}
}

// withoutUnused removes the schemas that nothing refers to.
func withoutUnused(doc tree) {
	schemas := at(doc, "components", "schemas")
	used := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case tree:
			if reference, ok := v["$ref"].(string); ok {
				name := reference[strings.LastIndexByte(reference, '/')+1:]
				if s, ok := schemas[name]; ok && !used[name] {
					used[name] = true
					walk(s)
				}
			}
			for name, child := range v {
				if name != "schemas" {
					walk(child)
				}
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	maps.DeleteFunc(schemas, func(name string, _ any) bool { return !used[name] })
}

// Document is the OpenAPI description of the API, as it is served.
func (a *API) Document() []byte { return a.described }

// serveDocument answers at /openapi.json.
func (a *API) serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	_, _ = w.Write(a.described)
}

// tags are the parts of the API, in the order in which a newcomer meets them.
func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "Providers", Description: "The registrations at OAuth providers with which mailboxes are authorised."},
		{Name: "Mailboxes", Description: "The connected addresses: how each is read and sent with, and where it stands."},
		{Name: "Authorizations", Description: "One-time links with which the owner of a mailbox authorises it."},
		{Name: "Grants", Description: "What the owner consented to, and access tokens on loan from it."},
		{Name: "Diagnosis", Description: "Why mail does not flow: the ladder of a mailbox, and what a token says."},
		{Name: "Messages", Description: "Mail that was received."},
		{Name: "Submissions", Description: "Mail to send: accepted once, and sent until it is sent, refused or expired."},
		{Name: "Events", Description: "The timeline: everything that happened, with cause and actor."},
		{Name: "Webhooks", Description: "Events delivered to your own servers, signed after the Standard Webhooks specification."},
		{Name: "Apps", Description: "Programs, their API keys, and what they may do where."},
		{Name: "Operators", Description: "The people who sign in to the pages."},
		{Name: "Declarative", Description: "All resources at once, as one document that is applied as often as you like."},
		{Name: "Server", Description: "The server itself."},
	}
}
