package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/declare"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Document is every resource together, as files for “mailgrant apply” have them.
type Document struct {
	Providers []Provider `json:"providers,omitempty" doc:"A list that is left out is left alone, with prune too."`
	Mailboxes []Mailbox  `json:"mailboxes,omitempty"`
	Webhooks  []Webhook  `json:"webhooks,omitempty"`
	Apps      []App      `json:"apps,omitempty"`
}

// Applied is what a document changed.
type Applied struct {
	DryRun  bool            `json:"dry_run,omitempty" doc:"Nothing was changed: this is what would be."`
	Changes []AppliedChange `json:"changes"`
}

// AppliedChange is what became of one resource.
type AppliedChange struct {
	Kind   string   `json:"kind" enum:"provider,mailbox,webhook,app"`
	Name   string   `json:"name"`
	Action string   `json:"action" enum:"created,updated,unchanged,deleted"`
	Fields []string `json:"fields,omitempty" doc:"Of an update: what changed, never a value."`
	APIKey string   `json:"api_key,omitempty" once:"true" doc:"Of an app that was created: its API key, shown this once."`
	Secret string   `json:"secret,omitempty" once:"true" doc:"Of a webhook that was created without one: the signing secret that was made, shown this once."`
}

// ApplyRequest is a document with what to do with it.
type ApplyRequest struct {
	DryRun bool   `query:"dry_run" doc:"Check everything and say what would be done; change nothing."`
	Prune  bool   `query:"prune" doc:"Delete what is stored and missing from a list that the document has."`
	Accept string `header:"Accept" hidden:"true" json:"-"`
	Body   Document
}

// maxDocument bounds a document; a file of resources may be as long. That is some
// 30,000 plain mailboxes.
const maxDocument = 8 << 20

func (a *API) declared() {
	const tag = "Declarative"
	register(a, "apply", http.MethodPost, "/v1/apply", "Make the resources what a document says; one mistake in it changes nothing", tag, a.apply, produces[Applied](a, eventStream),
		creating(http.StatusOK), func(op *huma.Operation) { op.MaxBodyBytes = maxDocument })
	register(a, "export", http.MethodGet, "/v1/export", "Every resource as a document that apply takes, without secrets", tag, a.export)
}

// Progress is one step of a document that is being carried out.
type Progress struct {
	Done   int           `json:"done"`
	Of     int           `json:"of"`
	Change AppliedChange `json:"change"`
}

func (a *API) apply(ctx context.Context, in *ApplyRequest) (*huma.StreamResponse, error) {
	if err := everywhere(caller(ctx)); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		var out *teller
		carry := func(ctx context.Context) (done Applied, err error) {
			plan, err := declare.Check(ctx, a.sections(in.Body, in.Prune, caller(ctx).Actor), declare.Options{DryRun: in.DryRun, Prune: in.Prune})
			if err != nil {
				return done, err
			}
			out = newTeller(c, wantsStream(in.Accept))
			step := 0
			changes, err := plan.Carry(ctx, func(change declare.Change) {
				step++
				out.tell("change", Progress{Done: step, Of: plan.Steps(), Change: changeOut(change)})
			})
			return Applied{DryRun: in.DryRun, Changes: changesOut(changes)}, err
		}
		done, err := a.applyOnce(c.Context(), in, carry)
		stopped, midway := errors.AsType[*declare.Stopped](err)
		switch {
		case err != nil && out == nil:
			a.refuse(c, withoutValues(err, bodyOf(in)))
			return
		case err != nil:
			p := a.problem(c.Context(), withoutValues(err, bodyOf(in)))
			if midway {
				p.Changes = changesOut(stopped.Done)
			}
			out.refuse(p)
			return
		case out == nil: // the answer was kept
			out = newTeller(c, wantsStream(in.Accept))
		}
		out.end(done)
	}}, nil
}

// applyOnce carries a document out, or gives what came of it under the same
// Idempotency-Key before.
func (a *API) applyOnce(ctx context.Context, in *ApplyRequest, carry func(context.Context) (Applied, error)) (done Applied, err error) {
	c, _ := ctx.Value(onceKey{}).(onceCall)
	if !c.given {
		return carry(ctx)
	}
	kept, err := a.keep(ctx, c, in, http.StatusOK, func(ctx context.Context) (reflect.Value, error) {
		done, err = carry(ctx)
		return reflect.ValueOf(done), err
	})
	if err == nil && kept != nil {
		err = json.Unmarshal(kept, &done)
	}
	return done, err
}

// teller answers with one document at the end, or with a stream of what is done.
type teller struct {
	c      huma.Context
	stream bool
	flush  func() error
	told   time.Time
}

// toldEvery bounds how often a stream is sent on its way.
const toldEvery = 100 * time.Millisecond

