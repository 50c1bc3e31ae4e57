package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// deliveriesListed is how many deliveries a page lists.
const deliveriesListed = 50

// webhookView is one webhook with its deliveries.
type webhookView struct {
	frame
	Now        time.Time
	Hook       webhookRow
	Form       form   // of the rotation
	Secret     string // fresh, shown once
	Test       *tryRow
	Done       string
	Tabs       []tab
	State      webhook.State
	Deliveries []deliveryRow
	Newest     string
	Older      string
}

// deliveryRow is a delivery in words.
type deliveryRow struct {
	ID, Kind, Mailbox, Text string
	State                   badge
	Since                   time.Time
	Attempts                int
	Answer                  string // what the receiver did last
	Next                    time.Time
	Happened                time.Time
	Replay                  string // what making it again is called; empty: it is under way
}

// deliveryView is one delivery.
type deliveryView struct {
	frame
	Now      time.Time
	Hook     string
	Off      string
	Delivery deliveryRow
	Tries    []tryRow
	Headers  []header
	Body     string
	Done     string
}

type header struct{ Name, Value string }

// tryRow is one attempt, or a test, in words.
type tryRow struct {
	At      time.Time
	Took    string
	Taken   bool
	Outcome string
	Answer  string
	Remedy  string
}

func tryRowOf(t webhook.Try) tryRow {
	row := tryRow{At: t.At, Took: tookWords(t.Took), Taken: t.Error == "", Outcome: t.Error, Answer: t.Answer, Remedy: t.Remedy}
	if row.Taken {
		row.Outcome = strings.TrimSpace(fmt.Sprintf("Taken: %d %s", t.Status, http.StatusText(t.Status)))
	}
	return row
}

// tookWords says how long an attempt took.
func tookWords(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1 ms"
	}
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// deliveryRowOf is a delivery in words; off says that its webhook is.
func deliveryRowOf(r webhook.Recorded, off bool, now time.Time) deliveryRow {
	d := r.Delivery
	row := deliveryRow{
		ID: d.ID, Kind: string(r.Event.Kind), Mailbox: r.Event.Mailbox, Text: r.Event.Text, Since: d.StateSince, Attempts: d.Attempts,
		Happened: r.Event.At, Replay: "Deliver it again",
	}
	switch {
	case d.State == webhook.Delivered:
		row.State = badge{"delivered", "green"}
	case d.State == webhook.Parked:
		row.State = badge{"parked", "red"}
	case d.Lease.Held(now):
		row.State, row.Replay = badge{"under way", "azure"}, ""
	case off || d.Attempts == 0:
		row.State, row.Replay = badge{"waits", "secondary"}, ""
	case d.NextAttemptAt.After(now):
		row.State, row.Next, row.Replay = badge{"not taken yet", "yellow"}, d.NextAttemptAt, "Try it now"
	default:
		row.State, row.Replay = badge{"tried next", "yellow"}, ""
	}
	switch {
	case d.LastError != "":
		row.Answer = d.LastError
	case d.LastStatus != 0:
		row.Answer = strings.TrimSpace(fmt.Sprintf("%d %s", d.LastStatus, http.StatusText(d.LastStatus)))
	}
	return row
}

// plural counts things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// webhookNotices are what a webhook's page says after an act; only these words
// can be asked for.
func webhookNotices() map[string]string {
	return map[string]string{
		"added":    "The webhook was added. It signs with the secret that you gave.",
		"changed":  "The webhook was changed.",
		"enabled":  "The webhook is on. What waited for it is tried now; what happened meanwhile was not queued and stands in the timeline.",
		"disabled": "The webhook is off. What waits stays; what happens from now on is not queued for it.",
		"replayed": "What was parked is made again, in order.",
		"nothing":  "Nothing was parked.",
		"again":    "The delivery is made again.",
	}
}

func (p *Pages) webhookShow(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showWebhook(w, r, http.StatusOK, h, func(v *webhookView) { v.Done = webhookNotices()[r.URL.Query().Get("done")] })
}

