package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

const (
	timelineLength = 50
	testTime       = 2 * time.Minute
)

func (p *Pages) mailboxPages(operator route) {
	operator("GET /new/mailbox", p.mailboxNew)
	operator("POST /mailboxes", p.mailboxCreate)
	operator("GET /mailboxes/{address}", p.mailboxShow)
	operator("GET /mailboxes/{address}/change", p.mailboxChange)
	operator("POST /mailboxes/{address}/change", p.mailboxUpdate)
	operator("POST /mailboxes/{address}/delete", p.mailboxDelete)
	operator("GET /mailboxes/{address}/connect", p.mailboxConnect)
	operator("GET /mailboxes/{address}/connect/state", p.mailboxWaiting)
	operator("POST /mailboxes/{address}/links/{id}/cancel", p.mailboxCancel)
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

func (p *Pages) mailboxShow(w http.ResponseWriter, r *http.Request) {
	p.showMailbox(w, r, http.StatusOK, func(v *mailboxView) {
		v.Notice = notices[r.URL.Query().Get("done")]
	})
}

// notices are what a page says after an act; only these words can be asked for.
var notices = map[string]string{
	"added":     "It was added.",
	"updated":   "The changes are saved.",
	"unchanged": "Nothing was changed: it was so already.",
	"removed":   "It was removed, with all that belonged to it.",
	"paused":    "The mailbox is paused: nothing is received or sent, and its authorisation is kept alive.",
	"resumed":   "The mailbox goes on.",
	"revoked":   "The authorisation was ended; its tokens are forgotten.",
	"secret":    "The client secret was added; it is tried first.",
	"dropped":   "The client secret was dropped.",
	"out":       "A link is out already, so no new one was made. It goes on, unless you replace it below.",
	"cancelled": "The link was cancelled; nobody can use it any more.",
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
	l, err := p.Connect.Mailboxes.Look(ctx, r.PathValue("address"))
	if err != nil {
		return mailboxView{}, err
	}
	m := l.Mailbox
	v := mailboxView{
		frame: p.frame(r, m.Address), Now: p.Now(), Address: m.Address, Provider: m.Provider, Title: m.Provider,
		Expects: m.Principal(), Delegate: m.ActsAs.Delegate() != "", Paused: m.Paused, Receive: receiveWords(m), Send: sendWords(m), Settings: m,
		Profile: m.Profile, After: disposalWords(m), LastMail: l.LastMailAt, Standing: l.Standing(), State: standingBadge(l.Standing()), Trouble: diagnose.Trouble(l),
		Waits: l.Quarantine != nil,
	}
	if kind, record, err := p.Connect.Mailboxes.Presets(ctx, m.Provider); err == nil {
		v.Title = kind.Traits().Title
		receive, send := m.Endpoints(kind, record)
		v.ReceiveAt, v.SendAt = serverWords(receive), serverWords(send)
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
	if v.Latest, err = p.Connect.Links.Latest(ctx, m); err != nil {
		return v, err
	}
	events, err := p.Reads.Events(ctx, event.Filter{MailboxIDs: []string{m.ID}, Limit: timelineLength})
	if err != nil {
		return v, err
	}
	for _, e := range events {
		v.Timeline = append(v.Timeline, rowOf(e).on(mailboxPath(m.Address)))
	}
	return v, nil
}

// serverWords is where a protocol is spoken.
func serverWords(at *protocol.Endpoint) string {
	if at == nil {
		return ""
	}
	return serverView{at.Host, at.Port, string(at.TLS)}.String()
}

func (v *mailboxView) fillGrant(m mailbox.Mailbox, g mailbox.Grant) {
	v.HasGrant = g.State != mailbox.GrantRevoked
	v.SignedIn, v.Subject, v.Scopes = g.Display, g.Subject.Key(), g.Scopes
	v.Since, v.By, v.LastRenew = g.ConnectedAt, g.ConnectedBy, g.LastRefreshAt
	v.Verdict = verdictWords(g.Verdict, m)
	if g.State == mailbox.GrantActive {
		v.NextRenew = g.NextRefreshAt
	}
}

func disposalWords(m mailbox.Mailbox) string {
	switch {
	case m.Receive == nil:
		return ""
	case m.AfterReceive == protocol.DisposeMarkSeen:
		return "marked as read"
	case m.AfterReceive == protocol.DisposeDelete:
		return "deleted from the mailbox"
	case strings.HasPrefix(m.AfterReceive, "move:"):
		return "moved to" + strings.TrimPrefix(m.AfterReceive, "move:")
	}
	return "kept in the mailbox"
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

// whoWords names who has to act, for people.
func whoWords(who []fault.Who) string {
	words := map[fault.Who]string{
		fault.MailboxOwner: "mailbox owner", fault.AppOwner: "owner of the app registration", fault.TenantAdmin: "tenant administrator",
		fault.MailAdmin: "mail administrator", fault.Operator: "operator", fault.Provider: "provider", fault.Nobody: "nobody has to act",
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
