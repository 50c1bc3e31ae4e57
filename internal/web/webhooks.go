package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func (p *Pages) webhookPages(operator route) {
	operator("GET /webhooks", p.webhooks)
	operator("POST /webhooks", p.webhookCreate)
	operator("GET /new/webhook", p.webhookNew) // not under /webhooks, where every name is a webhook's
	operator("GET /webhooks/{name}", p.webhookShow)
	operator("GET /webhooks/{name}/change", p.webhookChangeShow)
	operator("POST /webhooks/{name}/change", p.webhookChange)
	operator("POST /webhooks/{name}/enable", p.webhookEnable)
	operator("POST /webhooks/{name}/disable", p.webhookDisable)
	operator("POST /webhooks/{name}/replay", p.webhookReplay)
	operator("POST /webhooks/{name}/test", p.webhookTest)
	operator("POST /webhooks/{name}/secret", p.webhookSecret)
	operator("POST /webhooks/{name}/remove", p.webhookRemove)
	operator("GET /webhooks/{name}/deliveries/{id}", p.deliveryShow)
	operator("POST /webhooks/{name}/deliveries/{id}/replay", p.deliveryReplay)
}

func webhookPath(name string) string { return "/webhooks/" + url.PathEscape(name) }

// webhooksView is the list of webhooks.
type webhooksView struct {
	frame
	Now  time.Time
	Rows []webhookRow
	Done string
}

// webhookRow is a webhook in words.
type webhookRow struct {
	Name, URL     string
	Events        []string
	Mailboxes     []string // empty: all
	PrivateCA     bool
	State         badge
	Off           string // why it is off; empty: it is on
	OffSince      time.Time
	OffByReceiver bool
	Waiting       int
	WaitingSince  time.Time
	Parked        int
	LastDelivered time.Time
	BothUntil     time.Time
	CreatedAt     time.Time
}

// waitsLong is how long something waits before it is said that the receiver does
// not take what it is given.
const waitsLong = 10 * time.Minute

func webhookRowOf(h webhook.Webhook, s webhook.Standing, now time.Time) webhookRow {
	row := webhookRow{
		Name: h.Name, URL: h.URL, Mailboxes: h.Mailboxes, PrivateCA: h.CAPEM != "", Off: h.Disabled, OffSince: h.DisabledAt,
		OffByReceiver: h.DisabledBy == webhook.ByReceiver, Waiting: s.Waiting, WaitingSince: s.WaitingSince, Parked: s.Parked,
		LastDelivered: s.LastDelivered, BothUntil: h.PreviousSecretUntil, CreatedAt: h.CreatedAt,
	}
	for _, e := range h.Events {
		row.Events = append(row.Events, string(e))
	}
	if !now.Before(row.BothUntil) {
		row.BothUntil = time.Time{}
	}
	switch {
	case row.OffByReceiver:
		row.State = badge{"off: receiver gone", "red"}
	case row.Off != "":
		row.State = badge{"off", "secondary"}
	case s.Waiting > 0 && now.Sub(s.WaitingSince) > waitsLong:
		row.State = badge{"on, but falling behind", "yellow"}
	default:
		row.State = badge{"on", "green"}
	}
	return row
}

