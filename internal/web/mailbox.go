package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

const (
	listPageSize   = 100
	timelineLength = 50
	testTime       = 2 * time.Minute
)

func (p *Pages) mailboxPages(operator route) {
	operator("GET /{$}", p.list)
	operator("GET /mailboxes/{address}", p.mailboxShow)
	operator("POST /mailboxes/{address}/link", p.mailboxLink)
	operator("POST /mailboxes/{address}/test", p.mailboxTest)
	operator("POST /mailboxes/{address}/pause", p.mailboxPause)
	operator("POST /mailboxes/{address}/resume", p.mailboxResume)
	operator("POST /mailboxes/{address}/revoke", p.mailboxRevoke)
}

func mailboxPath(address string) string { return "/mailboxes/" + url.PathEscape(address) }

func escapeQuery(s string) string { return url.QueryEscape(s) }

func pauseVerb(paused bool) string {
	if paused {
		return "/resume"
	}
	return "/pause"
}

func rungTime(d time.Duration) string {
	if d = d.Round(time.Millisecond); d == 0 {
		return ""
	}
	return d.String()
}

// list shows mailboxes, those that need attention first.
func (p *Pages) list(w http.ResponseWriter, r *http.Request) {
	listed, err := p.Connect.Mailboxes.List(r.Context(), mailbox.Filter{After: r.URL.Query().Get("after"), Limit: listPageSize})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := listView{frame: p.frame(r, "Mailboxes"), Now: p.Now()}
	for _, l := range listed {
		row := listRow{
			Address: l.Mailbox.Address, Provider: l.Mailbox.Provider, SignedIn: l.Display,
			LastMail: l.LastMailAt,
		}
		if l.State == mailbox.GrantActive {
			row.NextRenew = l.NextRefreshAt
		}
		row.State, row.Why = stateOf(l.Mailbox, l.State, l.Quarantine != nil, l.Failures, l.CauseText)
		row.Attention = row.State.Tone == "red" || row.State.Tone == "yellow"
		if row.Attention {
			v.Attention++
		}
		v.Rows = append(v.Rows, row)
	}
	if len(listed) == listPageSize {
		v.Next = escapeQuery(listed[len(listed)-1].Mailbox.Address)
	}
	slices.SortStableFunc(v.Rows, func(a, b listRow) int {
		switch {
		case a.Attention == b.Attention:
			return 0
		case a.Attention:
			return -1
		default:
			return 1
		}
	})
	if len(v.Rows) == 0 {
		providers, err := p.Connect.Providers.List(r.Context())
		if err != nil {
			p.fail(w, r, err)
			return
		}
		v.Providers = len(providers)
	}
	p.show(w, r, http.StatusOK, listPage(v))
}

// stateOf words where a mailbox stands and, where it does not work, why.
func stateOf(m mailbox.Mailbox, s mailbox.GrantState, quarantined bool, failures int, why string) (badge, string) {
	switch {
	case m.Paused:
		return badge{"paused", "secondary"}, ""
	case s == mailbox.GrantDead:
		return badge{"needs authorisation", "red"}, why
	case s == mailbox.GrantSuspended:
		return badge{"suspended", "yellow"}, "The mailbox was changed; it has to be authorised anew."
	case s == mailbox.GrantRevoked:
		return badge{"ended", "secondary"}, ""
	case s == mailbox.GrantActive && failures > 0:
		return badge{"renewal fails", "yellow"}, why
	case s == mailbox.GrantActive:
		return badge{"connected", "green"}, ""
	case quarantined:
		return badge{"in quarantine", "yellow"}, ""
	default:
		return badge{"not authorised yet", "azure"}, ""
	}
}

func (p *Pages) mailboxShow(w http.ResponseWriter, r *http.Request) {
	p.showMailbox(w, r, http.StatusOK, func(v *mailboxView) {
		v.Notice = notices[r.URL.Query().Get("done")]
	})
}

// notices are what a page says after an act; only these words can be asked for.
var notices = map[string]string{
	"paused":  "The mailbox is paused: nothing is received or sent, and its authorisation is kept alive.",
	"resumed": "The mailbox goes on.",
	"revoked": "The authorisation was ended; its tokens are forgotten.",
}

