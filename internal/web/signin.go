package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// sessionKey carries the session of the signed-in operator in a request's context.
type sessionKey struct{}

// sessionCookie is bound to this host, this path, and TLS (RFC 6265bis section
// 4.1.3.2; browsers count http://localhost as trustworthy).
const sessionCookie = "__Host-mailgrant"

// keepSession hands the browser a session's secret; an empty one takes it away.
func keepSession(w http.ResponseWriter, secret string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: secret, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// sessionSecret is the secret that a browser brings; empty for none.
func sessionSecret(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// signedIn lets signed-in operators through and sends everybody else to sign in.
func (p *Pages) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := p.Access.Session(r.Context(), sessionSecret(r))
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, s)))
		case fault.KindOf(err) == fault.NotFound:
			p.askToSignIn(w, r)
		default:
			p.fail(w, r, err)
		}
	})
}

func (p *Pages) askToSignIn(w http.ResponseWriter, r *http.Request) {
	target := "/login/local"
	if partial(r) {
		// A redirect would be followed unseen and its page put into this one.
		w.Header().Set("HX-Redirect", target)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		target += "?next=" + escapeQuery(r.URL.RequestURI())
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// session is the session of the signed-in operator; the zero one on pages
// without a sign-in.
func session(r *http.Request) access.Session {
	s, _ := r.Context().Value(sessionKey{}).(access.Session)
	return s
}

// by is the signed-in operator as actor.
func by(r *http.Request) event.Actor { return access.OperatorCaller(session(r).Operator).Actor }

// visit is where a request comes from.
func (p *Pages) visit(r *http.Request) access.Visit {
	return access.Visit{From: p.remote(r), UserAgent: r.UserAgent()}
}

func (p *Pages) signInShow(w http.ResponseWriter, r *http.Request) {
	if err := p.Access.PasswordsOn(); err != nil {
		p.signInOff(w, r, err)
		return
	}
	if _, err := p.Access.Session(r.Context(), sessionSecret(r)); err == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	p.show(w, r, http.StatusOK, signInPage(signInView{frame: p.narrow(r, "Sign in"), Next: localPath(r.URL.Query().Get("next"))}))
}

// signInOff says that nobody can sign in here, and who can change that.
func (p *Pages) signInOff(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Of(err)
	p.show(w, r, http.StatusNotFound, problemPage(problemView{
		frame: p.narrow(r, "Sign in"), Heading: "Signing in is switched off", Text: f.Text, Remedy: f.Remedy,
	}))
}

func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	if err := p.Access.PasswordsOn(); err != nil {
		p.signInOff(w, r, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, badForm(err))
		return
	}
	name, next := r.PostForm.Get("name"), localPath(r.PostForm.Get("next"))
	in, err := p.Access.SignIn(r.Context(), name, r.PostForm.Get("password"), p.visit(r))
	if err != nil {
		f := fault.Of(err)
		if f.Kind == fault.Internal || f.Kind == fault.Temporary {
			p.fail(w, r, err)
			return
		}
		p.show(w, r, status(f), signInPage(signInView{
			frame: p.narrow(r, "Sign in"), Name: fault.Shorten(name, 64), Next: next, Problem: f.Text, Remedy: f.Remedy,
		}))
		return
	}
	p.begin(w, r, in, next)
}

// begin hands over the session that began. The secret is always a fresh one:
// one planted before the sign-in is worth nothing, and an older session of this
// browser ends.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request, in access.SignedIn, next string) {
	if err := p.Access.SignOut(r.Context(), sessionSecret(r)); err != nil {
		p.fail(w, r, err)
		return
	}
	keepSession(w, in.Secret.Reveal(), access.SessionLife)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) {
	if err := p.Access.SignOut(r.Context(), sessionSecret(r)); err != nil {
		p.fail(w, r, err)
		return
	}
	keepSession(w, "", -time.Second)
	http.Redirect(w, r, "/login/local", http.StatusSeeOther)
}

func (p *Pages) setupShow(w http.ResponseWriter, r *http.Request) {
	link := r.PathValue("link")
	l, err := p.Access.CheckSetup(r.Context(), link)
	switch {
	case err == nil:
		p.show(w, r, http.StatusOK, setupPage(setupView{frame: p.narrow(r, "Set up"), Link: link, For: l.Operator}))
	case fault.Has(err, "setup.spent"):
		p.show(w, r, http.StatusGone, setupPage(setupView{frame: p.narrow(r, "Set up"), Spent: true}))
	default:
		p.fail(w, r, err)
	}
}

func (p *Pages) setup(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, badForm(err))
		return
	}
	link, name := r.PathValue("link"), r.PostForm.Get("name")
	l, err := p.Access.CheckSetup(r.Context(), link)
	if err == nil {
		var in access.SignedIn
		if in, err = p.Access.CompleteSetup(r.Context(), link, name, r.PostForm.Get("password"), p.visit(r)); err == nil {
			p.begin(w, r, in, "/")
			return
		}
	}
	f := fault.Of(err)
	switch {
	case fault.Has(err, "setup.spent"):
		p.show(w, r, http.StatusGone, setupPage(setupView{frame: p.narrow(r, "Set up"), Spent: true}))
	case f.Kind == fault.Invalid:
		p.show(w, r, http.StatusUnprocessableEntity, setupPage(setupView{
			frame: p.narrow(r, "Set up"), Link: link, For: l.Operator, Form: form{Values: map[string][]string{"name": {fault.Shorten(name, 64)}}}.refused(err),
		}))
	default:
		p.fail(w, r, err)
	}
}

// localPath keeps a redirect on this server: a path that begins with exactly
// one slash, else the list. Browsers drop tabs and line ends from a URL and
// read a backslash as a slash, so neither may stand anywhere.
func localPath(s string) string {
	bad := func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsFunc(s, bad) {
		return "/"
	}
	return s
}

func badForm(err error) error {
	return &fault.Error{
		ID: "web.form", Kind: fault.Invalid, Text: "The form could not be read.", Who: []fault.Who{fault.Operator},
		Remedy: "Go back, reload the page and try again.", Err: err,
	}
}