func newTeller(c huma.Context, stream bool) *teller {
	t := &teller{c: c, stream: stream, flush: func() error { return nil }}
	if w, ok := c.BodyWriter().(http.ResponseWriter); ok && stream {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{})
		t.flush = rc.Flush
	}
	if stream {
		c.SetHeader("Content-Type", eventStream)
		_ = t.flush()
	}
	return t
}

func (t *teller) tell(kind string, v any) {
	if !t.stream {
		return
	}
	b, _ := json.Marshal(v)
	_, _ = fmt.Fprintf(t.c.BodyWriter(), "event: %s\ndata: %s\n\n", kind, b)
	if now := time.Now(); kind != "change" || now.Sub(t.told) > toldEvery {
		t.told = now
		_ = t.flush()
	}
}

func (t *teller) end(v any) {
	if t.stream {
		t.tell("result", v)
		return
	}
	t.c.SetHeader("Content-Type", "application/json")
	_ = json.NewEncoder(t.c.BodyWriter()).Encode(v)
}

func (t *teller) refuse(p *Problem) {
	if t.stream {
		t.tell("problem", p)
		return
	}
	t.c.SetHeader("Content-Type", "application/problem+json")
	t.c.SetStatus(p.Status)
	_ = json.NewEncoder(t.c.BodyWriter()).Encode(p)
}

func changesOut(changes []declare.Change) []AppliedChange {
	out := []AppliedChange{}
	for _, c := range changes {
		out = append(out, changeOut(c))
	}
	return out
}

func changeOut(c declare.Change) AppliedChange {
	out := AppliedChange{Kind: c.Kind, Name: c.Name, Action: string(c.Action), Fields: c.Fields}
	if c.Kind == kindApp {
		out.APIKey = c.Secret.Reveal()
	} else {
		out.Secret = c.Secret.Reveal()
	}
	return out
}

// The kinds of resources.
const (
	kindProvider = "provider"
	kindMailbox  = "mailbox"
	kindWebhook  = "webhook"
	kindApp      = "app"
)

// sections translates a document, in the order in which it is carried out.
func (a *API) sections(d Document, prune bool, by event.Actor) []declare.Section {
	plan := a.Connect.NewPlan(connect.PlanScope{Providers: prune && d.Providers != nil, Mailboxes: prune && d.Mailboxes != nil})
	return []declare.Section{
		a.providerSection(d.Providers, plan, by), a.mailboxSection(d.Mailboxes, plan, by), a.webhookSection(d.Webhooks, by), a.appSection(d.Apps, by),
	}
}

func (a *API) providerSection(all []Provider, plan *connect.Plan, by event.Actor) declare.Section {
	s := declare.Section{
		Kind: kindProvider, Field: "providers", Name: "name", Given: all != nil, MayDelete: plan.MayDelete,
		Stored: func(ctx context.Context) (names []string, err error) {
			stored, err := a.Connect.Providers.List(ctx)
			for _, r := range stored {
				names = append(names, r.Name)
			}
			return names, err
		},
		Delete: func(ctx context.Context, name string) error { return a.Connect.Providers.Delete(ctx, name, by) },
	}
	for _, p := range all {
		s.Items = append(s.Items, declare.Item{
			Check: func(ctx context.Context) (declare.Draft, error) {
				settings, err := p.settings(connect.Whichever)
				if err != nil {
					return declare.Draft{Name: p.Name}, err
				}
				d, err := plan.Provider(ctx, settings, by)
				return drafted(d, p.Name, d.Becomes.Name), err
			},
			Fits: func(ctx context.Context) error { return plan.Fits(ctx, p.Name) },
		})
	}
	return s
}

func (a *API) mailboxSection(all []Mailbox, plan *connect.Plan, by event.Actor) declare.Section {
	s := declare.Section{
		Kind: kindMailbox, Field: "mailboxes", Name: "address", Given: all != nil,
		Stored: func(ctx context.Context) (addresses []string, err error) {
			stored, err := a.everyMailbox(ctx)
			for _, m := range stored {
				addresses = append(addresses, m.Address)
			}
			return addresses, err
		},
		Delete: func(ctx context.Context, address string) error { return a.Connect.Mailboxes.Delete(ctx, address, by) },
	}
	for _, m := range all {
		s.Items = append(s.Items, declare.Item{Check: func(ctx context.Context) (declare.Draft, error) {
			settings, err := m.settings(connect.Whichever)
			if err != nil {
				return declare.Draft{Name: m.Address}, err
			}
			d, err := plan.Mailbox(ctx, settings, by)
			return drafted(d, m.Address, d.Becomes.Address), err
		}})
	}
	return s
}

