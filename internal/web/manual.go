package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/event"
)

// Manual is what the page about the API is made of.
type Manual struct {
	OpenAPI  []byte // the description, as it is served
	Problems []Refusal
}

// Refusal is a sort of refusal of the API.
type Refusal struct {
	ID, Title, Text, Remedy string
	Status                  int
}

// manualView is the page about the API.
type manualView struct {
	frame
	Base     string
	Groups   []manualGroup
	Schemas  []manualSchema
	Events   []event.Described
	Problems []Refusal
}

type manualGroup struct {
	Name, Text string
	Operations []manualOperation
}

type manualOperation struct {
	ID, Method, Path, Summary, Text, Curl string
	Parameters                            []manualMember
	Bodies                                []manualBody
	Answers                               []manualAnswer
	Refusals                              []manualAnswer
}

type manualBody struct{ Media, Schema, Example string }

type manualAnswer struct {
	Status, Text string
	Bodies       []manualBody
}

type manualSchema struct {
	Name    string
	Members []manualMember
}

// manualMember is a member of a document, or a parameter.
type manualMember struct {
	Name, Kind, Text, Example, Schema string
	Words                             []string
	Required                          bool
	Note                              string // where it stands, or which way it goes
}

// openAPI is the description as far as the page reads it.
type openAPI struct {
	Servers []struct{ URL string }
	Tags    []struct{ Name, Description string }
	Paths   map[string]map[string]openOperation
	// Webhooks are what is sent, not what is called; the page explains them in words.
	Components struct {
		Schemas   map[string]openSchema
		Responses map[string]struct{ Description string }
	}
}

type openOperation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Parameters                        []struct {
		Name, In, Description string
		Required              bool
		Example               any
		Schema                openSchema
	}
	RequestBody struct{ Content map[string]openMedia }
	Responses   map[string]struct {
		Ref         string `json:"$ref"`
		Description string
		Content     map[string]openMedia
	}
}

type openMedia struct {
	Schema  openSchema
	Example any
}

type openSchema struct {
	Ref         string `json:"$ref"`
	Type        any
	Format      string
	Description string
	Enum        []any
	Required    []string
	Examples    []any
	ReadOnly    bool
	WriteOnly   bool
	Items       *openSchema
	Properties  map[string]openSchema
}

// last is the name at the end of a reference.
func last(reference string) string { return reference[strings.LastIndexByte(reference, '/')+1:] }

