package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// form is what was typed into a form, and what is wrong with it. A page that is
// shown again keeps what was typed; secrets are never put back.
type form struct {
	Values   url.Values
	Problems map[string]problem // by the field's name; "" is about the form as a whole
}

// problem is what is wrong with a field, what is allowed, and what to do.
type problem struct{ Text, Remedy string }

// readForm reads a form; the fault says that it cannot be read.
func readForm(r *http.Request) (form, error) {
	if err := r.ParseForm(); err != nil {
		return form{}, badForm(err)
	}
	return form{Values: r.PostForm}, nil
}

// value is what was typed into a field, without white space around it.
func (f form) value(name string) string { return strings.TrimSpace(f.Values.Get(name)) }

// pem is a certificate as it was pasted: browsers end lines in their own way.
func (f form) pem(name string) string {
	text := strings.TrimSpace(strings.ReplaceAll(f.Values.Get(name), "\r\n", "\n"))
	if text == "" {
		return ""
	}
	return text + "\n"
}

// checked reports whether a box was ticked or a choice with this value was made.
func (f form) checked(name, value string) bool { return slices.Contains(f.Values[name], value) }

// rows are the lines of a field, without empty ones: for names that may hold a comma.
func (f form) rows(name string) []string {
	var out []string
	for row := range strings.Lines(f.Values.Get(name)) {
		if row = strings.TrimSpace(row); row != "" {
			out = append(out, row)
		}
	}
	return out
}

// lines are the lines and comma-separated parts of a field, without empty ones.
func (f form) lines(name string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(f.Values.Get(name), func(r rune) bool { return r == '\n' || r == '\r' || r == ',' }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// refused is the form with a refusal placed beside the fields that it is about.
// A field's name is the fault's own, without an index ("networks[2]" is
// "networks"); of several about one field the first is told.
func (f form) refused(err error) form {
	problems := map[string]problem{}
	for _, e := range fault.All(err) {
		name, _, _ := strings.Cut(e.Field, "[")
		if _, told := problems[name]; !told {
			problems[name] = problem{e.Text, e.Remedy}
		}
	}
	for name, p := range f.Problems {
		problems[name] = p
	}
	f.Problems = problems
	return f
}

// wrong reports whether something is wrong with a field.
func (f form) wrong(name string) bool {
	_, is := f.Problems[name]
	return is
}

// elsewhere gives the problems that are about none of the fields of a page.
func (f form) elsewhere(fields ...string) []problem {
	var out []problem
	for name, p := range f.Problems {
		if name == "" || !slices.Contains(fields, name) {
			out = append(out, p)
		}
	}
	return out
}

// mayShowAgain reports whether a refusal is about what was typed, so that the
// form is shown again with it.
func mayShowAgain(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.Refused, fault.Temporary, fault.Limited:
		return true
	default:
		return false
	}
}

// input is a field of a form.
type input struct {
	Name, Label string
	Hint        string // what it is for and what is allowed, in a sentence
	Type        string // of the input; empty: text
	Placeholder string
	Complete    string // the autocomplete token; empty: off
	Rows        int    // more than 0: a text area
	Required    bool
	Focus       bool
	Quiet       bool     // every field of the form is optional: it does not say so
	Options     []option // not empty: a choice of one
}

// option is one of the values that a field may have.
type option struct {
	Value, Label string
	Hint         string // for choices that are shown with their explanation
}

// selected is the option that holds: what was typed, or else the first.
func (f form) selected(in input) string {
	v := f.value(in.Name)
	for _, o := range in.Options {
		if o.Value == v {
			return v
		}
	}
	if len(in.Options) > 0 {
		return in.Options[0].Value
	}
	return ""
}

func (in input) kind() string {
	if in.Type == "" {
		return "text"
	}
	return in.Type
}

func (in input) complete() string {
	if in.Complete == "" {
		return "off"
	}
	return in.Complete
}

// tab is one of several ways to look at a list.
type tab struct {
	Title, URL string
	Current    bool
}

// crumb is a step on the way to a page.
type crumb struct{ Title, URL string }
