// Package web is the pages: operators sign in and look after mailboxes; mailbox
// owners follow a one-time link and learn whether it worked.
//
// Handlers translate and nothing more: a form becomes a call of a capability,
// its answer becomes a view, a view becomes a page (templ). Every page works
// without scripts; htmx saves a reload here and there. The content security
// policy allows our own files only.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

//go:embed assets
var embedded embed.FS

// Options is what the pages are joined to.
type Options struct {
	Connect        *connect.Connect
	Access         *access.Access
	Webhooks       *webhook.Webhooks
	Reads          Reads
	Tester         Tester
	Overview       *diagnose.Overview
	Outbox         Outbox
	Lender         Lender
	Inspector      diagnose.Inspector
	Manual         Manual
	Draining       <-chan struct{} // closed when the server is to end: streams end with it
	PublicURL      *url.URL
	TrustedProxies []netip.Prefix
	Logger         *slog.Logger
	Now            func() time.Time
}

// Pages serves every page.
type Pages struct {
	Options
	assets assetURLs
	files  map[string]file
	manual []byte // the page about the API
	mux    *http.ServeMux

	verdicts verdicts // of providers
}

type file struct {
	body        []byte
	contentType string
}

// maxForm bounds what a form may hold.
const maxForm = 64 << 10

// New joins the pages.
func New(o Options) (*Pages, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pages{Options: o, files: map[string]file{}, mux: http.NewServeMux()}
	if err := p.loadAssets(); err != nil {
		return nil, err
	}
	if err := p.makeManual(); err != nil {
		return nil, err
	}
	p.routes()
	return p, nil
}

// route adds a page for signed-in operators.
type route func(pattern string, h http.HandlerFunc)

func (p *Pages) routes() {
	var patterns []string
	operator := func(pattern string, h http.HandlerFunc) {
		p.mux.Handle(pattern, p.signedIn(h))
		patterns = append(patterns, pattern)
	}

	p.mux.HandleFunc("GET /assets/{hash}/{name}", p.asset)
	p.mux.HandleFunc("GET /docs", p.manualShow)
	p.mux.HandleFunc("GET /authorize/{link}", p.ownerShow)
	p.mux.HandleFunc("POST /authorize/{link}", p.ownerStart)
	p.mux.HandleFunc("GET /oauth/callback", p.callback)
	p.mux.HandleFunc("GET /oauth_redirect.do", p.callback)
	p.mux.HandleFunc("GET /sign-in-problem", p.problem)
	p.mux.HandleFunc("/side_door.do", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/login/local", http.StatusPermanentRedirect)
	})
	p.mux.HandleFunc("GET /login/local", p.signInShow)
	p.mux.HandleFunc("POST /login/local", p.signIn)
	p.mux.HandleFunc("GET /setup/{link}", p.setupShow)
	p.mux.HandleFunc("POST /setup/{link}", p.setup)
	p.mux.HandleFunc("POST /logout", p.signOut)

	// Each section has its own list of pages, beside their handlers.
	for _, pages := range []func(route){
		p.overviewPages, p.mailboxPages, p.providerPages, p.messagePages, p.submissionPages, p.eventPages, p.webhookPages, p.inspectPages,
		p.appPages, p.operatorPages, p.ownPages,
	} {
		pages(operator)
	}
	p.leadBack(append(patterns, "POST /logout"))
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, http.StatusNotFound, problemPage(problemView{
			frame: p.frame(r, "Not found"), Heading: "There is no such page",
			Text: "Nothing is served at this address.", Remedy: "Check the address, or begin at the list of mailboxes.", Home: true,
		}))
	})
}

// csp allows our own files, the images that the style sheet carries within
// itself, and nothing else.
const csp = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves a page with the headers that all pages share.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	if p.PublicURL.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	r.Body = http.MaxBytesReader(w, r.Body, longestForm(r.URL.Path))
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, http.StatusForbidden, problemPage(problemView{
			frame: p.frame(r, "Refused"), Heading: "This request came from another site",
			Text: "Forms of Mailgrant are accepted from its own pages only. Nothing was changed.", Remedy: "Open the page here and try again.",
		}))
	}))
	protection.Handler(p.mux).ServeHTTP(w, r)
}

// longestForm bounds what is sent to a path.
func longestForm(path string) int64 {
	switch path {
	case submissionsPath:
		return maxCompose
	case inspectPath:
		return maxInspect
	}
	return maxForm
}

func (p *Pages) frame(r *http.Request, title string) frame {
	f := frame{Title: title, Assets: p.assets, Section: sectionOf(r.URL.Path)}
	f.Operator = session(r).Operator
	return f
}

// narrow is the frame of a page with a small form.
func (p *Pages) narrow(r *http.Request, title string) frame {
	f := p.frame(r, title)
	f.Narrow = true
	return f
}

// show renders into memory first, so that a failure never leaves half a page.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	var b bytes.Buffer
	if err := c.Render(r.Context(), &b); err != nil {
		p.Logger.ErrorContext(r.Context(), "render a page", "path", r.Pattern, "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// fail shows a fault as a page.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Of(err)
	if f.Kind == fault.Internal {
		p.Logger.ErrorContext(r.Context(), "a page failed", "path", r.Pattern, "error", err)
	}
	if partial(r) {
		p.show(w, r, status(f), alert("danger", heading(f), f.Text, f.Remedy))
		return
	}
	p.show(w, r, status(f), problemPage(problemView{
		frame: p.frame(r, "That did not work"), Heading: heading(f), Text: f.Text, Remedy: f.Remedy, Reference: f.Detail.CorrelationID,
	}))
}

// partial says that a script asked, for a part of a page.
func partial(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

func heading(f *fault.Error) string {
	switch f.Kind {
	case fault.NotFound:
		return "Not found"
	case fault.Temporary:
		return "Not possible just now"
	default:
		return "That did not work"
	}
}

func status(f *fault.Error) int {
	switch f.Kind {
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict, fault.Dead:
		return http.StatusConflict
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Refused:
		return http.StatusBadGateway
	case fault.Temporary:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// loadAssets reads the embedded files and names them by content, so that they
// can be cached for good.
func (p *Pages) loadAssets() error {
	add := func(path, contentType string) (string, error) {
		b, err := fs.ReadFile(embedded, "assets/"+path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(b)
		name := path[strings.LastIndexByte(path, '/')+1:]
		key := hex.EncodeToString(sum[:6]) + "/" + name
		p.files[key] = file{body: b, contentType: contentType}
		return "/assets/" + key, nil
	}
	const css, js = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
	var err error
	for _, a := range []struct {
		to         *string
		path, kind string
	}{
		{&p.assets.Tabler, "vendor/tabler.min.css", css},
		{&p.assets.App, "app.css", css},
		{&p.assets.Theme, "theme.js", js},
		{&p.assets.Page, "page.js", js},
		{&p.assets.HTMX, "vendor/htmx.min.js", js},
	} {
		if *a.to, err = add(a.path, a.kind); err != nil {
			return err
		}
	}
	p.assets.Styled = p.assets.Tabler != ""
	return nil
}

func (p *Pages) asset(w http.ResponseWriter, r *http.Request) {
	f, ok := p.files[r.PathValue("hash")+"/"+r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

// remote is the address of the caller, behind trusted proxies too.
func (p *Pages) remote(r *http.Request) netip.Addr {
	return access.RemoteAddr(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), p.TrustedProxies)
}