// showWebhook shows a webhook with the deliveries that the address asks for.
func (p *Pages) showWebhook(w http.ResponseWriter, r *http.Request, code int, h webhook.Webhook, amend func(*webhookView)) {
	standings, err := p.Webhooks.Standings(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := webhookView{frame: p.frame(r, h.Name), Now: p.Now()}
	v.Hook = webhookRowOf(h, standings[h.ID], v.Now)
	q := r.URL.Query()
	v.State = webhook.State(q.Get("show"))
	before := q.Get("before")
	found, err := p.Webhooks.Deliveries(r.Context(), h.Name, webhook.Filter{State: v.State, Before: before, Limit: deliveriesListed + 1})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	at := func(state webhook.State, before string) string {
		to := url.Values{}
		if state != "" {
			to.Set("show", string(state))
		}
		if before != "" {
			to.Set("before", before)
		}
		if len(to) == 0 {
			return webhookPath(h.Name)
		}
		return webhookPath(h.Name) + "?" + to.Encode()
	}
	if len(found) > deliveriesListed {
		found = found[:deliveriesListed]
		v.Older = at(v.State, found[deliveriesListed-1].Delivery.ID)
	}
	if before != "" {
		v.Newest = at(v.State, "")
	}
	for _, d := range found {
		v.Deliveries = append(v.Deliveries, deliveryRowOf(d, h.Disabled != "", v.Now))
	}
	titles := map[webhook.State]string{webhook.Waiting: fmt.Sprintf("Waiting (%d)", v.Hook.Waiting), webhook.Parked: fmt.Sprintf("Parked (%d)", v.Hook.Parked), webhook.Delivered: "Delivered"}
	v.Tabs = []tab{{Title: "All", URL: at("", ""), Current: v.State == ""}}
	for _, s := range webhook.States() {
		v.Tabs = append(v.Tabs, tab{Title: titles[s], URL: at(s, ""), Current: v.State == s})
	}
	amend(&v)
	p.show(w, r, code, webhookPage(v))
}

func (p *Pages) webhookEnable(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Enable(r.Context(), by(r), r.PathValue("name"))
	p.webhookDone(w, r, h.Name, "enabled", err)
}

func (p *Pages) webhookDisable(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Disable(r.Context(), by(r), r.PathValue("name"))
	p.webhookDone(w, r, h.Name, "disabled", err)
}

func (p *Pages) webhookReplay(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	n, err := p.Webhooks.ReplayParked(r.Context(), by(r), name)
	done := "replayed"
	if n == 0 {
		done = "nothing"
	}
	p.webhookDone(w, r, name, done, err)
}

func (p *Pages) webhookDone(w http.ResponseWriter, r *http.Request, name, done string, err error) {
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, webhookPath(name)+"?done="+done, http.StatusSeeOther)
}

func (p *Pages) webhookTest(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	tested, err := p.Webhooks.Ping(r.Context(), by(r), h.Name)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showWebhook(w, r, http.StatusOK, h, func(v *webhookView) {
		row := tryRowOf(tested.Try)
		v.Test = &row
	})
}

func (p *Pages) webhookSecret(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var rotation webhook.Rotation
	if text := f.value("overlap"); text != "" {
		overlap, err := time.ParseDuration(text)
		if err != nil {
			p.fail(w, r, badForm(err))
			return
		}
		rotation.Overlap = &overlap
	}
	h, generated, err := p.Webhooks.RotateSecret(r.Context(), by(r), r.PathValue("name"), rotation)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showWebhook(w, r, http.StatusOK, h, func(v *webhookView) { v.Secret = generated.Reveal() })
}

func (p *Pages) deliveryShow(w http.ResponseWriter, r *http.Request) {
	h, err := p.Webhooks.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	found, err := p.Webhooks.Delivery(r.Context(), h.Name, r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := deliveryView{frame: p.frame(r, "Delivery"), Now: p.Now(), Hook: h.Name, Off: h.Disabled, Done: webhookNotices()[r.URL.Query().Get("done")]}
	v.Delivery = deliveryRowOf(found, h.Disabled != "", v.Now)
	at := v.Now
	for _, t := range slices.Backward(found.Delivery.Tries) {
		v.Tries = append(v.Tries, tryRowOf(t))
	}
	if n := len(found.Delivery.Tries); n > 0 {
		at = found.Delivery.Tries[n-1].At
	}
	headers := webhook.Headers(found.Delivery.ID, at)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		v.Headers = append(v.Headers, header{strings.ToLower(name), headers.Get(name)})
	}
	body, err := webhook.Body(found.Event)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var shown bytes.Buffer
	if err := json.Indent(&shown, body, "", "  "); err != nil {
		p.fail(w, r, fmt.Errorf("set out a body: %w", err))
		return
	}
	v.Body = shown.String()
	p.show(w, r, http.StatusOK, deliveryPage(v))
}

func (p *Pages) deliveryReplay(w http.ResponseWriter, r *http.Request) {
	name, id := r.PathValue("name"), r.PathValue("id")
	_, err := p.Webhooks.Replay(r.Context(), by(r), name, id)
	if err != nil && !fault.Has(err, "delivery.under_way") {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, deliveryPath(name, id)+"?done=again", http.StatusSeeOther)
}

func deliveryPath(name, id string) string {
	return webhookPath(name) + "/deliveries/" + url.PathEscape(id)
}
