package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// mailboxFormView is the form of a mailbox, to add one or to change one.
type mailboxFormView struct {
	frame
	Form      form
	Address   string // of the one that is changed; empty: a new one
	Step      int    // of the eight, for a new one
	Providers []provider.Record
	Chosen    provider.Record // empty name: not chosen yet
	Title     string          // the kind of the chosen one, for people
	Why       string          // why it is suggested
	Receive   serverView      // presets
	Send      serverView
	Published bool // the servers stand there because the domain publishes them
	ByGraph   bool // the provider can send by Graph while SMTP is shut
	Suspends  string
	// Consequence says what saving does to the present authorisation.
	Consequence string
	Conflict    []string // what somebody else changed meanwhile, in words
}

// serverView is a preset server.
type serverView struct {
	Host string
	Port int
	TLS  string
}

func (s serverView) String() string {
	if s.Host == "" {
		return ""
	}
	return fmt.Sprintf("%s, port %d, %s", s.Host, s.Port, tlsWords(protocol.TLSMode(s.TLS)))
}

func tlsWords(m protocol.TLSMode) string {
	switch m {
	case protocol.TLSImplicit:
		return "TLS from the first byte"
	case protocol.TLSStart:
		return "STARTTLS"
	}
	return "no TLS"
}

// fields are the names whose problems the form shows in their places.
func (v mailboxFormView) fields() []string {
	names := []string{
		"address", "does", "from", "acts_as", "after_receive",
		"receive.protocol", "receive.host", "receive.port", "receive.tls", "receive.user", "receive.ca_file", "receive.folders", "receive.mode", "receive.every",
		"send.host", "send.port", "send.tls", "send.user", "send.ca_file",
	}
	if v.choosesProvider() {
		names = append(names, "provider")
	}
	if v.ByGraph {
		names = append(names, "send.fallback")
	}
	if len(v.Chosen.Profiles) > 0 {
		names = append(names, "profile")
	}
	return names
}

// choosesProvider reports whether the form of settings asks for the provider: a new
// mailbox's was chosen a step before.
func (v mailboxFormView) choosesProvider() bool { return v.Address != "" && len(v.Providers) > 1 }

// troubled reports whether something is wrong with any of these, or was written
// into them, so that they are not left folded away.
func (v mailboxFormView) troubled(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return v.Form.wrong(n) || v.Form.value(n) != "" })
}

// mailboxNew asks for the address, then for the provider where there are
// several, then for what the mailbox does.
func (p *Pages) mailboxNew(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := mailboxFormView{frame: p.frame(r, "Add a mailbox"), Form: form{Values: q}, Step: 1}
	if q.Has("address") {
		if _, err := message.Address(v.Form.value("address")); err != nil {
			bad := *fault.Of(err)
			bad.Field = "address"
			v.Form = v.Form.refused(&bad)
		} else if _, err := p.Connect.Mailboxes.Get(r.Context(), v.Form.value("address")); err == nil {
			v.Form = v.Form.refused(wrongField("address", "The mailbox "+v.Form.value("address")+" is here already.", "Change the one that exists, on its own page, or delete it first."))
		} else {
			v.Step = 2
		}
	}
	code := http.StatusOK
	if len(v.Form.Problems) > 0 {
		code = http.StatusUnprocessableEntity
	}
	if err := p.fillMailboxForm(r, &v); err != nil {
		p.fail(w, r, err)
		return
	}
	if v.Step == 3 && !q.Has("does") {
		q["does"] = []string{"receive", "send"}
		q.Set("acts", "owner")
		p.publishedServers(r, &v)
	}
	p.show(w, r, code, mailboxNewPage(v))
}

// fillMailboxForm finds the providers, the chosen or suggested one, and what
// follows from it.
func (p *Pages) fillMailboxForm(r *http.Request, v *mailboxFormView) error {
	var err error
	if v.Providers, err = p.Connect.Providers.List(r.Context()); err != nil {
		return err
	}
	name := v.Form.value("provider")
	if name == "" && v.Step >= 2 {
		s, err := p.Connect.Mailboxes.SuggestProvider(r.Context(), v.Form.value("address"))
		if err != nil {
			return err
		}
		v.Why = s.Why
		if len(v.Providers) == 1 {
			name = s.Provider
		} else if s.Provider != "" { // to be agreed to
			slices.SortStableFunc(v.Providers, func(a, b provider.Record) int {
				return boolOrder(a.Name == s.Provider, b.Name == s.Provider)
			})
		}
	}
	i := slices.IndexFunc(v.Providers, func(r provider.Record) bool { return r.Name == name })
	if i < 0 {
		if name != "" {
			v.Form = v.Form.refused(&fault.Error{Kind: fault.Invalid, Field: "provider", Text: "There is no provider called “" + fault.Shorten(name, 60) + "”.", Remedy: "Choose one of those that there are."})
		}
		return nil
	}
	v.Chosen = v.Providers[i]
	if v.Step == 2 {
		v.Step = 3
	}
	kind, record, err := p.Connect.Mailboxes.Presets(r.Context(), v.Chosen.Name)
	if err != nil {
		return err
	}
	at := func(n protocol.Name) serverView {
		e := kind.Mail(record, n)
		return serverView{e.Host, e.Port, string(e.TLS)}
	}
	v.Title, v.Receive, v.Send = kind.Traits().Title, at(v.Form.receiver()), at(protocol.Senders()[0])
	v.ByGraph = kind.Mail(record, protocol.Graph).Host != ""
	return nil
}

