package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// operatorKey carries the name of the signed-in operator in a request's context.
type operatorKey struct{}

const sessionOperator = "operator"

// signedIn lets signed-in operators through and sends everybody else to sign in.
func (p *Pages) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := p.sessions.GetString(r.Context(), sessionOperator)
		if name == "" {
			target := "/login/local"
			if partial(r) {
				// A redirect would be followed unseen and its page put into this one.
				w.Header().Set("HX-Redirect", target)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method == http.MethodGet && r.URL.Path != "/" {
				target += "?next=" + escapeQuery(r.URL.Path)
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, name)))
	})
}

// by is the signed-in operator as actor.
func by(r *http.Request) event.Actor {
	name, _ := r.Context().Value(operatorKey{}).(string)
	return access.OperatorCaller(name).Actor
}

func (p *Pages) signInShow(w http.ResponseWriter, r *http.Request) {
	if p.sessions.GetString(r.Context(), sessionOperator) != "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	p.show(w, r, http.StatusOK, signInPage(signInView{frame: p.narrow(r, "Sign in"), Next: localPath(r.URL.Query().Get("next"))}))
}

func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, badForm(err))
		return
	}
	name, next := r.PostForm.Get("name"), localPath(r.PostForm.Get("next"))
	o, err := p.Access.SignIn(r.Context(), name, r.PostForm.Get("password"), p.remote(r))
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
	p.begin(w, r, o.Name, next)
}

// begin starts a fresh session, so that one planted before the sign-in is worth nothing.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request, name, next string) {
	if err := p.sessions.RenewToken(r.Context()); err != nil {
		p.fail(w, r, err)
		return
	}
	p.sessions.Put(r.Context(), sessionOperator, name)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) {
	if err := p.sessions.Destroy(r.Context()); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login/local", http.StatusSeeOther)
}

func (p *Pages) setupShow(w http.ResponseWriter, r *http.Request) {
	link := r.PathValue("link")
	good, err := p.Access.CheckSetup(r.Context(), link)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := setupView{frame: p.narrow(r, "Set up"), Link: link, Spent: !good}
	code := http.StatusOK
	if v.Spent {
		code = http.StatusGone
	}
	p.show(w, r, code, setupPage(v))
}

func (p *Pages) setup(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, badForm(err))
		return
	}
	link, name := r.PathValue("link"), r.PostForm.Get("name")
	o, err := p.Access.CompleteSetup(r.Context(), link, name, r.PostForm.Get("password"))
	if err == nil {
		p.begin(w, r, o.Name, "/")
		return
	}
	f := fault.Of(err)
	switch {
	case fault.Has(err, "setup.spent"):
		p.show(w, r, http.StatusGone, setupPage(setupView{frame: p.narrow(r, "Set up"), Spent: true}))
	case f.Kind == fault.Invalid:
		p.show(w, r, http.StatusUnprocessableEntity, setupPage(setupView{
			frame: p.narrow(r, "Set up"), Link: link, Name: fault.Shorten(name, 64), Field: f.Field, Problem: f.Text, Remedy: f.Remedy,
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
