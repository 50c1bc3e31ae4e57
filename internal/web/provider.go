package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// verifyTime bounds what asking a provider may take of a page.
const verifyTime = 15 * time.Second

func (p *Pages) providerPages(operator route) {
	operator("GET /providers", p.providerList)
	operator("GET /new/provider", p.providerNew) // not under /providers, where every name is a provider's
	operator("POST /providers", p.providerCreate)
	operator("GET /providers/{name}", p.providerShow)
	operator("GET /providers/{name}/change", p.providerChange)
	operator("POST /providers/{name}/change", p.providerUpdate)
	operator("POST /providers/{name}/secrets", p.secretAdd)
	operator("POST /providers/{name}/secrets/{id}/drop", p.secretDrop)
	operator("POST /providers/{name}/verify", p.providerVerify)
	operator("POST /providers/{name}/delete", p.providerDelete)
}

func providerPath(name string) string { return "/providers/" + url.PathEscape(name) }

type providersView struct {
	frame
	Now    time.Time
	Notice string
	Kinds  string // the titles of all, for people
	Rows   []providerRow
}

type providerRow struct {
	Name, Kind, Of string
	Secrets        secretsView
	Mailboxes      int
}

// secretsView words a provider's client secrets.
type secretsView struct {
	Text string
	Warn bool // it ends soon, or has ended
	End  time.Time
}

func secretsOf(now time.Time, p provider.Record) secretsView {
	if len(p.Secrets) == 0 {
		return secretsView{Text: "none"}
	}
	v := secretsView{Text: counted(len(p.Secrets), "client secret")}
	e, known := diagnose.SecretEnding(p)
	if !known {
		v.Text += ", no end known"
		return v
	}
	v.End = e.EndsAt
	v.Warn = diagnose.EndsSoon(e.Kind, now, v.End)
	if len(p.Secrets) > 1 {
		v.Text += ", the last of them"
	} else {
		v.Text += ","
	}
	if v.End.After(now) {
		v.Text += " ends"
	} else {
		v.Text += " ended"
	}
	return v
}

func (p *Pages) kindTitle(kind string) string {
	for _, k := range p.Connect.Providers.Kinds() {
		if k.Traits().Kind == kind {
			return k.Traits().Title
		}
	}
	return kind
}

// kindTitles names every kind: this, or that.
func (p *Pages) kindTitles() string {
	var titles []string
	for _, k := range p.Connect.Providers.Kinds() {
		titles = append(titles, k.Traits().Title)
	}
	return strings.Join(titles, ", or ")
}