// boolOrder sorts what is so before what is not.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// publishedServers writes what the domain publishes into a form whose provider has
// no presets.
func (p *Pages) publishedServers(r *http.Request, v *mailboxFormView) {
	if v.Receive.Host != "" && v.Send.Host != "" {
		return
	}
	receive, send := p.Connect.Mailboxes.SuggestServers(r.Context(), message.Domain(v.Form.value("address")))
	for prefix, s := range map[string]mailbox.Server{"receive.": receive, "send.": send} {
		preset := map[string]serverView{"receive.": v.Receive, "send.": v.Send}[prefix]
		if s.Host != "" && preset.Host == "" {
			v.Published = true
			v.Form.Values.Set(prefix+"host", s.Host)
			v.Form.Values.Set(prefix+"port", strconv.Itoa(s.Port))
			v.Form.Values.Set(prefix+"tls", string(s.TLS))
		}
	}
}

// receiver is the protocol that was chosen for receiving; the preferred one where
// nothing was.
func (f form) receiver() protocol.Name {
	if name := f.value("receive.protocol"); name != "" {
		return protocol.Name(name)
	}
	return protocol.Receivers()[0]
}

// byAnother reports whether another protocol than the preferred one is chosen for
// receiving, or a wrong one, so that the choice is not left folded away.
func (v mailboxFormView) byAnother() bool {
	return v.Form.receiver() != protocol.Receivers()[0] || v.Form.wrong("receive.protocol")
}

// settings reads the form as a mailbox.
func (f form) mailboxSettings() (mailbox.Mailbox, error) {
	var mistakes error
	m := mailbox.Mailbox{
		Address: f.value("address"), Provider: f.value("provider"), Profile: f.value("profile"), From: f.value("from"),
		ActsAs: "owner", AllowUnknown: f.checked("allow_unverifiable", "yes"),
	}
	if f.value("acts") == "delegate" {
		m.ActsAs = mailbox.ActsAs("delegate: " + f.value("acts_as"))
	}
	server := func(prefix string) mailbox.Server {
		s := mailbox.Server{
			Host: f.value(prefix + "host"), TLS: protocol.TLSMode(f.value(prefix + "tls")), User: f.value(prefix + "user"), CAPEM: f.pem(prefix + "ca_file"),
		}
		if text := f.value(prefix + "port"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 65535 {
				mistakes = fault.Join(mistakes, wrongField(prefix+"port", "“"+fault.Shorten(text, 20)+"” is no port number.", "Use a number from 1 to 65535, or leave it empty for the usual one."))
			}
			s.Port = n
		}
		return s
	}
	if f.checked("does", "receive") {
		m.Receive = &mailbox.Receive{Protocol: f.receiver(), Folders: f.rows("receive.folders"), Mode: f.value("receive.mode"), Server: server("receive.")}
		if text := f.value("receive.every"); text != "" && m.Receive.Mode != mailbox.ModePush {
			d, err := time.ParseDuration(text)
			if err != nil {
				mistakes = fault.Join(mistakes, wrongField("receive.every", "“"+fault.Shorten(text, 20)+"” is not a duration.", "Write it as 60s or 5m."))
			}
			m.Receive.Every = d
		}
		m.AfterReceive = f.value("after_receive")
		if m.AfterReceive == "move" {
			m.AfterReceive = "move: " + f.value("move_to")
		}
	}
	if f.checked("does", "send") {
		m.Send = &mailbox.Send{Protocol: protocol.SMTP, Fallback: protocol.Name(f.value("send.fallback")), Server: server("send.")}
	}
	return m, mistakes
}

func wrongField(field, text, remedy string) error {
	return &fault.Error{ID: "web.field", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}}
}

// mailboxValues is a mailbox as the form holds it.
func mailboxValues(m mailbox.Mailbox) url.Values {
	v := url.Values{
		"address": {m.Address}, "provider": {m.Provider}, "profile": {m.Profile}, "from": {m.From}, "acts": {"owner"},
		"version": {strconv.FormatInt(m.Version, 10)},
	}
	if m.AllowUnknown {
		v.Set("allow_unverifiable", "yes")
	}
	if d := m.ActsAs.Delegate(); d != "" {
		v.Set("acts", "delegate")
		v.Set("acts_as", d)
	}
	server := func(prefix string, s mailbox.Server) {
		v.Set(prefix+"host", s.Host)
		v.Set(prefix+"tls", string(s.TLS))
		v.Set(prefix+"user", s.User)
		v.Set(prefix+"ca_file", s.CAPEM)
		if s.Port != 0 {
			v.Set(prefix+"port", strconv.Itoa(s.Port))
		}
	}
	if r := m.Receive; r != nil {
		v.Add("does", "receive")
		server("receive.", r.Server)
		v.Set("receive.protocol", string(r.Protocol))
		v.Set("receive.folders", strings.Join(r.Folders, "\n"))
		v.Set("receive.mode", r.Mode)
		if r.Every > 0 {
			v.Set("receive.every", r.Every.String())
		}
		v.Set("after_receive", m.AfterReceive)
		if to, moves := strings.CutPrefix(m.AfterReceive, "move:"); moves {
			v.Set("after_receive", "move")
			v.Set("move_to", strings.TrimSpace(to))
		}
	}
	if s := m.Send; s != nil {
		v.Add("does", "send")
		server("send.", s.Server)
		v.Set("send.fallback", string(s.Fallback))
	}
	return v
}

