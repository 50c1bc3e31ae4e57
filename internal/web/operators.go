package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func (p *Pages) operatorPages(operator route) {
	operator("GET /operators", p.operators)
	operator("POST /operators", p.operatorInvite)
	operator("GET /operators/{name}", p.operatorShow)
	operator("POST /operators/{name}/link", p.operatorLink)
	operator("POST /operators/{name}/remove", p.operatorRemove)
	operator("POST /operators/{name}/sessions", p.operatorEndSessions)
}

// ownPages are what an operator does about their own sign-in.
func (p *Pages) ownPages(operator route) {
	operator("GET /me", p.own)
	operator("POST /me/password", p.ownPassword)
	operator("POST /me/sessions", p.ownEndSessions)
}

func operatorPath(name string) string { return "/operators/" + url.PathEscape(name) }

// operatorRow is an operator in words.
type operatorRow struct {
	Name      string
	You       bool
	State     badge
	LinkEnds  time.Time // zero: there is no link
	SignedIn  time.Time
	CreatedBy string
	CreatedAt time.Time
}

// operatorsView is the list of operators with the form that invites one.
type operatorsView struct {
	frame
	Now  time.Time
	Rows []operatorRow
	Form form
	Done string
}

// operatorView is one operator.
type operatorView struct {
	frame
	Now      time.Time
	Operator operatorRow
	Sessions sessionsView
	Link     *linkView // fresh, shown once
	Form     form      // what could not be done
	Done     string
}

// sessionsView is where somebody is signed in.
type sessionsView struct {
	Now    time.Time
	Action string // where ending is posted to
	Rows   []sessionRow
	Whose  string // the operator's name; empty: your own
}

type sessionRow struct {
	access.Session
	This bool // the one in which the page is looked at
}

// ownView is one's own sign-in.
type ownView struct {
	frame
	Form     form
	Sessions sessionsView
	Done     string
}

func (p *Pages) operatorRow(r *http.Request, o access.Operator) operatorRow {
	row := operatorRow{Name: o.Name, You: o.Name == session(r).Operator, SignedIn: o.SignedInAt, CreatedBy: o.CreatedBy, CreatedAt: o.CreatedAt}
	if o.LinkEnds.After(p.Now()) {
		row.LinkEnds = o.LinkEnds
	}
	switch {
	case o.PasswordHash != "":
		row.State = badge{"can sign in", "green"}
	case row.LinkEnds.IsZero():
		row.State = badge{"invited, the link has ended", "yellow"}
	default:
		row.State = badge{"invited", "azure"}
	}
	return row
}

func (p *Pages) operators(w http.ResponseWriter, r *http.Request) {
	done := ""
	if r.URL.Query().Get("done") == "removed" {
		done = "The operator was removed; their sessions have ended."
	}
	p.operatorList(w, r, http.StatusOK, form{}, done)
}

