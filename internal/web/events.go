package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func (p *Pages) eventPages(operator route) {
	operator("GET /events", p.eventList)
	operator("GET /events/live", p.eventLive)
	operator("GET /events/download", p.eventDownload)
}

const eventsPath = "/events"

// people is who acts of their own will: everybody but Mailgrant itself.
const people = "operator,api_key,local,owner"

// eventsView is the timeline over everything.
type eventsView struct {
	frame
	Now    time.Time
	Filter filter
	Kind   string // as chosen
	By     string
	Rows   []timelineRow
	Next   string
	After  string // the newest event there is: what comes is later
	Kinds  input
	Actors input
}

// Any reports whether anything was asked for.
func (v eventsView) Any() bool {
	return v.Filter.asked("text", "mailbox", "since", "until", "kind", "by", "name", "attention", "before")
}

func (v eventsView) tabs() []tab {
	at := func(title, attention, by string) tab {
		return tab{
			Title: title, URL: v.Filter.url(eventsPath, "attention", attention, "by", by, "name", ""),
			Current: v.Filter.value("attention") == attention && v.By == by,
		}
	}
	return []tab{at("Everything", "", ""), at("Needs attention", "1", ""), at("What people and programs did", "", people)}
}

// timelineRow is an event as pages show it.
type timelineRow struct {
	ID      string
	At      time.Time
	Text    string
	Who     string // who acts
	Remedy  string
	Actor   string
	Kind    string
	Alert   bool
	Cause   string
	Mailbox string
	About   []crumb // what it is about, with a page of its own
	Details [][2]string
}

// rowOf is an event as pages show it.
func rowOf(e event.Event) timelineRow {
	row := timelineRow{
		ID: e.ID, At: e.At, Text: e.Text, Remedy: e.Remedy, Actor: actorWords(e.Actor), Kind: string(e.Kind), Alert: e.Kind.Alert(), Cause: e.Cause, Mailbox: e.Mailbox,
	}
	if who := whoOf(e); e.Remedy != "" && len(who) > 0 {
		row.Who = whoWords(who)
	}
	if e.Mailbox != "" {
		row.About = append(row.About, crumb{e.Mailbox, mailboxPath(e.Mailbox)})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		value := e.Data[name]
		switch name {
		case "message_id":
			row.About = append(row.About, crumb{"the message", messagePath(value)})
		case "submission_id":
			row.About = append(row.About, crumb{"the submission", submissionPath(value)})
		case "webhook":
			row.About = append(row.About, crumb{"the webhook " + line(value), "/webhooks/" + url.PathEscape(value)})
		case "provider":
			row.About = append(row.About, crumb{"the provider " + line(value), "/providers/" + url.PathEscape(value)})
		}
		row.Details = append(row.Details, [2]string{name, value})
	}
	return row
}

// on is the row on a page, which need not lead to itself.
func (t timelineRow) on(path string) timelineRow {
	t.About = slices.DeleteFunc(t.About, func(c crumb) bool { return c.URL == path })
	return t
}

// kindChoices offers families and kinds.
func kindChoices() input {
	in := input{Name: "kind", Label: "What", Hint: "A family of events, or one kind.", Quiet: true, Options: []option{{Value: "", Label: "everything"}}}
	family := ""
	for _, k := range event.Kinds() {
		if of, _, _ := strings.Cut(string(k.Kind), "."); of != family {
			family = of
			in.Options = append(in.Options, option{Value: of + ".*", Label: of + ": all of it"})
		}
		in.Options = append(in.Options, option{Value: string(k.Kind), Label: string(k.Kind)})
	}
	return in
}

func actorChoices() input {
	return input{Name: "by", Label: "By whom", Hint: "Who caused it.", Quiet: true, Options: []option{
		{Value: "", Label: "anybody"},
		{Value: people, Label: "people and programs"},
		{Value: string(event.ActorOperator), Label: "operators"},
		{Value: string(event.ActorAPIKey), Label: "programs, by an API key"},
		{Value: string(event.ActorLocal), Label: "people on this host"},
		{Value: string(event.ActorOwner), Label: "mailbox owners"},
		{Value: string(event.ActorSystem), Label: "Mailgrant itself"},
	}}
}

