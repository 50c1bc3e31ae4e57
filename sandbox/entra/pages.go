package entra

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

//go:embed pages
var pageFiles embed.FS

// pages are parsed once; a mistake in one of them fails every test, so it cannot reach anybody.
var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// assets serves the style sheet and the one script.
func assets() http.Handler {
	files, err := fs.Sub(pageFiles, "pages/assets")
	if err != nil {
		return http.NotFoundHandler()
	}
	return http.FileServerFS(files)
}

// page is what every page shows around its own content.
type page struct {
	Title   string
	Segment string
	Flow    string
	App     string
	Content any
}

// show writes a page. formTargets are origins, besides the sandbox's own, to which its forms may lead: browsers apply
// form-action to the redirects that follow a form, and the last of these goes to the app.
func (s *Server) show(x *exchange, name string, status int, content page, formTargets ...string) {
	var text bytes.Buffer
	if err := pages.ExecuteTemplate(&text, name, content); err != nil {
		http.Error(x, "the sandbox could not make this page", http.StatusInternalServerError)
		return
	}
	header := x.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; "+
		"frame-ancestors 'none'; form-action 'self' "+strings.Join(formTargets, " "))
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Frame-Options", "DENY")
	x.WriteHeader(status)
	_, _ = x.Write(text.Bytes())
}

func (s *Server) showInFlow(x *exchange, name, title string, f *flow, content any) {
	s.show(x, name, http.StatusOK, page{
		Title: title, Segment: f.request.segment, Flow: f.id, App: f.request.client.Name, Content: content,
	}, origin(f.request.redirectURI))
}

// complaint is what a page with a sign-in form says about the last attempt; the zero complaint says nothing.
type complaint struct{ Words, Number string }

func complain(refusal *problem) complaint {
	if refusal == nil {
		return complaint{}
	}
	words := refusal.text
	switch refusal.aadsts {
	case 50034:
		words = "This username does not exist in the sandbox. Check the spelling, or use another account."
	case 50126:
		words = "Your account or password is incorrect. If you don't remember the password, look at the list that the sandbox printed when it started."
	}
	return complaint{Words: words, Number: refusal.outcome()}
}

func (s *Server) showSignIn(x *exchange, f *flow, userName string, refusal *problem) {
	x.call.Outcome = "sign-in page"
	if refusal != nil {
		x.call.Outcome = refusal.outcome()
	}
	s.showInFlow(x, "signin.html", "Sign in", f, struct {
		UserName  string
		Complaint complaint
	}{userName, complain(refusal)})
}

func (s *Server) showPicker(x *exchange, f *flow) {
	x.call.Outcome = "account picker"
	_, users := s.signedIn(f.browserID)
	s.showInFlow(x, "picker.html", "Pick an account", f, users)
}

func (s *Server) showConsent(x *exchange, f *flow, user directory.User) {
	x.call.Outcome = "consent page"
	content := struct {
		UserName, Tenant string
		Admin            bool
		Words            []string
	}{UserName: user.UPN, Admin: user.Admin}
	if tenant, found := s.world.Tenant(f.request.client.TenantID); found {
		content.Tenant = tenant.Name
	}
	for _, one := range f.request.scopes {
		content.Words = append(content.Words, one.words())
	}
	s.showInFlow(x, "consent.html", "Permissions requested", f, content)
}

func (s *Server) showApprovalNeeded(x *exchange, f *flow, user directory.User, refusal *problem) {
	x.call.Outcome = refusal.outcome()
	s.showInFlow(x, "approval.html", "Need admin approval", f, struct{ UserName, Sentence string }{user.UPN, refusal.Error()})
}

// showError is the page for what must not or cannot be told to the app.
func (s *Server) showError(x *exchange, refusal *problem) {
	x.call.Outcome = refusal.outcome()
	s.show(x, "error.html", refusal.status, page{Title: "Sorry, but we’re having trouble signing you in", Content: struct {
		Sentence, Number, TraceID, CorrelationID, Timestamp string
	}{refusal.Error(), itoa(refusal.aadsts), x.traceID, x.correlationID, entraTime(x.at)}})
}

// serveErrorCode explains a number, as the address in `error_uri` promises.
func (s *Server) serveErrorCode(x *exchange) {
	number, err := strconv.Atoi(x.request.URL.Query().Get("code"))
	entry, found := catalogue[number]
	if err != nil || !found {
		http.Error(x, "The sandbox does not know this error code. Ask for one as in /error?code=50058.", http.StatusNotFound)
		return
	}
	s.show(x, "code.html", http.StatusOK, page{Title: "AADSTS" + itoa(number), Content: struct{ Error, Text string }{entry.oauth, entry.text}})
}

func (s *Server) showSignedOut(x *exchange) {
	s.show(x, "signedout.html", http.StatusOK, page{Title: "You signed out"})
}

// showFormPost is the page of OAuth 2.0 Form Post Response Mode. Its script submits it; without scripts a button does.
func (s *Server) showFormPost(x *exchange, req authorizeRequest, answer url.Values) {
	s.show(x, "formpost.html", http.StatusOK, page{Title: "Working…", App: req.client.Name, Content: struct {
		Target string
		Answer url.Values
	}{req.redirectURI, answer}}, origin(req.redirectURI))
}

// origin is scheme, host and port of an address, for a Content-Security-Policy.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
