package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

const listPageSize = 50

// overviewView is the first page: what needs attention, how everything stands,
// and every mailbox.
type overviewView struct {
	frame
	Now       time.Time
	Notice    string
	Whole     bool // nothing is filtered, and it is the first page
	Attention []matterView
	More      int
	Totals    []totalView
	Chart     chartView
	Steps     []stepView
	Providers []provider.Record
	Filter    form
	Rows      []listRow
	Next      string // address of the next page
	Mailboxes int
}

// filtered reports whether the list is of some mailboxes only.
func (v overviewView) filtered() bool {
	return v.Filter.value("q") != "" || v.Filter.value("state") != "" || v.Filter.value("provider") != ""
}

// matterView is something that needs attention, and the way to the cure: a link,
// or a button where Post is set.
type matterView struct {
	diagnose.Matter
	About     string // the address or name
	AboutURL  string
	SinceWord string // what was at Since
	State     badge
	Cure      string
	CureURL   string
	Post      bool
}

// totalView is how many mailboxes are in a state, with the way to them.
type totalView struct {
	State badge
	N     int
	URL   string
}

type listRow struct {
	Address   string
	Provider  string
	State     badge
	Paused    bool // beside another state
	Why       string
	SignedIn  string
	LastMail  time.Time
	NextRenew time.Time
}

// standingBadge words where a mailbox stands.
func standingBadge(s mailbox.Standing) badge {
	return map[mailbox.Standing]badge{
		mailbox.StandingDead:        {"needs authorisation", "red"},
		mailbox.StandingSuspended:   {"suspended", "yellow"},
		mailbox.StandingQuarantined: {"in quarantine", "yellow"},
		mailbox.StandingFailing:     {"renewal fails", "yellow"},
		mailbox.StandingStopped:     {"receiving stopped", "red"},
		mailbox.StandingNone:        {"not authorised yet", "azure"},
		mailbox.StandingPaused:      {"paused", "secondary"},
		mailbox.StandingRevoked:     {"ended", "secondary"},
		mailbox.StandingConnected:   {"connected", "green"},
	}[s]
}

func (p *Pages) overviewPages(operator route) {
	operator("GET /{$}", p.overview)
}

