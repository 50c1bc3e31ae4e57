package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func (p *Pages) appPages(operator route) {
	operator("GET /apps", p.apps)
	operator("POST /apps", p.appCreate)
	operator("GET /new/app", p.appNew) // not under /apps, where every name is an app's
	operator("GET /apps/{name}", p.appShow)
	operator("GET /apps/{name}/change", p.appChangeShow)
	operator("POST /apps/{name}/change", p.appChange)
	operator("POST /apps/{name}/renew", p.appRenew)
	operator("POST /apps/{name}/remove", p.appRemove)
}

func appPath(name string) string { return "/apps/" + url.PathEscape(name) }

// appsView is the list of apps.
type appsView struct {
	frame
	Now  time.Time
	Rows []appRow
	Done string
}

// appRow is an app in words.
type appRow struct {
	Name      string
	May       []string
	Mailboxes []string // empty: all
	Networks  []string // empty: everywhere
	Ends      time.Time
	Ended     badge // empty text: nothing to say about the end but its time
	LastUsed  time.Time
	CreatedBy string
	CreatedAt time.Time
}

// appView is one app.
type appView struct {
	frame
	Now  time.Time
	App  appRow
	Key  *keyView // fresh, shown once
	Form form     // of the renewal
	Done string
}

// keyView is a fresh API key.
type keyView struct {
	Key   string
	Renew bool   // the one before it has ended
	Try   string // a line for a shell, without the key
}

// appFormView is the form of an app, for a new one or for one that is there.
type appFormView struct {
	frame
	Name     string // of the one that is changed; empty: a new one
	Form     form
	Conflict []string // what somebody else changed meanwhile, in words
}

func appRowOf(k access.APIKey, now time.Time) appRow {
	row := appRow{
		Name: k.Name, Mailboxes: k.Mailboxes, Networks: k.Networks, Ends: k.ExpiresAt, LastUsed: k.LastUsed, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt,
	}
	for _, m := range k.May {
		row.May = append(row.May, string(m))
	}
	switch {
	case k.ExpiresAt.IsZero():
	case !k.ExpiresAt.After(now):
		row.Ended = badge{"ended", "red"}
	case diagnose.EndsSoon(diagnose.EndingAPIKey, now, k.ExpiresAt):
		row.Ended = badge{"ends soon", "yellow"}
	}
	return row
}

// rightOptions are the rights of a program, each with what it opens.
func rightOptions() []option {
	return []option{
		{string(access.Read), "read", "See mailboxes, events, submissions, and received mail."},
		{string(access.Send), "send", "Send mail from its mailboxes."},
		{string(access.Token), "token", "Borrow access tokens. With one, the program can do everything that the mailbox's owner agreed to, also without Mailgrant."},
		{string(access.Manage), "manage", "Change settings. Without a list of mailboxes that is everything, apps and their keys included."},
	}
}

