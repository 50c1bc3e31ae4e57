package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

// pageLength is how many rows a page of a list has.
const pageLength = 50

// filter is what a list is asked for: the form above it, read.
type filter struct {
	form
	Path      string // of the list
	Before    string // the cursor
	MailboxID string
	Text      string
	Since     time.Time
	Until     time.Time
}

// readFilter reads the fields that all lists have. What is wrong with one stands
// beside it, and nothing is listed.
func (p *Pages) readFilter(r *http.Request) (filter, error) {
	q := r.URL.Query()
	f := filter{form: form{Values: q}, Path: r.URL.Path, Before: q.Get("before"), Text: strings.TrimSpace(q.Get("text"))}
	if len(f.Text) > 200 {
		f.wrongField("text", "This is longer than 200 bytes.", "Search for a few words.")
	}
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := f.value(name); text != "" {
			at, err := readMoment(text)
			if err != nil {
				f.wrongField(name, "“"+fault.Shorten(text, 40)+"” is not a time.", "Write it as 2026-11-24 or 2026-11-24T09:30, in UTC.")
			}
			*into = at
			if err == nil {
				f.Values[name] = []string{at.UTC().Format("2006-01-02T15:04:05")} // the one form that the field takes
			}
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		f.wrongField("until", "This is not after the beginning.", "Choose a later time, or leave one of the two empty.")
	}
	if address := f.value("mailbox"); address != "" {
		m, err := p.Connect.Mailboxes.Get(r.Context(), address)
		switch e := fault.Of(err); {
		case err == nil:
			f.MailboxID = m.ID
		case e.Kind == fault.NotFound || e.Kind == fault.Invalid:
			f.wrongField("mailbox", e.Text, e.Remedy)
		default:
			return f, err
		}
	}
	return f, nil
}

// momentField is a field for a time. What is none is kept as it was typed, which
// a field for times only does not do.
func (f filter) momentField(name, label, hint string) input {
	in := input{Name: name, Label: label, Hint: hint, Type: "datetime-local", Quiet: true}
	if f.wrong(name) {
		in.Type = "text"
	}
	return in
}

// wrongField notes what is wrong with a field.
func (f *filter) wrongField(name, text, remedy string) {
	if f.Problems == nil {
		f.Problems = map[string]problem{}
	}
	f.Problems[name] = problem{text, remedy}
}

// mailboxes is the mailbox that is asked for, as lists take it.
func (f filter) mailboxes() []string {
	if f.MailboxID == "" {
		return nil
	}
	return []string{f.MailboxID}
}

// bad reports whether something is wrong with it.
func (f filter) bad() bool { return len(f.Problems) > 0 }

func (f filter) status() int {
	if f.bad() {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

// asked reports whether any of these fields is filled.
func (f filter) asked(names ...string) bool {
	for _, n := range names {
		if f.value(n) != "" {
			return true
		}
	}
	return false
}

// url is the list with what is asked for, and a change to it: names and values,
// where an empty value takes the field out. The cursor goes with every change.
func (f filter) url(path string, change ...string) string {
	q := url.Values{}
	for name, values := range f.Values {
		for _, v := range values {
			if v != "" && name != "before" {
				q.Add(name, v)
			}
		}
	}
	for i := 0; i+1 < len(change); i += 2 {
		if q.Del(change[i]); change[i+1] != "" {
			q.Set(change[i], change[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// newest and older are the ways from one page to others; empty: there is none.
func (f filter) newest() string {
	if f.Before == "" {
		return ""
	}
	return f.url(f.Path)
}

func (f filter) older(next string) string {
	if next == "" {
		return ""
	}
	return f.url(f.Path, "before", next)
}

func readMoment(text string) (time.Time, error) {
	var at time.Time
	var err error
	for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly, time.RFC3339} {
		if at, err = time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return at, err
}

// mostChoices is how many mailboxes are offered to choose from; with more, an
// address is written.
const mostChoices = 100

// offered lists addresses to choose from.
func (p *Pages) offered(ctx context.Context, wanted func(mailbox.Mailbox, mailbox.GrantState) bool) ([]string, error) {
	listed, err := p.Connect.Mailboxes.List(ctx, mailbox.Filter{Limit: mostChoices})
	var out []string
	for _, l := range listed {
		if wanted(l.Mailbox, l.State) {
			out = append(out, l.Mailbox.Address)
		}
	}
	return out, err
}

func anyMailbox(mailbox.Mailbox, mailbox.GrantState) bool { return true }