func (p *Pages) overview(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := overviewView{frame: p.frame(r, "Mailboxes"), Now: p.Now(), Notice: notices[q.Get("done")], Filter: form{Values: q}}
	v.Whole = !v.filtered() && q.Get("after") == ""
	var err error
	if v.Providers, err = p.Connect.Providers.List(r.Context()); err != nil {
		p.fail(w, r, err)
		return
	}
	listed, err := p.Connect.Mailboxes.List(r.Context(), mailbox.Filter{
		After: q.Get("after"), Part: v.Filter.value("q"), Standing: mailbox.Standing(v.Filter.value("state")), Provider: v.Filter.value("provider"), Limit: listPageSize + 1,
	})
	switch {
	case err != nil && mayShowAgain(err):
		v.Filter = v.Filter.refused(err)
	case err != nil:
		p.fail(w, r, err)
		return
	}
	for _, l := range listed[:min(len(listed), listPageSize)] {
		v.Rows = append(v.Rows, boxRowOf(l))
	}
	if len(listed) > listPageSize {
		next := maps.Clone(q)
		next.Set("after", listed[listPageSize-1].Mailbox.Address)
		next.Del("done")
		v.Next = "/?" + next.Encode()
	}
	if v.Whole {
		if err := p.fillOverview(r, &v); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	p.show(w, r, http.StatusOK, overviewPage(v))
}

// fillOverview adds what stands above the list.
func (p *Pages) fillOverview(r *http.Request, v *overviewView) error {
	s, err := p.Overview.Look(r.Context(), diagnose.Scope{})
	if err != nil {
		return err
	}
	for _, m := range s.Attention {
		seen := matterOf(m)
		if seen.Post && seen.CureURL == mailboxPath(m.Mailbox)+"/link" {
			if out, err := p.linkOut(r, m.Mailbox); err != nil {
				return err
			} else if out != nil { // a new one would take its place
				seen.Cure, seen.CureURL, seen.Post = "See the link that is out", mailboxPath(m.Mailbox)+"/connect", false
			}
		}
		v.Attention = append(v.Attention, seen)
	}
	v.More, v.Mailboxes, v.Chart = s.More, s.Mailboxes, chartOf(s.Hours)
	for _, standing := range mailbox.Standings() {
		if n := s.Standings[standing]; n > 0 {
			v.Totals = append(v.Totals, totalView{standingBadge(standing), n, "/?state=" + string(standing)})
		}
	}
	if s.Mailboxes > 1 {
		return nil
	}
	steps, err := p.Overview.FirstSteps(r.Context())
	v.Steps = stepsOf(steps, v.Rows)
	return err
}

func boxRowOf(l mailbox.Listed) listRow {
	standing := l.Standing()
	row := listRow{
		Address: l.Mailbox.Address, Provider: l.Mailbox.Provider, SignedIn: l.Display, LastMail: l.LastMailAt,
		State: standingBadge(standing), Paused: l.Mailbox.Paused && standing != mailbox.StandingPaused,
	}
	if l.State == mailbox.GrantActive {
		row.NextRenew = l.NextRefreshAt
	}
	if m := diagnose.Trouble(l); m != nil {
		row.Why = m.Text
	}
	return row
}

// matterOf finds the way to the cure.
func matterOf(m diagnose.Matter) matterView {
	v := matterView{Matter: m, Cure: "Open", SinceWord: "began"}
	switch {
	case m.Mailbox != "":
		v.About, v.AboutURL = m.Mailbox, mailboxPath(m.Mailbox)
	case m.Webhook != "":
		v.About, v.AboutURL, v.Cure = m.Webhook, "/webhooks/"+url.PathEscape(m.Webhook), "See its deliveries"
	case m.App != "":
		v.About, v.AboutURL, v.Cure = m.App, "/apps/"+url.PathEscape(m.App), "Give it a later end date"
	case m.Provider != "":
		v.About, v.AboutURL, v.Cure = m.Provider, providerPath(m.Provider), "Add a client secret"
	default:
		v.Cure = ""
	}
	v.CureURL = v.AboutURL
	switch m.Kind {
	case diagnose.MatterDead, diagnose.MatterSuspended:
		v.Cure, v.CureURL, v.Post = "Make the authorization link", mailboxPath(m.Mailbox)+"/link", true
	case diagnose.MatterFailing, diagnose.MatterStopped, diagnose.MatterQuarantined:
		v.Cure, v.CureURL, v.Post = "Test it", mailboxPath(m.Mailbox)+"/test", true
	case diagnose.MatterUnsent:
		v.SinceWord = "last"
		v.Cure, v.CureURL = "See what was not sent", "/submissions?"+url.Values{"mailbox": {m.Mailbox}, "show": {"failed"}}.Encode()
	case diagnose.MatterSecret:
		v.CureURL += "#secrets"
	}
	red := []diagnose.MatterKind{diagnose.MatterSilent, diagnose.MatterDead, diagnose.MatterStopped, diagnose.MatterUnsent, diagnose.MatterDisabled}
	v.State = badge{m.Title, "yellow"}
	if slices.Contains(red, m.Kind) || m.Ended {
		v.State.Tone = "red"
	}
	return v
}

// stepView is one step of the first set-up.
type stepView struct {
	Title, Text string
	Done        bool
	Next        bool   // the one to take now
	URL, Button string // where it is taken
}

// stepsOf are the eight steps from nothing to mail; nil when all are taken.
func stepsOf(s diagnose.FirstSteps, rows []listRow) []stepView {
	box := "/new/mailbox"
	if len(rows) > 0 {
		box = mailboxPath(rows[0].Address)
	}
	steps := []stepView{
		{Title: "Protocols", Text: "IMAP and POP3 to receive and SMTP to send, with OAuth, are built in.", Done: true},
		{Title: "Register the app", Text: "At the provider, with the redirect URI and the permissions that the next page names.", Done: s.Provider, URL: "/new/provider", Button: "See what to register"},
		{Title: "Add the provider", Text: "Its tenant or issuer, the client ID and the client secret.", Done: s.Provider, URL: "/new/provider", Button: "Add the provider"},
		{Title: "Add the mailbox", Text: "Its address, and what it does: receive, send, or both.", Done: s.Mailbox, URL: "/new/mailbox", Button: "Add a mailbox"},
		{Title: "Scopes", Text: "Derived from what the mailbox does. There is nothing to enter.", Done: s.Mailbox},
		{Title: "Authorise it", Text: "The owner opens a one-time link and signs in; they need no access to Mailgrant.", Done: s.Authorised, URL: box + "/connect", Button: "Make the authorization link"},
		{Title: "Test it", Text: "Step by step, from the settings to the opened mailbox.", Done: s.Tested, URL: box + "#test", Button: "Go to the test"},
		{Title: "Use the mail", Text: "By a webhook, or by an API key for your program. Access tokens are renewed by themselves.", Done: s.HandedOn, URL: "/new/webhook", Button: "Add a webhook"},
	}
	for i := range steps {
		if !steps[i].Done && steps[i].URL != "" {
			steps[i].Next = true
			return steps
		}
	}
	return nil
}

// chartView is a day by the hour, as heights of bars.
type chartView struct {
	Bars     []barView
	Total    diagnose.Hour
	Summary  string
	MostMail int
	MostRuns int
}

// barView is one hour. Heights are of a chart 100 high: up and down from 50.
type barView struct {
	diagnose.Hour
	X                                     int
	Received, Sent, Refreshed, RefreshBad int
}

const chartStep = 10 // the width of an hour

func chartOf(hours []diagnose.Hour) chartView {
	var c chartView
	for _, h := range hours {
		c.MostMail = max(c.MostMail, h.Received, h.Sent)
		c.MostRuns = max(c.MostRuns, h.Refreshed, h.RefreshFailed)
		c.Total.Received += h.Received
		c.Total.Sent += h.Sent
		c.Total.Refreshed += h.Refreshed
		c.Total.RefreshFailed += h.RefreshFailed
	}
	height := func(n, most int) int {
		if n == 0 {
			return 0
		}
		return max(2, n*48/most)
	}
	for i, h := range hours {
		c.Bars = append(c.Bars, barView{
			Hour: h, X: i*chartStep + 1, Received: height(h.Received, c.MostMail), Sent: height(h.Sent, c.MostMail),
			Refreshed: height(h.Refreshed, c.MostRuns), RefreshBad: height(h.RefreshFailed, c.MostRuns),
		})
	}
	c.Summary = fmt.Sprintf("In the last 24 hours: %s received, %s sent; %s, %s failed.", counted(c.Total.Received, "message"), counted(c.Total.Sent, "message"),
		counted(c.Total.Refreshed, "renewal"), strconv.Itoa(c.Total.RefreshFailed))
	return c
}

// firstPage is the list as it was asked for, from its beginning.
func firstPage(v overviewView) string {
	if v.Filter.value("after") == "" {
		return ""
	}
	q := url.Values{}
	for _, name := range []string{"q", "state", "provider"} {
		if value := v.Filter.value(name); value != "" {
			q.Set(name, value)
		}
	}
	return "/?" + q.Encode()
}

// counted is a number with its noun: 1 message, 2 messages.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func hourOf(at time.Time) string { return at.UTC().Format("15:04") + " UTC" }

// stateOptions are the choices of the filter.
func stateOptions() []option {
	out := []option{{Value: "", Label: "Any state"}}
	for _, s := range mailbox.Standings() {
		out = append(out, option{Value: string(s), Label: standingBadge(s).Text})
	}
	return out
}

func providerOptions(all []provider.Record) []option {
	out := []option{{Value: "", Label: "Any provider"}}
	for _, r := range all {
		out = append(out, option{Value: r.Name, Label: r.Name})
	}
	return out
}

func mailboxCount(n int) string {
	if n == 1 {
		return "1 mailbox"
	}
	return strconv.Itoa(n) + " mailboxes"
}
