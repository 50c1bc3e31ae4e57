package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// providerFormView is the form of a provider, to add one or to change one.
type providerFormView struct {
	frame
	Form        form
	Name        string // of the one that is changed; empty: a new one
	Kinds       []provider.Traits
	Kind        provider.Traits // empty: not chosen yet
	RedirectURI string
	Permissions []string
	Suspends    string
	Conflict    []string
	NeedsSecret bool // the stored client secrets do not go on with this change
}

func (v providerFormView) fields() []string {
	names := []string{"name", "kind", "cloud", "client_secrets", "redirect_uri", "authorize.prompt", "ca_file", "profiles", "expires"}
	for _, s := range v.Kind.Settings {
		names = append(names, s.Name)
	}
	for _, e := range v.Kind.Endpoints {
		names = append(names, "endpoints."+e)
	}
	return names
}

// advanced reports whether any of what is folded away holds something.
func (v providerFormView) advanced() bool {
	names := []string{"cloud", "redirect_uri", "authorize.prompt", "ca_file", "profiles"}
	for _, e := range v.Kind.Endpoints {
		names = append(names, "endpoints."+e)
	}
	return slices.ContainsFunc(names, func(n string) bool { return v.Form.wrong(n) || v.Form.value(n) != "" })
}

// fillProviderForm finds the kind and what follows from it.
func (p *Pages) fillProviderForm(v *providerFormView) {
	for _, k := range p.Connect.Providers.Kinds() {
		t := k.Traits()
		v.Kinds = append(v.Kinds, t)
		if t.Kind != v.Form.value("kind") {
			continue
		}
		v.Kind = t
		v.RedirectURI = p.Connect.Providers.RedirectURI(provider.Record{RedirectURI: v.Form.value("redirect_uri")})
		record := provider.Record{Kind: t.Kind, Cloud: v.Form.value("cloud")}
		resources, err := k.Resources(record, []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseIdentity}, "")
		if err != nil {
			continue
		}
		for _, r := range resources {
			v.Permissions = append(v.Permissions, r.Scopes...)
		}
	}
}

func (p *Pages) providerNew(w http.ResponseWriter, r *http.Request) {
	v := providerFormView{frame: p.frame(r, "Add a provider"), Form: form{Values: r.URL.Query()}}
	p.fillProviderForm(&v)
	p.show(w, r, http.StatusOK, providerNewPage(v))
}

// providerRecord reads the form as a record.
func (f form) providerRecord(t provider.Traits) (provider.Record, error) {
	r := provider.Record{
		Name: f.value("name"), Kind: f.value("kind"), Cloud: f.value("cloud"), RedirectURI: f.value("redirect_uri"),
		Prompt: provider.Prompt(f.value("authorize.prompt")), CAPEM: f.pem("ca_file"),
	}
	for name, to := range map[string]*string{"tenant": &r.Tenant, "issuer": &r.Issuer, "client_id": &r.ClientID, "identity_claim": &r.IdentityClaim} {
		*to = f.value(name)
	}
	for _, e := range t.Endpoints {
		if value := f.value("endpoints." + e); value != "" {
			if r.Endpoints == nil {
				r.Endpoints = map[string]string{}
			}
			r.Endpoints[e] = value
		}
	}
	for line := range strings.Lines(f.Values.Get("profiles")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, scopes, found := strings.Cut(line, ":")
		if !found {
			return r, wrongField("profiles", "“"+fault.Shorten(line, 40)+"” is not a profile.", "Write each as name: scope scope, one in each line.")
		}
		r.Profiles = append(r.Profiles, provider.Profile{Name: strings.TrimSpace(name), Scopes: strings.Fields(scopes)})
	}
	if r.Name == "" {
		r.Name = nameFrom(r)
	}
	return r, nil
}

// nameFrom derives a name: contoso of contoso.onmicrosoft.com, idp of https://idp.example.
func nameFrom(r provider.Record) string {
	from := r.Tenant
	if u, err := url.Parse(r.Issuer); err == nil && u.Hostname() != "" {
		from = u.Hostname()
	}
	first, _, _ := strings.Cut(strings.ToLower(from), ".")
	return first
}

// providerValues is a record as the form holds it.
func providerValues(r provider.Record) url.Values {
	v := url.Values{
		"name": {r.Name}, "kind": {r.Kind}, "cloud": {r.Cloud}, "tenant": {r.Tenant}, "issuer": {r.Issuer}, "client_id": {r.ClientID},
		"identity_claim": {r.IdentityClaim}, "redirect_uri": {r.RedirectURI}, "authorize.prompt": {string(r.Prompt)}, "ca_file": {r.CAPEM},
		"version": {strconv.FormatInt(r.Version, 10)},
	}
	for name, value := range r.Endpoints {
		v.Set("endpoints."+name, value)
	}
	var profiles []string
	for _, f := range r.Profiles {
		profiles = append(profiles, f.Name+": "+strings.Join(f.Scopes, " "))
	}
	v.Set("profiles", strings.Join(profiles, "\n"))
	return v
}

