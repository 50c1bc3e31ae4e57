// Package resources reads and writes files of resources, as “mailgrant apply”
// takes them and “mailgrant export” makes them.
//
// Reading is strict, and every refusal says where: the line and column, the
// field, what is wrong, what is allowed, and for a slip of the pen what was
// probably meant. The keys a file may have are those of the public types in
// client; what each takes, in words, is the list in takes.go. A secret is never
// in the file: it is named, and fetched from the environment or from a file of
// its own while the file is read.
package resources

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mailgrant/mailgrant/client"
)

// MaxSize bounds a file: the server takes a document of as much.
const MaxSize = 8 << 20

// Sources are where what a file names is fetched from. Paths are those of the
// file, as they stand there.
type Sources struct {
	Variable func(name string) string           // of the environment; empty: not set
	Secret   func(path string) (string, error)  // a file that holds a secret alone
	PEM      func(path string) (string, error)  // a file of certificates
	Setting  func(name string) (isSetting bool) // whether a name is a setting of the server
}

// Place is where in a file something stands, counted from 1; the zero Place is
// nowhere.
type Place struct{ Line, Column int }

// Mistake is one thing wrong with a file.
type Mistake struct {
	Place
	Field  string `json:"field,omitempty"` // as the document spells it: mailboxes[0].receive.protocol
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// File is a file that was read.
type File struct {
	Document client.Document
	places   map[string]Place
}

// Read reads a file; what it gives is only good where there is no mistake. The
// mistakes are in the order of the file.
func Read(raw []byte, from Sources) (*File, []Mistake) {
	r := &reader{from: from, file: &File{places: map[string]Place{}}, needed: map[string]bool{}}
	root, wrong := parse(raw)
	if wrong != nil {
		return r.file, []Mistake{*wrong}
	}
	r.into(root, "", reflect.ValueOf(&r.file.Document).Elem())
	if len(r.mistakes) == 0 {
		r.twice()
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	return r.file, r.mistakes
}

// Find gives the place of a field; of one that is not in the file, that of what
// should hold it.
func (f *File) Find(field string) Place {
	for field != "" {
		if p, ok := f.places[field]; ok {
			return p
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return f.places[""]
}

// Mistakes finds the places of what the server refused.
func (f *File) Mistakes(p *client.Problem) []Mistake {
	all := p.Errors
	if len(all) == 0 {
		all = []client.FieldError{{Field: p.Field, Detail: p.Detail, Remedy: p.Remedy}}
	}
	var out []Mistake
	for _, e := range all {
		m := Mistake{Place: f.Find(e.Field), Field: e.Field, Text: e.Detail, Remedy: e.Remedy}
		if m.Remedy == "" {
			m.Remedy = "See what “" + lastKey(e.Field) + "” takes in the reference of resource files."
		}
		if takes, ok := Takes(e.Field); ok && e.Remedy == "" {
			m.Text, m.Remedy = "This is not taken: "+strings.TrimSuffix(e.Detail, ".")+".", fmt.Sprintf("%s takes %s.", lastKey(e.Field), takes)
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	return out
}

var index = regexp.MustCompile(`\[\d+\]`)

// shape is a field without the numbers of list items: mailboxes.receive.protocol.
func shape(field string) string { return index.ReplaceAllString(field, "") }

// lastKey is the name of a field alone.
func lastKey(field string) string {
	field = shape(field)
	return field[strings.LastIndexByte(field, '.')+1:]
}

// twice refuses names that two resources of a list share.
func (r *reader) twice() {
	d := r.file.Document
	for _, list := range []struct {
		field, name string
		all         []string
	}{
		{"providers", "name", namesOf(d.Providers, func(p client.Provider) string { return p.Name })},
		{"mailboxes", "address", namesOf(d.Mailboxes, func(m client.Mailbox) string { return m.Address })},
		{"webhooks", "name", namesOf(d.Webhooks, func(w client.Webhook) string { return w.Name })},
		{"apps", "name", namesOf(d.Apps, func(a client.App) string { return a.Name })},
	} {
		first := map[string]int{}
		for i, name := range list.all {
			key := strings.ToLower(strings.TrimSpace(name))
			field := fmt.Sprintf("%s[%d].%s", list.field, i, list.name)
			if before, ok := first[key]; ok {
				line := r.file.Find(fmt.Sprintf("%s[%d].%s", list.field, before, list.name)).Line
				r.refuse(r.file.Find(field), field, fmt.Sprintf("%s stands here twice; first on line %d.", name, line), "Keep one of them.")
				continue
			}
			first[key] = i
		}
	}
}

func namesOf[T any](items []T, name func(T) string) (all []string) {
	for _, item := range items {
		all = append(all, name(item))
	}
	return all
}

func placeOf(n *yaml.Node) Place { return Place{n.Line, n.Column} }