func (p *Pages) apps(w http.ResponseWriter, r *http.Request) {
	keys, err := p.Access.APIKeys(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := appsView{frame: p.frame(r, "Apps"), Now: p.Now()}
	for _, k := range keys {
		v.Rows = append(v.Rows, appRowOf(k, v.Now))
	}
	if r.URL.Query().Get("done") == "removed" {
		v.Done = "The app was removed; its API key no longer works."
	}
	p.show(w, r, http.StatusOK, appsPage(v))
}

func (p *Pages) appNew(w http.ResponseWriter, r *http.Request) {
	p.appForm(w, r, http.StatusOK, appFormView{Form: form{Values: url.Values{"may": {string(access.Read)}}}})
}

func (p *Pages) appForm(w http.ResponseWriter, r *http.Request, code int, v appFormView) {
	v.frame = p.frame(r, "Add an app")
	if v.Name != "" {
		v.Title = "Change " + v.Name
	}
	v.Section = "/apps"
	p.show(w, r, code, appFormPage(v))
}

// appRequest reads an app out of its form; stored is the one that is changed.
func appRequest(f form, stored access.APIKey) (access.KeyRequest, error) {
	in := access.KeyRequest{Name: f.value("name"), Mailboxes: f.lines("mailboxes"), Networks: f.lines("networks")}
	if stored.Name != "" {
		in.Name = stored.Name
	}
	for _, m := range f.Values["may"] {
		in.May = append(in.May, access.Right(m))
	}
	var err error
	in.ExpiresAt, err = endOf(f, stored.ExpiresAt)
	return in, err
}

// endOf reads the day on which a key ends. A form knows days: an end within the
// day that the form was filled with stays as exact as it was.
func endOf(f form, stored time.Time) (time.Time, error) {
	text := f.value("expires_at")
	switch {
	case text == "":
		return time.Time{}, nil
	case text == dayOf(stored):
		return stored, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, &fault.Error{
			ID: "web.date", Kind: fault.Invalid, Field: "expires_at", Text: "This is not a date.", Remedy: "Write it as 2027-05-01.", Who: []fault.Who{fault.Operator},
		}
	}
	return day, nil
}

func dayOf(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.DateOnly)
}

func (p *Pages) appCreate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var k access.APIKey
	var secret seal.Secret
	in, err := appRequest(f, access.APIKey{})
	if err == nil {
		k, secret, err = p.Access.CreateAPIKey(r.Context(), by(r), in)
	}
	if err != nil {
		if fault.Has(err, "api_key.exists") {
			f.Problems = map[string]problem{"name": {fault.Of(err).Text, fault.Of(err).Remedy}}
		}
		p.appAgain(w, r, "", f, err)
		return
	}
	p.appWithKey(w, r, k, secret, false)
}

// appAgain shows the form again with what is wrong, where that is about what was typed.
func (p *Pages) appAgain(w http.ResponseWriter, r *http.Request, name string, f form, err error) {
	if !mayShowAgain(err) {
		p.fail(w, r, err)
		return
	}
	if len(f.Problems) == 0 {
		f = f.refused(err)
	}
	p.appForm(w, r, status(fault.Of(err)), appFormView{Name: name, Form: f})
}

// appWithKey shows an app with its fresh key, this once.
func (p *Pages) appWithKey(w http.ResponseWriter, r *http.Request, k access.APIKey, secret seal.Secret, renewed bool) {
	v := p.appView(r, k)
	v.Key = &keyView{Key: secret.Reveal(), Renew: renewed, Try: tryLine(p.PublicURL.String(), k)}
	p.show(w, r, http.StatusOK, appPage(v))
}

func (p *Pages) appView(r *http.Request, k access.APIKey) appView {
	v := appView{frame: p.frame(r, k.Name), Now: p.Now()}
	v.App = appRowOf(k, v.Now)
	return v
}

// tryLine is a line for a shell with which a program's key is tried; the key
// itself comes from the environment.
func tryLine(base string, k access.APIKey) string {
	const curl = `curl -H "Authorization: Bearer $MAILGRANT_API_KEY" `
	box := "servicedesk@contoso.example"
	if len(k.Mailboxes) > 0 {
		box = k.Mailboxes[0]
	}
	at := func(path string) string { return shellWord(base + path) }
	switch {
	case slices.Contains(k.May, access.Read):
		return curl + at("/v1/mailboxes")
	case slices.Contains(k.May, access.Token):
		return curl + "-X POST " + at("/v1/mailboxes/"+url.PathEscape(box)+"/token")
	case slices.Contains(k.May, access.Send):
		type address struct {
			Address string `json:"address"`
		}
		mail, _ := json.Marshal(struct { // texts can always be written
			From    address   `json:"from"`
			To      []address `json:"to"`
			Subject string    `json:"subject"`
			Text    string    `json:"text"`
		}{address{box}, []address{{"you@example.org"}}, "Hello", "It works."})
		return curl + "--json " + shellWord(string(mail)) + " " + at("/v1/submissions")
	case len(k.Mailboxes) > 0:
		return curl + "-X POST " + at("/v1/mailboxes/"+url.PathEscape(box)+"/authorizations")
	}
	return curl + at("/v1/apps")
}