// makeManual writes the page once: it is the same for everybody.
func (p *Pages) makeManual() error {
	if p.Manual.OpenAPI == nil {
		return nil
	}
	var d openAPI
	if err := json.Unmarshal(p.Manual.OpenAPI, &d); err != nil {
		return fmt.Errorf("read the description of the API: %w", err)
	}
	v := manualView{frame: frame{Title: "The API", Assets: p.assets}, Base: p.PublicURL.String(), Events: event.Kinds(), Problems: p.Manual.Problems}
	for _, tag := range d.Tags {
		g := manualGroup{Name: tag.Name, Text: tag.Description}
		for path, methods := range d.Paths {
			for method, o := range methods {
				if slices.Contains(o.Tags, tag.Name) {
					g.Operations = append(g.Operations, operationView(d, v.Base, strings.ToUpper(method), path, o))
				}
			}
		}
		methods := []string{"GET", "POST", "PUT", "DELETE"}
		slices.SortFunc(g.Operations, func(a, b manualOperation) int {
			return cmp.Or(strings.Compare(a.Path, b.Path), slices.Index(methods, a.Method)-slices.Index(methods, b.Method))
		})
		if len(g.Operations) > 0 {
			v.Groups = append(v.Groups, g)
		}
	}
	for name, s := range d.Components.Schemas {
		v.Schemas = append(v.Schemas, manualSchema{Name: name, Members: membersOf(s)})
	}
	slices.SortFunc(v.Schemas, func(a, b manualSchema) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	if err := manualPage(v).Render(context.Background(), &b); err != nil {
		return fmt.Errorf("write the page about the API: %w", err)
	}
	p.manual = b.Bytes()
	return nil
}

func (p *Pages) manualShow(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(p.manual)
}

func operationView(d openAPI, base, method, path string, o openOperation) manualOperation {
	v := manualOperation{ID: o.OperationID, Method: method, Path: path, Summary: o.Summary, Text: o.Description}
	for _, q := range o.Parameters {
		m := memberOf(q.Name, q.Schema)
		m.Text, m.Required, m.Note = q.Description, q.Required, "in the "+q.In
		m.Example = plainText(q.Example)
		v.Parameters = append(v.Parameters, m)
	}
	v.Bodies = bodiesOf(o.RequestBody.Content)
	for status, r := range o.Responses {
		if r.Ref != "" {
			if status != "default" {
				v.Refusals = append(v.Refusals, manualAnswer{Status: status, Text: d.Components.Responses[last(r.Ref)].Description})
			}
			continue
		}
		v.Answers = append(v.Answers, manualAnswer{Status: status, Text: r.Description, Bodies: bodiesOf(r.Content)})
	}
	byStatus := func(a, b manualAnswer) int { return strings.Compare(a.Status, b.Status) }
	slices.SortFunc(v.Answers, byStatus)
	slices.SortFunc(v.Refusals, byStatus)
	v.Curl = curl(base, method, path, o)
	return v
}

// refusals lists the statuses with which it may refuse.
func (o manualOperation) refusals() string {
	statuses := make([]string, len(o.Refusals))
	for i, a := range o.Refusals {
		statuses[i] = a.Status
	}
	return strings.Join(statuses, ", ")
}

func bodiesOf(content map[string]openMedia) []manualBody {
	var all []manualBody
	for media, c := range content {
		b := manualBody{Media: media, Schema: last(c.Schema.Ref)}
		if text, ok := c.Example.(string); ok {
			b.Example = strings.TrimSpace(text)
		} else if c.Example != nil {
			b.Example = indented(c.Example)
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b manualBody) int { return strings.Compare(a.Media, b.Media) })
	return all
}

func indented(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// membersOf lists a schema's members, those that must be there first.
func membersOf(s openSchema) []manualMember {
	var all []manualMember
	for name, p := range s.Properties {
		m := memberOf(name, p)
		m.Required = slices.Contains(s.Required, name)
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b manualMember) int {
		if a.Required != b.Required {
			if a.Required {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

func memberOf(name string, s openSchema) manualMember {
	m := manualMember{Name: name, Text: s.Description, Schema: last(s.Ref), Kind: fmt.Sprint(s.Type)}
	of := s
	if s.Items != nil {
		of = *s.Items
		m.Schema, m.Kind = last(of.Ref), "list"
	}
	for _, w := range of.Enum {
		m.Words = append(m.Words, fmt.Sprint(w))
	}
	switch {
	case s.Format == "date-time":
		m.Kind = "time (RFC 3339)"
	case s.Type == nil && m.Schema == "":
		m.Kind = "any"
	case s.Ref != "":
		m.Kind = ""
	}
	switch {
	case s.ReadOnly:
		m.Note = "in answers only"
	case s.WriteOnly:
		m.Note = "in requests only"
	}
	if len(s.Examples) > 0 {
		m.Example = plainText(s.Examples[0])
	}
	return m
}

// plainText is an example as one writes it.
func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = plainText(item)
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// curl is a call of an operation as one types it.
func curl(base, method, path string, o openOperation) string {
	var b strings.Builder
	b.WriteString("curl")
	if method != http.MethodGet {
		b.WriteString(" -X " + method)
	}
	keyed := false
	for _, q := range o.Parameters {
		if q.In == "path" {
			path = strings.ReplaceAll(path, "{"+q.Name+"}", url.PathEscape(plainText(q.Example)))
		}
		keyed = keyed || q.Name == "Idempotency-Key"
	}
	b.WriteString(` -H "Authorization: Bearer $MAILGRANT_API_KEY"`)
	if keyed {
		b.WriteString(` \` + "\n  " + `-H "Idempotency-Key: $(uuidgen)"`)
	}
	if c, ok := o.RequestBody.Content["application/json"]; ok {
		b.WriteString(` \` + "\n  " + `-H "Content-Type: application/json" -d '` + strings.ReplaceAll(indented(c.Example), "'", `'\''`) + "'")
	}
	b.WriteString(` \` + "\n  " + base + path)
	return b.String()
}

// refusalExample is a refusal as the guide shows it.
const refusalExample = `HTTP/1.1 409 Conflict
Content-Type: application/problem+json

{
  "type": "urn:mailgrant:problem:grant.none",
  "title": "The mailbox must be authorised again",
  "status": 409,
  "detail": "Nobody has authorised the mailbox servicedesk@contoso.example yet.",
  "remedy": "Send the mailbox owner an authorization link.",
  "who": ["mailbox_owner", "operator"]
}`

// verifyExample checks a signature in a language that most can read.
const verifyExample = `import base64, hashlib, hmac, time

def genuine(secret, headers, body):   # body: the bytes as they came
    if abs(time.time() - int(headers["webhook-timestamp"])) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    good = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(good, s) for s in headers["webhook-signature"].split())`
