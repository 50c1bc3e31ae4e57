package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// ownerShow is the GET of a link. It changes nothing: mail scanners open links.
func (p *Pages) ownerShow(w http.ResponseWriter, r *http.Request) {
	link := r.PathValue("link")
	d, err := p.Connect.Links.Describe(r.Context(), link)
	if fault.Has(err, "link.unknown") {
		p.show(w, r, http.StatusNotFound, ownerPage(ownerView{frame: p.frame(r, "Link not known"), State: "unknown"}))
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	code := http.StatusOK
	if d.State == connect.LinkExpired || d.State == connect.LinkCancelled {
		code = http.StatusGone
	}
	p.show(w, r, code, ownerPage(p.ownerView(r, link, d)))
}

func (p *Pages) ownerView(r *http.Request, link string, d connect.Description) ownerView {
	v := ownerView{
		frame: p.frame(r, "Connect "+d.Mailbox), Now: p.Now(), State: d.State, Link: "/authorize/" + link,
		Mailbox: d.Mailbox, Principal: d.Principal, Delegate: d.Delegated, Provider: d.SignsInAt,
		Permissions: d.Permissions, AttemptsLeft: d.AttemptsLeft, Expires: d.ExpiresAt, SignOut: d.SignOutURL,
	}
	if o := d.Last; o != nil {
		text, unstored := strings.CutSuffix(o.Text, " Nothing was stored.")
		v.Last = &outcomeView{
			Others: o.OthersAct(), OK: o.OK, Mismatch: o.Verdict == mailbox.VerdictMismatch && o.SignedIn != "", Expected: o.Expected, SignedIn: o.SignedIn,
			Guided: o.Cause == "connect.wrong_person", Text: text, Unstored: unstored, Remedy: o.Remedy, Reference: o.Reference, Reply: o.Reply, Verdict: o.Text, Pending: o.OK && o.Cause != "",
		}
	}
	if d.State == connect.LinkPending {
		v.URL = p.PublicURL.String() + v.Link
		v.QR = qrSVG(v.URL)
	}
	return v
}

// ownerStart begins an attempt and sends the browser to the provider.
func (p *Pages) ownerStart(w http.ResponseWriter, r *http.Request) {
	link := r.PathValue("link")
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, badForm(err))
		return
	}
	started, err := p.Connect.Links.Start(r.Context(), link, connect.Choice{SelectAccount: r.PostForm.Get("retry") == "select_account"})
	if err != nil {
		if f := fault.Of(err); strings.HasPrefix(f.ID, "link.") {
			// The link's own page says what became of it.
			http.Redirect(w, r, "/authorize/"+url.PathEscape(link), http.StatusSeeOther)
			return
		}
		p.fail(w, r, err)
		return
	}
	target, err := url.Parse(started.URL)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.SetCookie(w, attemptCookie(target.Query().Get("state"), started.Binding.Reveal()+"."+link, started.ExpiresAt.Sub(p.Now())))
	// A form may only go to our own origin (form-action), and browsers hold every
	// redirect after the form to that too, the provider's own ones included. So
	// a page in between sends the browser on, by a header that needs no script.
	w.Header().Set("Refresh", "0;url="+started.URL)
	p.show(w, r, http.StatusOK, onwardPage(p.frame(r, "On to the sign-in"), started.URL))
}

// attemptCookie binds an attempt to this browser. Each attempt has its own, so
// that two tabs do not spoil each other.
func attemptCookie(state, value string, life time.Duration) *http.Cookie {
	sum := sha256.Sum256([]byte(state))
	return &http.Cookie{
		Name: "__Host-mailgrant-" + hex.EncodeToString(sum[:8]), Value: value, Path: "/",
		MaxAge: int(life.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// callback takes the provider's answer and forgets the URL it came by.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for _, values := range q {
		if len(values) > 1 { // RFC 6749 section 3.1: such an answer is no answer
			q = url.Values{}
			break
		}
	}
	state := q.Get("state")
	expired := attemptCookie(state, "", 0)
	expired.MaxAge = -1
	binding, link := "", ""
	if c, err := r.Cookie(expired.Name); err == nil {
		binding, link, _ = strings.Cut(c.Value, ".")
		http.SetCookie(w, expired)
	}
	res, err := p.Connect.Links.Finish(r.Context(), connect.Callback{
		State: state, Code: seal.NewSecret(q.Get("code")), Issuer: q.Get("iss"),
		Error: q.Get("error"), ErrorDescription: q.Get("error_description"), Binding: seal.NewSecret(binding),
	})
	if link != "" && res.LinkID != "" {
		http.Redirect(w, r, "/authorize/"+url.PathEscape(link), http.StatusSeeOther)
		return
	}
	f := fault.Of(err)
	if f == nil || f.Kind == fault.Internal {
		p.Logger.ErrorContext(r.Context(), "a callback failed", "error", err)
	}
	p.flash(w, res.Outcome)
	http.Redirect(w, r, "/sign-in-problem", http.StatusSeeOther)
}

const flashCookie = "__Host-mailgrant-problem"

// flash carries the words of a problem over the redirect that cleans the URL.
func (p *Pages) flash(w http.ResponseWriter, o connect.Outcome) {
	b, err := json.Marshal(map[string]string{"text": o.Text, "remedy": o.Remedy, "reference": o.Reference})
	if err != nil {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: flashCookie, Value: base64.RawURLEncoding.EncodeToString(b), Path: "/", MaxAge: 300,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (p *Pages) problem(w http.ResponseWriter, r *http.Request) {
	v := problemView{
		frame: p.frame(r, "Sign-in"), Heading: "This sign-in was not accepted",
		Text: "There is nothing more to show here. Nothing was stored.", Remedy: "Open the authorization link again and start from there.",
	}
	if c, err := r.Cookie(flashCookie); err == nil {
		var words map[string]string
		if b, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil && json.Unmarshal(b, &words) == nil {
			v.Text, v.Remedy, v.Reference = fault.Shorten(words["text"], 600), fault.Shorten(words["remedy"], 600), fault.Shorten(words["reference"], 100)
		}
	}
	p.show(w, r, http.StatusBadRequest, problemPage(v))
}