// shellWord quotes a text for a shell.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (p *Pages) appShow(w http.ResponseWriter, r *http.Request) {
	k, err := p.Access.APIKey(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.appView(r, k)
	if r.URL.Query().Get("done") == "changed" {
		v.Done = "The app was changed; its API key is the same."
	}
	p.show(w, r, http.StatusOK, appPage(v))
}

func (p *Pages) appChangeShow(w http.ResponseWriter, r *http.Request) {
	k, err := p.Access.APIKey(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.appForm(w, r, http.StatusOK, appFormView{Name: k.Name, Form: form{Values: appValues(k)}})
}

// appValues is an app as the form holds it. An API key has no number that counts
// its changes: its version is a digest of what can be changed.
func appValues(k access.APIKey) url.Values {
	v := url.Values{"mailboxes": {strings.Join(k.Mailboxes, "\n")}, "networks": {strings.Join(k.Networks, "\n")}, "expires_at": {dayOf(k.ExpiresAt)}}
	for _, m := range k.May {
		v.Add("may", string(m))
	}
	sum := sha256.Sum256([]byte(k.ID + " " + k.ExpiresAt.UTC().Format(time.RFC3339Nano) + " " + v.Encode()))
	v.Set("version", hex.EncodeToString(sum[:16]))
	return v
}

func (p *Pages) appChange(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	k, err := p.Access.APIKey(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	in, err := appRequest(f, k)
	var d access.KeyDraft
	if err == nil {
		d, err = p.Access.CheckAPIKey(r.Context(), by(r), in)
	}
	if err != nil {
		p.appAgain(w, r, k.Name, f, err)
		return
	}
	// Looked at after the check: what is stored over is what is compared, or older.
	if k, err = p.Access.APIKey(r.Context(), k.Name); err != nil {
		p.fail(w, r, err)
		return
	}
	if now := appValues(k); f.value("version") != now.Get("version") {
		wanted := appValues(access.APIKey{May: in.May, Mailboxes: in.Mailboxes, Networks: in.Networks, ExpiresAt: in.ExpiresAt})
		if conflict := differing(now, wanted); len(conflict) > 0 {
			f.Values.Set("version", now.Get("version"))
			p.appForm(w, r, http.StatusConflict, appFormView{Name: k.Name, Form: f, Conflict: conflict})
			return
		}
	}
	if _, _, err = d.Save(r.Context()); err != nil {
		p.appAgain(w, r, k.Name, f, err)
		return
	}
	http.Redirect(w, r, appPath(k.Name)+"?done=changed", http.StatusSeeOther)
}

func (p *Pages) appRenew(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	name := r.PathValue("name")
	stored, err := p.Access.APIKey(r.Context(), name)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	ends, err := endOf(f, time.Time{})
	if err == nil {
		var k access.APIKey
		var secret seal.Secret
		if k, secret, err = p.Access.RenewAPIKey(r.Context(), by(r), name, ends); err == nil {
			p.appWithKey(w, r, k, secret, true)
			return
		}
	}
	if !mayShowAgain(err) {
		p.fail(w, r, err)
		return
	}
	v := p.appView(r, stored)
	v.Form = f.refused(err)
	p.show(w, r, status(fault.Of(err)), appPage(v))
}

func (p *Pages) appRemove(w http.ResponseWriter, r *http.Request) {
	if err := p.Access.DeleteAPIKey(r.Context(), by(r), r.PathValue("name")); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/apps?done=removed", http.StatusSeeOther)
}

// orAll is a list in words, or what it means when it is empty.
func orAll(items []string, none string) string {
	switch {
	case len(items) == 0:
		return none
	case len(items) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(items[:3], ", "), len(items)-3)
	}
	return strings.Join(items, ", ")
}