// everyMailbox gives all that are stored, by address.
func (a *API) everyMailbox(ctx context.Context) (all []mailbox.Mailbox, err error) {
	after := ""
	for {
		listed, err := a.Connect.Mailboxes.List(ctx, mailbox.Filter{After: after, Limit: maxPage})
		if err != nil {
			return nil, err
		}
		for _, l := range listed {
			after = l.Mailbox.Address
			all = append(all, l.Mailbox)
		}
		if len(listed) < maxPage {
			return all, nil
		}
	}
}

func (a *API) webhookSection(all []Webhook, by event.Actor) declare.Section {
	s := declare.Section{
		Kind: kindWebhook, Field: "webhooks", Name: "name", Given: all != nil,
		Stored: func(ctx context.Context) (names []string, err error) {
			stored, err := a.Webhooks.List(ctx)
			for _, w := range stored {
				names = append(names, w.Name)
			}
			return names, err
		},
		Delete: func(ctx context.Context, name string) error { return a.Webhooks.Delete(ctx, by, name) },
	}
	for _, w := range all {
		s.Items = append(s.Items, declare.Item{Check: func(ctx context.Context) (declare.Draft, error) {
			d, err := a.Webhooks.Check(ctx, by, w.input())
			return declare.Draft{Name: w.Name, Action: action(d.IsNew, d.Fields), Fields: d.Fields, Save: func(ctx context.Context) (seal.Secret, error) {
				_, made, err := d.Save(ctx)
				return made, err
			}}, err
		}})
	}
	return s
}

func (a *API) appSection(all []App, by event.Actor) declare.Section {
	s := declare.Section{
		Kind: kindApp, Field: "apps", Name: "name", Given: all != nil,
		Stored: func(ctx context.Context) (names []string, err error) {
			stored, err := a.Access.APIKeys(ctx)
			for _, k := range stored {
				names = append(names, k.Name)
			}
			return names, err
		},
		MayDelete: func(_ context.Context, name string) error { return a.Access.MayLeaveOut(by, name) },
		Delete:    func(ctx context.Context, name string) error { return a.Access.DeleteAPIKey(ctx, by, name) },
	}
	for _, p := range all {
		s.Items = append(s.Items, declare.Item{Check: func(ctx context.Context) (declare.Draft, error) {
			d, err := a.Access.CheckAPIKey(ctx, by, p.request())
			return declare.Draft{Name: p.Name, Action: action(d.IsNew, d.Fields), Fields: d.Fields, Save: func(ctx context.Context) (seal.Secret, error) {
				_, made, err := d.Save(ctx)
				return made, err
			}}, err
		}})
	}
	return s
}

func action(isNew bool, changed []string) declare.Action {
	switch {
	case isNew:
		return declare.Created
	case len(changed) > 0:
		return declare.Updated
	}
	return declare.Unchanged
}

// drafted translates a checked provider or mailbox; a refused one is known by the
// name it was given.
func drafted[T any](d connect.Draft[T], given, stored string) declare.Draft {
	if stored == "" {
		stored = given
	}
	return declare.Draft{Name: stored, Action: declare.Action(d.Change), Fields: d.Fields, Save: func(ctx context.Context) (seal.Secret, error) {
		_, _, err := d.Save(ctx)
		return seal.Secret{}, err
	}}
}

func (a *API) export(ctx context.Context, _ *struct{}) (*Out[Document], error) {
	if err := everywhere(caller(ctx)); err != nil {
		return nil, err
	}
	d := Document{Providers: []Provider{}, Mailboxes: []Mailbox{}, Webhooks: []Webhook{}, Apps: []App{}}
	providers, err := a.Connect.Providers.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range providers {
		d.Providers = append(d.Providers, written(a.providerOut(r)))
	}
	mailboxes, err := a.everyMailbox(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range mailboxes {
		d.Mailboxes = append(d.Mailboxes, written(mailboxOut(m)))
	}
	webhooks, err := a.Webhooks.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range webhooks {
		d.Webhooks = append(d.Webhooks, written(webhookOut(w, seal.Secret{}, webhook.Standing{})))
	}
	keys, err := a.Access.APIKeys(ctx)
	for _, k := range keys {
		d.Apps = append(d.Apps, written(appOut(k, seal.Secret{})))
	}
	return &Out[Document]{d}, err
}

// written is a resource without what is the server's to say.
func written[T any](resource T) T {
	v := reflect.ValueOf(&resource).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("readOnly") == "true" {
			v.Field(i).SetZero()
		}
	}
	return resource
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// names are what its resources are called: said in words about it as they stand,
// where other texts of a document are not.
func (d Document) names() (all []string) {
	for _, p := range d.Providers {
		all = append(all, p.Name)
		for _, f := range p.Profiles {
			all = append(all, f.Name)
		}
	}
	for _, w := range d.Webhooks {
		all = append(all, w.Name)
	}
	for _, a := range d.Apps {
		all = append(all, a.Name)
	}
	return slices.DeleteFunc(all, func(name string) bool { return !plainName.MatchString(name) })
}