// readEvents reads what the timeline is asked for.
func (p *Pages) readEvents(r *http.Request) (filter, event.Filter, error) {
	f, err := p.readFilter(r)
	if err != nil {
		return f, event.Filter{}, err
	}
	f.Path = eventsPath
	out := event.Filter{MailboxIDs: f.mailboxes(), Attention: f.value("attention") != "", Text: f.Text, Since: f.Since, Until: f.Until, Before: f.Before, Limit: pageLength}
	for _, k := range f.Values["kind"] {
		if k == "" {
			continue
		}
		pattern, err := event.ParsePattern(k)
		if err != nil {
			f.form = f.refused(about("kind", err))
			continue
		}
		out.Patterns = append(out.Patterns, pattern)
	}
	by, name := f.value("by"), f.value("name")
	if by == "" && name != "" {
		by = people
	}
	for kind := range strings.SplitSeq(by, ",") {
		if kind == "" {
			continue
		}
		if name != "" && !strings.Contains(kind, ":") {
			kind += ":" + name
		}
		actor, err := event.ParseActor(kind)
		if err != nil {
			f.form = f.refused(about("by", err))
			continue
		}
		out.Actors = append(out.Actors, actor)
	}
	return f, out, nil
}

func (p *Pages) eventList(w http.ResponseWriter, r *http.Request) {
	f, wanted, err := p.readEvents(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := eventsView{frame: p.frame(r, "Events"), Now: p.Now(), Filter: f, By: f.value("by"), Kinds: kindChoices(), Actors: actorChoices(), After: "0"}
	if f.bad() {
		p.show(w, r, f.status(), eventsPage(v))
		return
	}
	newest, err := p.Reads.Events(r.Context(), event.Filter{Limit: 1})
	if err == nil && len(newest) > 0 {
		v.After = newest[0].ID
	}
	var page event.Page
	if err == nil {
		page, err = p.Reads.EventPage(r.Context(), wanted)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v.Next = page.Next
	for _, e := range page.Events {
		v.Rows = append(v.Rows, rowOf(e))
	}
	p.show(w, r, http.StatusOK, eventsPage(v))
}

// eventDownload gives everything that the timeline was asked for, an event a line.
func (p *Pages) eventDownload(w http.ResponseWriter, r *http.Request) {
	f, wanted, err := p.readEvents(r)
	if err == nil && f.bad() {
		err = f.firstProblem()
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	wanted.Before, wanted.Limit = "", 1000
	page, err := p.Reads.EventPage(r.Context(), wanted)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="events-%s.ndjson"`, p.Now().UTC().Format("20060102-150405")))
	h.Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	out := json.NewEncoder(w)
	for {
		_ = control.SetWriteDeadline(time.Now().Add(time.Minute)) // the server's own limit is for pages
		for _, e := range page.Events {
			if out.Encode(e) != nil {
				return // whoever asked has gone away
			}
		}
		if page.Next == "" {
			return
		}
		wanted.Before = page.Next
		if page, err = p.Reads.EventPage(r.Context(), wanted); err != nil {
			if r.Context().Err() == nil {
				p.Logger.WarnContext(r.Context(), "the download of events broke off", "error", err)
			}
			panic(http.ErrAbortHandler) // so that nobody takes it for whole
		}
	}
}

// firstProblem is one of the problems of a filter, where there is no form to
// show it beside.
func (f filter) firstProblem() error {
	for _, name := range slices.Sorted(maps.Keys(f.Problems)) {
		p := f.Problems[name]
		return &fault.Error{ID: "web.filter", Kind: fault.Invalid, Field: name, Text: p.Text, Remedy: p.Remedy}
	}
	return nil
}