func (p *Pages) showMailbox(w http.ResponseWriter, r *http.Request, code int, amend func(*mailboxView)) {
	v, err := p.mailboxView(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	amend(&v)
	p.show(w, r, code, mailboxPage(v))
}

func (p *Pages) mailboxView(r *http.Request) (mailboxView, error) {
	ctx := r.Context()
	m, err := p.Connect.Mailboxes.Get(ctx, r.PathValue("address"))
	if err != nil {
		return mailboxView{}, err
	}
	v := mailboxView{
		frame: p.frame(r, m.Address), Now: p.Now(), Address: m.Address, Provider: m.Provider, Title: m.Provider,
		Expects: m.Principal(), Delegate: m.ActsAs.Delegate() != "", Paused: m.Paused,
		Receive: receiveWords(m), Send: sendWords(m),
	}
	if kind, _, err := p.Connect.Providers.Registration(ctx, m.Provider); err == nil {
		v.Title = kind.Traits().Title
	}
	g, err := p.Reads.Grant(ctx, m.ID)
	switch {
	case err == nil:
		v.fillGrant(m, g)
		tokens, err := p.Reads.AccessTokens(ctx, m.ID)
		if err != nil {
			return v, err
		}
		for _, t := range tokens {
			v.Access = append(v.Access, accessRow{Resource: t.Resource, ExpiresAt: t.ExpiresAt})
		}
	case !fault.Has(err, "grant.none"):
		return v, err
	}
	q, err := p.Reads.QuarantineOf(ctx, m.ID)
	if err != nil {
		return v, err
	}
	if q != nil {
		v.Quarant = fmt.Sprintf("%s signed in %s; whether the mailbox opens is not decided yet. %s", q.Display, ago(v.Now, q.CreatedAt), q.CauseText)
		v.Waiting = diagnose.WhileWaiting(*q)
		if len(q.Who) > 0 {
			v.Waiting = whoWords(q.Who) + ": " + v.Waiting
		}
	}
	v.State, _ = stateOf(m, g.State, q != nil, g.Failures, g.CauseText)
	events, err := p.Reads.Events(ctx, event.Filter{MailboxIDs: []string{m.ID}, Limit: timelineLength})
	if err != nil {
		return v, err
	}
	for _, e := range events {
		v.Timeline = append(v.Timeline, rowOf(e))
	}
	return v, nil
}

func (v *mailboxView) fillGrant(m mailbox.Mailbox, g mailbox.Grant) {
	v.HasGrant = g.State != mailbox.GrantRevoked
	v.SignedIn, v.Subject, v.Scopes = g.Display, g.Subject.Key(), g.Scopes
	v.Since, v.By, v.LastRenew = g.ConnectedAt, g.ConnectedBy, g.LastRefreshAt
	v.Verdict = verdictWords(g.Verdict, m)
	if g.State == mailbox.GrantActive {
		v.NextRenew = g.NextRefreshAt
	}
	switch {
	case g.State == mailbox.GrantSuspended:
		v.Why, v.Remedy = "The mailbox was changed after it was authorised, so its authorisation is suspended.", "Make a new authorization link and send it to "+m.Principal()+"."
	case g.CauseText != "" && (g.State == mailbox.GrantDead || g.Failures > 0):
		v.Why, v.Remedy = g.CauseText, g.Remedy
	}
}

func verdictWords(v mailbox.Verdict, m mailbox.Mailbox) string {
	switch v {
	case mailbox.VerdictMatch:
		return "match: the mailbox's own address signed in, and the mailbox opens"
	case mailbox.VerdictAlias:
		return "alias: " + m.Address + " is a proven address of the person who signed in, and the mailbox opens"
	case mailbox.VerdictDelegate:
		return "delegate: " + m.Principal() + " was declared to act for the mailbox, signed in, and the mailbox opens"
	case mailbox.VerdictApp:
		return "app: the application itself acts for the mailbox"
	case mailbox.VerdictUnverifiable:
		return "unverifiable: nothing proves who signed in; an operator allowed that for this mailbox"
	default:
		return string(v)
	}
}

func actorWords(a event.Actor) string {
	kind := map[event.ActorKind]string{
		event.ActorSystem: "Mailgrant", event.ActorOperator: "operator", event.ActorAPIKey: "API key",
		event.ActorLocal: "this host,", event.ActorOwner: "mailbox owner",
	}[a.Kind]
	return strings.TrimSpace(kind + " " + a.Name)
}

func receiveWords(m mailbox.Mailbox) string {
	if m.Receive == nil {
		return "nothing"
	}
	s := protocolTitle(m.Receive.Protocol) + ", " + strings.Join(m.Receive.Folders, ", ")
	if m.Receive.Mode == mailbox.ModePoll {
		return fmt.Sprintf("%s, every %s", s, span(m.Receive.Every))
	}
	return s + ", as it arrives"
}

func sendWords(m mailbox.Mailbox) string {
	if m.Send == nil {
		return "nothing"
	}
	if m.From != "" {
		return protocolTitle(m.Send.Protocol) + ", from " + m.From
	}
	return protocolTitle(m.Send.Protocol)
}

func protocolTitle(n protocol.Name) string { return strings.ToUpper(string(n)) }

// mailboxLink makes a link and shows it, this once.
func (p *Pages) mailboxLink(w http.ResponseWriter, r *http.Request) {
	begun, err := p.Connect.Links.Begin(r.Context(), r.PathValue("address"), connect.LinkOptions{}, by(r))
	if err != nil {
		f := fault.Of(err)
		if f.Kind == fault.NotFound || f.Kind == fault.Internal {
			p.fail(w, r, err)
			return
		}
		p.showMailbox(w, r, status(f), func(v *mailboxView) { v.Problem = f.Text + " " + f.Remedy })
		return
	}
	p.showMailbox(w, r, http.StatusOK, func(v *mailboxView) {
		v.Link = &linkView{URL: begun.URL.Reveal(), QR: qrSVG(begun.URL.Reveal()), Expires: begun.ExpiresAt}
	})
}

// mailboxTest climbs the ladder; htmx asks for the rungs alone.
func (p *Pages) mailboxTest(w http.ResponseWriter, r *http.Request) {
	address := r.PathValue("address")
	// The server's own limit on writing is for pages; a test may take longer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(testTime + 10*time.Second))
	var v testView
	err := p.Tester.Test(r.Context(), address, diagnose.TestOptions{By: by(r)}, func(g diagnose.Rung) {
		v.Rungs = append(v.Rungs, rungView{
			Title: g.Title, OK: g.OK, Skipped: g.Skipped, Observed: g.Observed, Cause: g.Cause,
			Who: whoWords(g.Who), Remedy: g.Remedy, Took: g.Took,
		})
	})
	if err != nil && len(v.Rungs) == 0 {
		p.fail(w, r, err)
		return
	}
	v.OK = err == nil
	if partial(r) {
		p.show(w, r, http.StatusOK, ladder(v))
		return
	}
	p.show(w, r, http.StatusOK, testPage(p.frame(r, "Test of "+address), address, v))
}

// whoWords names who has to act, for people.
func whoWords(who []fault.Who) string {
	words := map[fault.Who]string{
		fault.MailboxOwner: "mailbox owner", fault.AppOwner: "owner of the app registration", fault.TenantAdmin: "tenant administrator",
		fault.MailAdmin: "mail administrator", fault.Operator: "operator", fault.Provider: "provider", fault.Nobody: "nobody",
	}
	var out []string
	for _, w := range who {
		if s, ok := words[w]; ok {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return "To do"
	}
	s := strings.Join(out, ", ")
	return strings.ToUpper(s[:1]) + s[1:]
}

func (p *Pages) mailboxPause(w http.ResponseWriter, r *http.Request) {
	p.act(w, r, "paused", func(address string) error { return p.Connect.Mailboxes.Pause(r.Context(), address, by(r)) })
}

func (p *Pages) mailboxResume(w http.ResponseWriter, r *http.Request) {
	p.act(w, r, "resumed", func(address string) error { return p.Connect.Mailboxes.Resume(r.Context(), address, by(r)) })
}

func (p *Pages) mailboxRevoke(w http.ResponseWriter, r *http.Request) {
	p.act(w, r, "revoked", func(address string) error { return p.Connect.Links.Revoke(r.Context(), address, by(r)) })
}

// act does one thing to a mailbox and returns to its page.
func (p *Pages) act(w http.ResponseWriter, r *http.Request, done string, do func(address string) error) {
	address := r.PathValue("address")
	if err := do(address); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, mailboxPath(address)+"?done="+done, http.StatusSeeOther)
}
