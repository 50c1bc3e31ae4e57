package browser

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page is what a browser shows.
type Page struct {
	// URL is where the page was found, after all redirects.
	URL    string
	Status int
	Header http.Header
	Title  string
	// Text is what can be read on the page, a line for each block.
	Text  string
	Forms []Form
	Links []Link
	// Body is the page as it came.
	Body []byte

	at *url.URL
}

// Link is a link on a page.
type Link struct{ Text, Target string }

// Form is a form on a page.
type Form struct {
	ID, Method, Action string
	// Fields are the values that the form would send as it stands, buttons not among them.
	Fields  url.Values
	Buttons []ButtonElement

	names map[string]bool
}

// ButtonElement is a button that submits a form.
type ButtonElement struct{ Name, Value, Text string }

// HasField says whether the form has a control of this name, filled in or not.
func (f Form) HasField(name string) bool { return f.names[name] }

// Contains says whether the words can be read on the page, without regard to case and to line breaks.
func (p Page) Contains(words string) bool {
	return strings.Contains(strings.ToLower(strings.Join(strings.Fields(p.Text), " ")), strings.ToLower(strings.Join(strings.Fields(words), " ")))
}

func (p Page) location() *url.URL { return p.at }

func (p Page) resolve(reference string) (*url.URL, error) {
	if p.at == nil {
		return nil, fmt.Errorf("no page is open")
	}
	return p.at.Parse(reference)
}

// describe names the page in an error. The query is left out: it may hold a code or a link's secret.
func (p Page) describe() string {
	if p.at == nil {
		return "an empty browser"
	}
	return fmt.Sprintf("the page %q at %s://%s%s (status %d)", p.Title, p.at.Scheme, p.at.Host, p.at.Path, p.Status)
}

// formAction is what the page's policies allow forms to lead to; nil if they say nothing about it.
func (p Page) formAction() []string {
	for _, policy := range p.Header.Values("Content-Security-Policy") {
		for directive := range strings.SplitSeq(policy, ";") {
			words := strings.Fields(directive)
			if len(words) > 0 && strings.EqualFold(words[0], "form-action") {
				if len(words) == 1 {
					return []string{"'none'"}
				}
				return words[1:]
			}
		}
	}
	return nil
}

func readPage(at *url.URL, response *http.Response, content []byte) Page {
	p := Page{URL: at.String(), at: at, Status: response.StatusCode, Header: response.Header, Body: content}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		p.Text = string(content)
		return p
	}
	document, err := html.ParseWithOptions(bytes.NewReader(content), html.ParseOptionEnableScripting(false))
	if err != nil {
		p.Text = string(content)
		return p
	}
	r := reader{page: &p}
	r.read(document, nil)
	p.Text = tidy(r.text.String())
	return p
}

// reader walks a document once and collects text, links and forms.
type reader struct {
	page *Page
	text strings.Builder
}

func (r *reader) read(n *html.Node, form *Form) {
	switch n.Type {
	case html.TextNode:
		r.text.WriteString(n.Data)
		return
	case html.ElementNode:
		switch n.DataAtom {
		case atom.Script, atom.Style, atom.Template:
			return
		case atom.Title:
			r.page.Title = strings.TrimSpace(textOf(n))
			return
		case atom.A:
			if target, found := attribute(n, "href"); found {
				r.page.Links = append(r.page.Links, Link{Text: tidy(textOf(n)), Target: target})
			}
		case atom.Form:
			method, _ := attribute(n, "method")
			action, _ := attribute(n, "action")
			id, _ := attribute(n, "id")
			own := Form{ID: id, Method: strings.ToUpper(method), Action: action, Fields: url.Values{}, names: map[string]bool{}}
			if own.Method != http.MethodPost {
				own.Method = http.MethodGet
			}
			r.children(n, &own)
			r.page.Forms = append(r.page.Forms, own)
			return
		case atom.Input, atom.Button, atom.Select, atom.Textarea:
			r.control(n, form)
		}
		if isBlock(n.DataAtom) {
			r.text.WriteString("\n")
			defer r.text.WriteString("\n")
		}
	}
	r.children(n, form)
}

func (r *reader) children(n *html.Node, form *Form) {
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		r.read(child, form)
	}
}

// control adds a form control. One outside a form, or disabled, sends nothing.
func (r *reader) control(n *html.Node, form *Form) {
	if _, disabled := attribute(n, "disabled"); disabled || form == nil {
		return
	}
	name, _ := attribute(n, "name")
	value, hasValue := attribute(n, "value")
	kind, _ := attribute(n, "type")
	form.names[name] = true
	switch {
	case n.DataAtom == atom.Button && kind != "button" && kind != "reset":
		form.Buttons = append(form.Buttons, ButtonElement{Name: name, Value: value, Text: tidy(textOf(n))})
	case n.DataAtom == atom.Input && (kind == "submit" || kind == "image"):
		form.Buttons = append(form.Buttons, ButtonElement{Name: name, Value: value, Text: value})
	case name == "" || n.DataAtom == atom.Button || kind == "button" || kind == "reset":
	case kind == "checkbox" || kind == "radio":
		if _, checked := attribute(n, "checked"); checked {
			if !hasValue {
				value = "on"
			}
			form.Fields.Add(name, value)
		}
	case n.DataAtom == atom.Textarea:
		content := ""
		if n.FirstChild != nil {
			content = n.FirstChild.Data
		}
		form.Fields.Add(name, content)
	case n.DataAtom == atom.Select:
		if chosen, found := chosenOption(n); found {
			form.Fields.Add(name, chosen)
		}
	default:
		form.Fields.Add(name, value)
	}
}

// chosenOption is the selected option of a select element, or else its first.
func chosenOption(n *html.Node) (string, bool) {
	first, found := "", false
	for option := range n.Descendants() {
		if option.DataAtom != atom.Option {
			continue
		}
		value, has := attribute(option, "value")
		if !has {
			value = tidy(textOf(option))
		}
		if _, selected := attribute(option, "selected"); selected {
			return value, true
		}
		if !found {
			first, found = value, true
		}
	}
	return first, found
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func textOf(n *html.Node) string {
	var text strings.Builder
	for child := range n.Descendants() {
		if child.Type == html.TextNode {
			text.WriteString(child.Data + " ")
		}
	}
	return text.String()
}

func isBlock(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Li, atom.Ul, atom.Ol, atom.H1, atom.H2, atom.H3, atom.H4, atom.Br, atom.Tr, atom.Table, atom.Section, atom.Main,
		atom.Header, atom.Footer, atom.Form, atom.Dt, atom.Dd, atom.Label, atom.Button, atom.Article, atom.Nav, atom.Pre, atom.Details, atom.Summary:
		return true
	}
	return false
}

// tidy puts one space for each run of white space within a line, and drops empty lines.
func tidy(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return strings.Join(lines, "\n")
}