func (p *Pages) webhooks(w http.ResponseWriter, r *http.Request) {
	all, err := p.Webhooks.List(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	standings, err := p.Webhooks.Standings(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := webhooksView{frame: p.frame(r, "Webhooks"), Now: p.Now()}
	for _, h := range all {
		v.Rows = append(v.Rows, webhookRowOf(h, standings[h.ID], v.Now))
	}
	if r.URL.Query().Get("done") == "removed" {
		v.Done = "The webhook was removed, with what waited for it."
	}
	p.show(w, r, http.StatusOK, webhooksPage(v))
}

// webhookFormView is the form of a webhook, for a new one or for one that is there.
type webhookFormView struct {
	frame
	Name     string // of the one that is changed; empty: a new one
	Form     form
	Families []eventFamily
	Conflict []string // what somebody else changed meanwhile, in words
}

// eventFamily is a family of events to choose from.
type eventFamily struct {
	Name    string
	Kinds   []option
	All     string // the pattern that means them all
	Chosen  int
	AllOfIt bool
}

// eventFamilies lists every kind there is, by family, with what is chosen.
func eventFamilies(f form) []eventFamily {
	var all []eventFamily
	for _, k := range event.Kinds() {
		name, _, _ := strings.Cut(string(k.Kind), ".")
		i := slices.IndexFunc(all, func(e eventFamily) bool { return e.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, eventFamily{Name: name, All: name + ".*", AllOfIt: f.checked("events", name+".*")})
		}
		all[i].Kinds = append(all[i].Kinds, option{Value: string(k.Kind), Label: string(k.Kind), Hint: k.Text})
		if f.checked("events", string(k.Kind)) {
			all[i].Chosen++
		}
	}
	return all
}

// about says what a family is about, in words; empty where there are none.
func (e eventFamily) about() string {
	return map[string]string{
		"authorization": "links, and whoever opens them", "broker": "the process that renews access tokens",
		"fetch": "receiving mail", "grant": "authorisations, and how they last", "keys": "the keys that seal stored secrets", "mailbox": "mailboxes and their settings",
		"message": "received mail", "operator": "people who sign in here", "provider": "providers and their settings", "submission": "mail that is sent", "webhook": "webhooks",
	}[e.Name]
}

// chosen says what of a family is chosen, in words; empty for nothing.
func (e eventFamily) chosen() string {
	switch {
	case e.AllOfIt:
		return "all chosen"
	case e.Chosen > 0:
		return plural(e.Chosen, "chosen", "chosen")
	}
	return ""
}

func (p *Pages) webhookNew(w http.ResponseWriter, r *http.Request) {
	p.webhookForm(w, r, http.StatusOK, webhookFormView{Form: form{Values: url.Values{"events": {string(event.MessageReceived)}}}})
}

func (p *Pages) webhookForm(w http.ResponseWriter, r *http.Request, code int, v webhookFormView) {
	v.frame, v.Families = p.frame(r, "New webhook"), eventFamilies(v.Form)
	if v.Name != "" {
		v.Title = "Change " + v.Name
	}
	v.Section = "/webhooks"
	p.show(w, r, code, webhookFormPage(v))
}

// webhookInput reads a webhook out of its form; name is the one that is changed.
func webhookInput(f form, name string) webhook.Input {
	in := webhook.Input{Name: name, URL: f.value("url"), Mailboxes: f.lines("mailboxes"), CAPEM: f.pem("ca_pem")}
	if name == "" {
		in.Name, in.OnlyNew, in.Secret = f.value("name"), true, seal.NewSecret(f.value("secret"))
	}
	if in.CAPEM != "" {
		in.CAPEM += "\n"
	}
	for _, e := range f.Values["events"] {
		in.Events = append(in.Events, event.Pattern(e))
	}
	return in
}

func (p *Pages) webhookCreate(w http.ResponseWriter, r *http.Request) {
	p.webhookSave(w, r, "")
}

func (p *Pages) webhookChange(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.webhookSave(w, r, h.Name)
}

func (p *Pages) webhookSave(w http.ResponseWriter, r *http.Request, name string) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	in := webhookInput(f, name)
	d, err := p.Webhooks.Check(r.Context(), by(r), in)
	if err == nil && name != "" {
		// Looked at after the check: what is stored over is what is compared, or older.
		present, err := p.Webhooks.Get(r.Context(), name)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		if now := webhookValues(present); f.value("version") != now.Get("version") {
			wanted := webhookValues(webhook.Webhook{URL: in.URL, Events: in.Events, Mailboxes: in.Mailboxes, CAPEM: in.CAPEM})
			if conflict := differing(now, wanted); len(conflict) > 0 {
				f.Values.Set("version", now.Get("version"))
				p.webhookForm(w, r, http.StatusConflict, webhookFormView{Name: name, Form: f, Conflict: conflict})
				return
			}
		}
	}
	var h webhook.Webhook
	var generated seal.Secret
	if err == nil {
		h, generated, err = d.Save(r.Context())
	}
	switch {
	case err != nil && mayShowAgain(err):
		p.webhookForm(w, r, status(fault.Of(err)), webhookFormView{Name: name, Form: f.refused(err)})
	case err != nil:
		p.fail(w, r, err)
	case generated.IsZero():
		done := "?done=changed"
		if name == "" {
			done = "?done=added"
		}
		http.Redirect(w, r, webhookPath(h.Name)+done, http.StatusSeeOther)
	default:
		p.showWebhook(w, r, http.StatusOK, h, func(v *webhookView) { v.Secret = generated.Reveal() })
	}
}

func (p *Pages) webhookChangeShow(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.webhookForm(w, r, http.StatusOK, webhookFormView{Name: h.Name, Form: form{Values: webhookValues(h)}})
}

// webhookValues is a webhook as the form holds it.
func webhookValues(h webhook.Webhook) url.Values {
	v := url.Values{
		"url": {h.URL}, "mailboxes": {strings.Join(h.Mailboxes, "\n")}, "ca_pem": {h.CAPEM}, "version": {strconv.FormatInt(h.Version, 10)},
	}
	for _, e := range h.Events {
		v.Add("events", string(e))
	}
	return v
}

func (p *Pages) webhookRemove(w http.ResponseWriter, r *http.Request) {
	if err := p.Webhooks.Delete(r.Context(), by(r), r.PathValue("name")); err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/webhooks?done=removed", http.StatusSeeOther)
}