// secretGiven reads a client secret and its end; nil where none was typed.
func (f form) secretGiven() (*connect.SecretInput, error) {
	value, end := strings.TrimSpace(f.Values.Get("client_secrets")), f.value("expires")
	if value == "" {
		return nil, nil
	}
	in := &connect.SecretInput{Value: seal.NewSecret(value)}
	if end == "" {
		return in, nil
	}
	var err error
	if in.ExpiresAt, err = time.Parse(time.DateOnly, end); err != nil {
		return nil, wrongField("expires", "“"+fault.Shorten(end, 20)+"” is not a date.", "Write it as 2027-05-01, or leave it empty.")
	}
	return in, nil
}

// atForm moves refusals to the fields of the page that stand for them.
func atForm(err error) error {
	var out error
	for _, f := range fault.All(err) {
		moved := *f
		if strings.HasPrefix(f.Field, "client_secrets") && strings.HasSuffix(f.Field, "expires_at") {
			moved.Field = "expires"
		}
		out = fault.Join(out, &moved)
	}
	return out
}

func (p *Pages) providerCreate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := providerFormView{frame: p.frame(r, "Add a provider"), Form: f}
	p.fillProviderForm(&v)
	record, mistakes := f.providerRecord(v.Kind)
	secret, err := f.secretGiven()
	mistakes = fault.Join(mistakes, err)
	s := connect.ProviderSettings{Record: record, When: connect.OnlyCreate}
	if secret != nil {
		s.Secrets = []connect.SecretInput{*secret}
	}
	d, err := p.Connect.Providers.Check(r.Context(), s, by(r))
	if err = fault.Join(mistakes, err); err == nil {
		record, _, err = d.Save(r.Context())
	}
	if err == nil {
		p.verifyThenShow(w, r, record.Name, "?done=added")
		return
	}
	v.Form = f.refused(atForm(err))
	p.againProvider(w, r, v, err, providerNewPage)
}

func (p *Pages) againProvider(w http.ResponseWriter, r *http.Request, v providerFormView, why error, page func(providerFormView) templ.Component) {
	if why != nil && !mayShowAgain(why) {
		p.fail(w, r, why)
		return
	}
	code := http.StatusConflict // to be agreed to
	if why != nil {
		code = status(fault.Of(why))
	}
	p.show(w, r, code, page(v))
}

func (p *Pages) providerChange(w http.ResponseWriter, r *http.Request) {
	record, err := p.Connect.Providers.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := providerFormView{frame: p.frame(r, "Change "+record.Name), Name: record.Name, Form: form{Values: providerValues(record)}}
	p.fillProviderForm(&v)
	p.show(w, r, http.StatusOK, providerChangePage(v))
}

// providerUpdate saves a changed provider, as mailboxUpdate does a mailbox.
func (p *Pages) providerUpdate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	present, err := p.Connect.Providers.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	f.Values.Set("name", present.Name)
	f.Values.Set("kind", present.Kind)
	v := providerFormView{frame: p.frame(r, "Change "+present.Name), Name: present.Name, Form: f}
	p.fillProviderForm(&v)
	record, mistakes := f.providerRecord(v.Kind)
	secret, err := f.secretGiven()
	mistakes = fault.Join(mistakes, err)
	s := connect.ProviderSettings{Record: record, When: connect.OnlyUpdate}
	if secret != nil { // given again, since the stored ones are bound to what changes
		s.Secrets = []connect.SecretInput{*secret}
	}
	d, err := p.Connect.Providers.Check(r.Context(), s, by(r))
	v.NeedsSecret = secret != nil || fault.Has(err, "provider.secret_needed")
	err = fault.Join(mistakes, err)
	switch {
	case err != nil:
		v.Form = f.refused(atForm(err))
	case f.value("version") != strconv.FormatInt(present.Version, 10):
		if v.Conflict = differing(providerValues(present), providerValues(d.Becomes)); len(v.Conflict) > 0 {
			f.Values.Set("version", strconv.FormatInt(present.Version, 10))
		}
	case d.Suspends != "" && f.value("agreed") != d.Suspends && p.used(r, present.Name):
		v.Suspends = d.Suspends
	}
	if err == nil && len(v.Conflict) == 0 && v.Suspends == "" {
		if _, _, err = d.Save(r.Context()); err == nil {
			p.verifyThenShow(w, r, present.Name, "?done="+string(d.Change))
			return
		}
		v.Form = f.refused(atForm(err))
	}
	p.againProvider(w, r, v, err, providerChangePage)
}

func (p *Pages) used(r *http.Request, name string) bool {
	used, err := p.Connect.Providers.InUse(r.Context())
	return err == nil && used[name] > 0
}