// placed moves refusals to the fields of the page that stand for them.
func placed(err error) error {
	var out error
	for _, f := range fault.All(err) {
		moved := *f
		switch f.Field {
		case "receive", "send", "send.protocol":
			moved.Field = "does"
		}
		out = fault.Join(out, &moved)
	}
	return out
}

// mailboxCreate adds the mailbox and leads on to its authorisation.
func (p *Pages) mailboxCreate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	m, mistakes := f.mailboxSettings()
	d, err := p.Connect.Mailboxes.Check(r.Context(), connect.MailboxSettings{Mailbox: m, When: connect.OnlyCreate}, by(r))
	if err = fault.Join(mistakes, err); err == nil {
		m, _, err = d.Save(r.Context())
	}
	if err == nil {
		http.Redirect(w, r, mailboxPath(m.Address)+"/connect?done=added", http.StatusSeeOther)
		return
	}
	v := mailboxFormView{frame: p.frame(r, "Add a mailbox"), Form: f.refused(placed(err)), Step: 3}
	p.againMailbox(w, r, v, err, mailboxNewPage)
}

// againMailbox shows the form with what was typed and what is wrong with it.
func (p *Pages) againMailbox(w http.ResponseWriter, r *http.Request, v mailboxFormView, why error, page func(mailboxFormView) templ.Component) {
	if why != nil && !mayShowAgain(why) {
		p.fail(w, r, why)
		return
	}
	if err := p.fillMailboxForm(r, &v); err != nil {
		p.fail(w, r, err)
		return
	}
	code := http.StatusConflict // to be agreed to
	if why != nil {
		code = status(fault.Of(why))
	}
	p.show(w, r, code, page(v))
}

// mailboxChange shows the form of a mailbox.
func (p *Pages) mailboxChange(w http.ResponseWriter, r *http.Request) {
	m, err := p.Connect.Mailboxes.Get(r.Context(), r.PathValue("address"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := mailboxFormView{frame: p.frame(r, "Change "+m.Address), Address: m.Address, Form: form{Values: mailboxValues(m)}, Step: 3}
	if err := p.fillMailboxForm(r, &v); err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, mailboxChangePage(v))
}

// mailboxUpdate saves a changed mailbox. What somebody else changed meanwhile is
// told, and what suspends the grant is agreed to, before anything is saved.
func (p *Pages) mailboxUpdate(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	present, err := p.Connect.Mailboxes.Get(r.Context(), r.PathValue("address"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	m, mistakes := f.mailboxSettings()
	m.GrantType = present.GrantType
	v := mailboxFormView{frame: p.frame(r, "Change "+present.Address), Address: present.Address, Form: f, Step: 3}
	d, err := p.Connect.Mailboxes.Check(r.Context(), connect.MailboxSettings{Mailbox: m, Present: present.Address, When: connect.OnlyUpdate}, by(r))
	err = fault.Join(mistakes, err)
	switch {
	case err != nil:
		v.Form = f.refused(placed(err))
	case f.value("version") != strconv.FormatInt(present.Version, 10):
		if v.Conflict = differing(mailboxValues(present), mailboxValues(d.Becomes)); len(v.Conflict) > 0 {
			f.Values.Set("version", strconv.FormatInt(present.Version, 10))
		}
	case d.Consequence != "" && f.value("agreed") != d.Suspends:
		v.Suspends, v.Consequence = d.Suspends, d.Consequence
	}
	if err == nil && len(v.Conflict) == 0 && v.Suspends == "" {
		if m, _, err = d.Save(r.Context()); err == nil {
			http.Redirect(w, r, mailboxPath(m.Address)+"?done="+string(d.Change), http.StatusSeeOther)
			return
		}
		v.Form = f.refused(placed(err))
	}
	p.againMailbox(w, r, v, err, mailboxChangePage)
}

func (p *Pages) mailboxDelete(w http.ResponseWriter, r *http.Request) {
	if err := p.Connect.Mailboxes.Delete(r.Context(), r.PathValue("address"), by(r)); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/?done=removed", http.StatusSeeOther)
}

// wizardSteps are the steps of adding a mailbox.
func wizardSteps() []string {
	return []string{"Address", "Provider", "What it does, who signs in", "Scopes", "Link", "Sign-in", "Test", "Use it"}
}

// queryOf is a query of names and values by turns.
func queryOf(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}