func (p *Pages) providerList(w http.ResponseWriter, r *http.Request) {
	all, err := p.Connect.Providers.List(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	used, err := p.Connect.Providers.InUse(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := providersView{frame: p.frame(r, "Providers"), Kinds: p.kindTitles(), Now: p.Now(), Notice: notices[r.URL.Query().Get("done")]}
	for _, one := range all {
		v.Rows = append(v.Rows, providerRow{one.Name, p.kindTitle(one.Kind), one.Tenant + one.Issuer, secretsOf(v.Now, one), used[one.Name]})
	}
	p.show(w, r, http.StatusOK, providersPage(v))
}

// providerView is one provider.
type providerView struct {
	frame
	Now       time.Time
	Record    provider.Record
	Kind      provider.Traits
	Redirect  string
	Secrets   secretsView
	Mailboxes []string // some of those that use it
	InUse     int
	Notice    string
	Verified  *verdictView
	Form      form // of a client secret
	Problem   *problem
}

// verdictView is what the provider said to our questions.
type verdictView struct {
	OK           bool
	Text, Remedy string
	Who          string
	Unreached    bool   // it gave no verdict: it could not be asked
	Reply        string // the error as the provider gave it
}

func (v *verdictView) heading() string {
	if v.Unreached {
		return "The provider could not be reached"
	}
	return "The provider does not take these settings"
}

func (v *verdictView) said() string {
	if v.Reply == "" {
		return ""
	}
	return " It said: " + line(v.Reply)
}

func (p *Pages) providerView(r *http.Request, name string) (providerView, error) {
	record, err := p.Connect.Providers.Get(r.Context(), name)
	if err != nil {
		return providerView{}, err
	}
	v := providerView{
		frame: p.frame(r, record.Name), Now: p.Now(), Record: record, Redirect: p.Connect.Providers.RedirectURI(record), Secrets: secretsOf(p.Now(), record),
		Kind: provider.Traits{Kind: record.Kind, Title: record.Kind},
	}
	for _, k := range p.Connect.Providers.Kinds() {
		if k.Traits().Kind == record.Kind {
			v.Kind = k.Traits()
		}
	}
	used, err := p.Connect.Providers.InUse(r.Context())
	if err != nil {
		return v, err
	}
	v.InUse = used[name]
	listed, err := p.Connect.Mailboxes.List(r.Context(), mailbox.Filter{Provider: name, Limit: 20})
	for _, l := range listed {
		v.Mailboxes = append(v.Mailboxes, l.Mailbox.Address)
	}
	return v, err
}

func (p *Pages) showProvider(w http.ResponseWriter, r *http.Request, code int, amend func(*providerView)) {
	v, err := p.providerView(r, r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	amend(&v)
	p.show(w, r, code, providerPage(v))
}

func (p *Pages) providerShow(w http.ResponseWriter, r *http.Request) {
	p.showProvider(w, r, http.StatusOK, func(v *providerView) {
		v.Notice = notices[r.URL.Query().Get("done")]
		v.Verified = p.verdicts.of(v.Record, v.Now)
	})
}

// verify asks the provider and keeps its answer, in words, for its page.
func (p *Pages) verify(ctx context.Context, name string) error {
	record, err := p.Connect.Providers.Get(ctx, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	v := verdictView{OK: true, Text: "The provider answers and found nothing wrong with these settings, as far as it can be asked before anybody signs in."}
	if len(record.Secrets) == 0 {
		v.Text += " No client secret is set, so none was asked about."
	}
	if err := p.Connect.Providers.Verify(ctx, name); err != nil {
		f := fault.Of(err)
		v = verdictView{Text: f.Text, Remedy: f.Remedy, Who: whoWords(f.Who), Unreached: f.Kind == fault.Temporary || strings.HasPrefix(f.ID, "net."), Reply: f.Detail.Said()}
	}
	p.verdicts.keep(record, v, p.Now())
	return nil
}

// verifyThenShow verifies what was just saved and leads to the provider's page,
// which says what came of it; after is what follows the page's path.
func (p *Pages) verifyThenShow(w http.ResponseWriter, r *http.Request, name, after string) {
	if err := p.verify(r.Context(), name); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, providerPath(name)+after, http.StatusSeeOther)
}

func (p *Pages) providerVerify(w http.ResponseWriter, r *http.Request) {
	p.verifyThenShow(w, r, r.PathValue("name"), "")
}

// changeSecrets saves a provider with other client secrets.
func (p *Pages) changeSecrets(w http.ResponseWriter, r *http.Request, f form, done string, change func([]connect.SecretInput) []connect.SecretInput) {
	name := r.PathValue("name")
	record, err := p.Connect.Providers.Get(r.Context(), name)
	if err == nil {
		kept := []connect.SecretInput{}
		for _, s := range record.Secrets {
			kept = append(kept, connect.SecretInput{ID: s.ID, ExpiresAt: s.ExpiresAt})
		}
		_, _, err = p.Connect.Providers.Save(r.Context(), connect.ProviderSettings{Record: record, Secrets: change(kept), When: connect.OnlyUpdate}, by(r))
	}
	switch {
	case err == nil:
		p.verifyThenShow(w, r, name, "?done="+done+"#secrets")
	case mayShowAgain(err):
		p.showProvider(w, r, status(fault.Of(err)), func(v *providerView) { v.Form = f.refused(atForm(err)) })
	default:
		p.fail(w, r, err)
	}
}

// secretAdd puts a new client secret before the stored ones.
func (p *Pages) secretAdd(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	secret, err := f.secretGiven()
	if err == nil && secret == nil {
		err = wrongField("client_secrets", "The client secret is empty.", "Paste its value, as the provider showed it once.")
	}
	if err != nil {
		p.showProvider(w, r, http.StatusUnprocessableEntity, func(v *providerView) { v.Form = f.refused(err) })
		return
	}
	p.changeSecrets(w, r, f, "secret", func(kept []connect.SecretInput) []connect.SecretInput {
		return append([]connect.SecretInput{*secret}, kept...)
	})
}

func (p *Pages) secretDrop(w http.ResponseWriter, r *http.Request) {
	p.changeSecrets(w, r, form{}, "dropped", func(kept []connect.SecretInput) []connect.SecretInput {
		return slices.DeleteFunc(kept, func(s connect.SecretInput) bool { return s.ID == r.PathValue("id") })
	})
}

func (p *Pages) providerDelete(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	err := p.Connect.Providers.Delete(r.Context(), name, by(r))
	switch {
	case err == nil:
		http.Redirect(w, r, "/providers?done=removed", http.StatusSeeOther)
	case fault.Has(err, "provider.in_use"):
		p.showProvider(w, r, http.StatusConflict, func(v *providerView) {
			v.Problem = &problem{fmt.Sprintf("The provider %s cannot be removed: %s.", name, inUseWords(*v)), fault.Of(err).Remedy}
		})
	default:
		p.fail(w, r, err)
	}
}

// inUseWords names the mailboxes that use a provider.
func inUseWords(v providerView) string {
	names := strings.Join(v.Mailboxes, ", ")
	if more := v.InUse - len(v.Mailboxes); more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	if v.InUse == 1 {
		return names + " uses it"
	}
	return names + " use it"
}
