package web

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
)

// connectView is the way from a mailbox that is there to one that is tested: what
// is asked for, the link, how it goes, and what comes after.
type connectView struct {
	frame
	Now     time.Time
	Address string
	Expects string // who has to sign in
	Notice  string
	Problem *problem
	Asked   connect.Asked
	Fresh   *linkView // just made, shown this once
	Waiting waitingView
}

// waitingView is how the latest link stands.
type waitingView struct {
	Now     time.Time
	Address string
	Expects string
	Link    *connect.Link
	Listed  mailbox.Listed
	Fresh   bool // the link itself stands on the page
}

// waiting reports whether something may still come of the link.
func (v waitingView) waiting() bool {
	return v.Link != nil && v.Link.State == connect.LinkPending
}

// connected reports whether the mailbox works by the latest link.
func (v waitingView) connected() bool { return v.Listed.State == mailbox.GrantActive && !v.waiting() }

// step is where of the eight steps one is.
func (v connectView) step() int {
	switch {
	case v.Waiting.connected():
		return 7
	case v.Waiting.waiting():
		return 6
	}
	return 5
}

func whoNames(names []string) string {
	var who []fault.Who
	for _, n := range names {
		who = append(who, fault.Who(n))
	}
	return whoWords(who)
}

func (p *Pages) connectView(r *http.Request) (connectView, error) {
	ctx := r.Context()
	l, err := p.Connect.Mailboxes.Look(ctx, r.PathValue("address"))
	if err != nil {
		return connectView{}, err
	}
	m := l.Mailbox
	v := connectView{
		frame: p.frame(r, "Connect "+m.Address), Now: p.Now(), Address: m.Address, Expects: m.Principal(),
		Waiting: waitingView{Now: p.Now(), Address: m.Address, Expects: m.Principal(), Listed: l},
	}
	if v.Asked, err = p.Connect.Mailboxes.Asks(ctx, m); err != nil {
		return v, err
	}
	v.Waiting.Link, err = p.Connect.Links.Latest(ctx, m)
	return v, err
}