func (p *Pages) operatorList(w http.ResponseWriter, r *http.Request, code int, f form, done string) {
	all, err := p.Access.Operators(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := operatorsView{frame: p.frame(r, "Operators"), Now: p.Now(), Form: f, Done: done}
	for _, o := range all {
		v.Rows = append(v.Rows, p.operatorRow(r, o))
	}
	p.show(w, r, code, operatorsPage(v))
}

func (p *Pages) operatorInvite(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	o, secret, err := p.Access.Invite(r.Context(), by(r), f.value("name"))
	switch {
	case err == nil:
		p.operatorPage(w, r, http.StatusOK, o, func(v *operatorView) { v.Link = p.setupLink(secret, o.LinkEnds) })
	case fault.Has(err, "operator.exists"):
		f.Problems = map[string]problem{"name": {fault.Of(err).Text, fault.Of(err).Remedy}}
		p.operatorList(w, r, status(fault.Of(err)), f, "")
	case mayShowAgain(err):
		p.operatorList(w, r, status(fault.Of(err)), f.refused(err), "")
	default:
		p.fail(w, r, err)
	}
}

// setupLink is a fresh set-up link, shown once.
func (p *Pages) setupLink(secret seal.Secret, until time.Time) *linkView {
	address := p.PublicURL.JoinPath("setup", secret.Reveal()).String()
	return &linkView{URL: address, QR: qrSVG(address), Expires: until}
}

func (p *Pages) operatorShow(w http.ResponseWriter, r *http.Request) {
	o, err := p.Access.Operator(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.operatorPage(w, r, http.StatusOK, o, func(v *operatorView) {
		if r.URL.Query().Get("done") == "ended" {
			v.Done = "Ended: the next request there has to sign in."
		}
	})
}

func (p *Pages) operatorPage(w http.ResponseWriter, r *http.Request, code int, o access.Operator, amend func(*operatorView)) {
	v := operatorView{frame: p.frame(r, o.Name), Now: p.Now(), Operator: p.operatorRow(r, o)}
	var err error
	if v.Sessions, err = p.sessionsOf(r, o.Name); err != nil {
		p.fail(w, r, err)
		return
	}
	v.Sessions.Action, v.Sessions.Whose = operatorPath(o.Name)+"/sessions", o.Name
	amend(&v)
	p.show(w, r, code, operatorPageOf(v))
}

func (p *Pages) sessionsOf(r *http.Request, name string) (sessionsView, error) {
	v := sessionsView{Now: p.Now()}
	all, err := p.Access.SessionsOf(r.Context(), name)
	for _, s := range all {
		v.Rows = append(v.Rows, sessionRow{s, s.ID == session(r).ID})
	}
	return v, err
}

func (p *Pages) operatorLink(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	secret, until, err := p.Access.IssueSetupFor(r.Context(), by(r), name)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	o, err := p.Access.Operator(r.Context(), name)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.operatorPage(w, r, http.StatusOK, o, func(v *operatorView) { v.Link = p.setupLink(secret, until) })
}

func (p *Pages) operatorRemove(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	err := p.Access.DeleteOperator(r.Context(), by(r), name)
	if fault.Has(err, "operator.last") {
		if o, found := p.Access.Operator(r.Context(), name); found == nil {
			p.operatorPage(w, r, status(fault.Of(err)), o, func(v *operatorView) { v.Form = v.Form.refused(err) })
			return
		}
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/operators?done=removed", http.StatusSeeOther)
}

// endSessions ends the session that a form names, or all but one.
func (p *Pages) endSessions(w http.ResponseWriter, r *http.Request, name, except, back string) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if id := f.value("session"); id != "" {
		err = p.Access.EndSession(r.Context(), by(r), name, id)
	} else {
		_, err = p.Access.EndSessions(r.Context(), by(r), name, except)
	}
	// One that has ended meanwhile is what was asked for.
	if err != nil && !fault.Has(err, "session.unknown") {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, back+"?done=ended", http.StatusSeeOther)
}

func (p *Pages) operatorEndSessions(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p.endSessions(w, r, name, "", operatorPath(name))
}

func (p *Pages) own(w http.ResponseWriter, r *http.Request) {
	done := map[string]string{
		"ended":    "Ended: the next request there has to sign in.",
		"password": "Your password was changed. You are signed in nowhere else any more.",
	}[r.URL.Query().Get("done")]
	p.ownPage(w, r, http.StatusOK, form{}, done)
}

func (p *Pages) ownPage(w http.ResponseWriter, r *http.Request, code int, f form, done string) {
	v := ownView{frame: p.frame(r, "Your sign-in"), Form: f, Done: done}
	v.Section = ""
	var err error
	if v.Sessions, err = p.sessionsOf(r, session(r).Operator); err != nil {
		p.fail(w, r, err)
		return
	}
	v.Sessions.Action = "/me/sessions"
	p.show(w, r, code, ownPage(v))
}

func (p *Pages) ownPassword(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	err = p.Access.ChangePassword(r.Context(), session(r), f.Values.Get("old_password"), f.Values.Get("password"), p.visit(r))
	switch {
	case err == nil:
		http.Redirect(w, r, "/me?done=password", http.StatusSeeOther)
	case mayShowAgain(err):
		p.ownPage(w, r, status(fault.Of(err)), f.refused(err), "")
	default:
		p.fail(w, r, err)
	}
}

func (p *Pages) ownEndSessions(w http.ResponseWriter, r *http.Request) {
	p.endSessions(w, r, session(r).Operator, session(r).ID, "/me")
}