func (p *Pages) mailboxConnect(w http.ResponseWriter, r *http.Request) {
	v, err := p.connectView(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v.Notice = notices[r.URL.Query().Get("done")]
	p.show(w, r, http.StatusOK, connectPage(v))
}

// linkOut is the authorization link of a mailbox that waits for a sign-in; nil: none.
func (p *Pages) linkOut(r *http.Request, address string) (*connect.Link, error) {
	m, err := p.Connect.Mailboxes.Get(r.Context(), address)
	if err != nil {
		return nil, err
	}
	l, err := p.Connect.Links.Latest(r.Context(), m)
	if err != nil || l == nil || l.State != connect.LinkPending {
		return nil, err
	}
	return l, nil
}

// mailboxLink makes a link and shows it, this once. A link that is out is replaced
// only where the form names it: one that was made meanwhile is told.
func (p *Pages) mailboxLink(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	out, err := p.linkOut(r, r.PathValue("address"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if out != nil && f.value("replaces") != out.ID {
		http.Redirect(w, r, mailboxPath(r.PathValue("address"))+"/connect?done=out", http.StatusSeeOther)
		return
	}
	begun, err := p.Connect.Links.Begin(r.Context(), r.PathValue("address"), connect.LinkOptions{}, by(r))
	if err != nil && !mayShowAgain(err) {
		p.fail(w, r, err)
		return
	}
	v, seen := p.connectView(r)
	if seen != nil {
		p.fail(w, r, seen)
		return
	}
	if err != nil {
		f := fault.Of(err)
		v.Problem = &problem{f.Text, f.Remedy}
		p.show(w, r, status(f), connectPage(v))
		return
	}
	v.Fresh = &linkView{URL: begun.URL.Reveal(), QR: qrSVG(begun.URL.Reveal()), Expires: begun.ExpiresAt}
	v.Waiting.Fresh = true
	p.show(w, r, http.StatusOK, connectPage(v))
}

// mailboxWaiting is how the latest link stands, asked for again and again; once
// it is decided, nothing asks any more.
func (p *Pages) mailboxWaiting(w http.ResponseWriter, r *http.Request) {
	v, err := p.connectView(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v.Waiting.Fresh = r.URL.Query().Get("fresh") == "yes"
	p.show(w, r, http.StatusOK, waitingAgain(v))
}

func (p *Pages) mailboxCancel(w http.ResponseWriter, r *http.Request) {
	ctx, address := r.Context(), r.PathValue("address")
	link, m, err := p.Connect.Links.Status(ctx, r.PathValue("id"))
	if err == nil && m.Address != address {
		err = &fault.Error{ID: "link.unknown", Kind: fault.NotFound, Text: "This mailbox has no such link.", Remedy: "Go back to the mailbox's page."}
	}
	if err == nil {
		err = p.Connect.Links.Cancel(ctx, link.ID, by(r))
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, mailboxPath(address)+"?done=cancelled", http.StatusSeeOther)
}

// mailboxTest climbs the ladder. A script asks for each rung as it is climbed;
// without one the page comes when the climb has ended.
func (p *Pages) mailboxTest(w http.ResponseWriter, r *http.Request) {
	address := r.PathValue("address")
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	o := diagnose.TestOptions{By: by(r)}
	if o.SendTo = f.value("send_to"); o.SendTo != "" {
		if o.SendTo, err = message.Address(o.SendTo); err != nil {
			bad := *fault.Of(err)
			bad.Field = "send_to"
			p.show(w, r, http.StatusUnprocessableEntity, testPage(p.frame(r, "Test of "+address), address, f.refused(&bad), testView{}))
			return
		}
	}
	// The server's own limit on writing is for pages; a test may take longer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(testTime + 10*time.Second))
	l := &liveLadder{pages: p, w: w, r: r, live: partial(r)}
	err = p.Tester.Test(r.Context(), address, o, l.climbed)
	if err != nil && len(l.view.Rungs) == 0 {
		p.fail(w, r, err)
		return
	}
	l.view.OK = err == nil
	if l.live {
		l.part(verdict(l.view))
		return
	}
	p.show(w, r, http.StatusOK, testPage(p.frame(r, "Test of "+address), address, f, l.view))
}

// liveLadder hands rungs on as they are climbed.
type liveLadder struct {
	pages *Pages
	w     http.ResponseWriter
	r     *http.Request
	live  bool
	view  testView
}

func (l *liveLadder) climbed(g diagnose.Rung) {
	rung := rungView{
		Title: g.Title, OK: g.OK, Skipped: g.Skipped, Observed: g.Observed, Cause: g.Cause, Who: whoWords(g.Who), Remedy: g.Remedy, Took: g.Took,
	}
	if l.live && len(l.view.Rungs) == 0 {
		l.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		l.w.Header().Set("Cache-Control", "no-store")
		l.part(ladder(testView{Climbing: true}))
	}
	l.view.Rungs = append(l.view.Rungs, rung)
	if l.live {
		l.part(rungOf(rung))
	}
}

// partEnd separates the parts of a page that comes in parts; page.js knows it.
const partEnd = "\n<!-- part -->\n"

func (l *liveLadder) part(c templ.Component) {
	var b bytes.Buffer
	if err := c.Render(l.r.Context(), &b); err != nil {
		l.pages.Logger.ErrorContext(l.r.Context(), "render a step of a test", "error", err)
		return
	}
	_, _ = l.w.Write(slices.Concat(b.Bytes(), []byte(partEnd)))
	_ = http.NewResponseController(l.w).Flush()
}

// troubleOf is why mail does not flow, or nothing.
func troubleOf(l mailbox.Listed) diagnose.Matter {
	if m := diagnose.Trouble(l); m != nil {
		return *m
	}
	return diagnose.Matter{}
}

// onThisMachine reports whether a link leads to the machine it is opened on.
func onThisMachine(link string) bool {
	host := hostOf(link)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
