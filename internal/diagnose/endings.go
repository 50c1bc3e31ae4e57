package diagnose

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// EndingKind names a sort of thing that ends by itself.
type EndingKind string

// The sorts.
const (
	EndingSecret EndingKind = "client_secret" // of a provider, the last of them that counts
	EndingAPIKey EndingKind = "api_key"
)

// Ending is a thing with a date after which it is good for nothing.
type Ending struct {
	Kind   EndingKind
	ID     string
	Name   string    // the provider's or the app's
	Since  time.Time // when it was made; zero: not known
	EndsAt time.Time // never zero
}

// warnings gives how many days before its end a thing of this kind is spoken of,
// the earliest first. This is the only list: the pages mark from its first step
// on, the events are told at each. A client secret is made by another party, who
// may take weeks; an API key by whoever reads this.
func (k EndingKind) warnings() []int {
	if k == EndingSecret {
		return []int{60, 30, 14, 7, 1}
	}
	return []int{14, 7, 1}
}

const (
	oneDay = 24 * time.Hour
	// stillNews is how long an API key that has ended is spoken of: one that is
	// not replaced by then was not needed any more.
	stillNews = 7 * oneDay
)

// EndsSoon reports an end that has come, or comes within the first of the
// warnings; a zero end never does.
func EndsSoon(k EndingKind, now, end time.Time) bool {
	return !end.IsZero() && end.Before(now.Add(time.Duration(k.warnings()[0])*oneDay))
}

// Ended reports that it is good for nothing any more.
func (e Ending) Ended(now time.Time) bool { return !e.EndsAt.After(now) }

// step is the latest warning whose time has come: so many days before the end, 0
// when it has ended. Nothing is due of a thing that was made to live no longer
// than that: whoever made it knows.
func (e Ending) step(now time.Time) (days int, due bool) {
	steps := e.Kind.warnings()
	life := func(days int) bool { return e.Since.IsZero() || e.EndsAt.Sub(e.Since) > time.Duration(days)*oneDay }
	if e.Ended(now) {
		return 0, life(steps[len(steps)-1])
	}
	for _, days := range slices.Backward(steps) {
		if e.EndsAt.Sub(now) <= time.Duration(days)*oneDay {
			return days, life(days)
		}
	}
	return 0, false
}

// SecretEnding is when a provider is left without a client secret. One that ends
// unknown to us is trusted to go on.
func SecretEnding(p provider.Record) (e Ending, known bool) {
	for _, s := range p.Secrets {
		if s.ExpiresAt.IsZero() {
			return Ending{}, false
		}
		if s.ExpiresAt.After(e.EndsAt) {
			e = Ending{Kind: EndingSecret, ID: s.ID, Name: p.Name, EndsAt: s.ExpiresAt}
		}
	}
	return e, !e.EndsAt.IsZero()
}

// EndingStore keeps what ends, and what was told of it.
type EndingStore interface {
	// APIKeyEndings gives the API keys that end later than from.
	APIKeyEndings(ctx context.Context, from time.Time) ([]Ending, error)
	// TellEnding writes the event unless one was written for this end with as few
	// days left, or fewer. told says that it was written now.
	TellEnding(ctx context.Context, e Ending, days int, what event.Event) (told bool, err error)
}

// Endings knows what ends and when, and tells of it ahead of time. Every field
// is required.
type Endings struct {
	Store     EndingStore
	Providers Providers
	Log       *slog.Logger
	Now       func() time.Time
}

// List gives what ends, the soonest first, and what has ended and still matters.
func (o *Endings) List(ctx context.Context) ([]Ending, error) {
	providers, err := o.Providers.List(ctx)
	if err != nil {
		return nil, err
	}
	all, err := o.Store.APIKeyEndings(ctx, o.Now().Add(-stillNews))
	if err != nil {
		return nil, err
	}
	for _, p := range providers {
		if e, known := SecretEnding(p); known {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b Ending) int { return a.EndsAt.Compare(b.EndsAt) })
	return all, nil
}

// Tell writes an event for every thing that has come to a warning which was not
// told yet, by this process or another. After a long rest one event is told, not
// one for each warning that was missed.
func (o *Endings) Tell(ctx context.Context) error {
	all, err := o.List(ctx)
	if err != nil {
		return err
	}
	now := o.Now()
	for _, e := range all {
		days, due := e.step(now)
		if !due {
			continue
		}
		if _, err := o.Store.TellEnding(ctx, e, days, e.event(now)); err != nil {
			return err
		}
	}
	return nil
}

// tellEvery is how late a warning may come.
const tellEvery = time.Hour

// Run tells at start and hourly until ctx ends.
func (o *Endings) Run(ctx context.Context) error {
	for {
		if err := o.Tell(ctx); err != nil && ctx.Err() == nil {
			o.Log.ErrorContext(ctx, "what ends soon could not be told; it is tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tellEvery):
		}
	}
}

// event words a warning for the timeline.
func (e Ending) event(now time.Time) event.Event {
	on := e.EndsAt.UTC().Format(time.DateOnly)
	what, kind := "The client secret of the provider "+e.Name, event.SecretExpiring
	if e.Kind == EndingAPIKey {
		what, kind = "The API key "+e.Name, event.APIKeyExpiring
	}
	text := fmt.Sprintf("%s ends in %s, on %s.", what, daysLeft(e.EndsAt.Sub(now)), on)
	if e.Ended(now) {
		text = fmt.Sprintf("%s ended on %s.", what, on)
		if kind = event.SecretExpired; e.Kind == EndingAPIKey {
			kind = event.APIKeyExpired
		}
	}
	m := e.matter(now)
	told := event.New(now, kind, event.System(), text+" "+m.Text).With("expires_at", e.EndsAt.UTC().Format(time.RFC3339))
	told.Remedy = m.Remedy
	name := "provider"
	if e.Kind == EndingAPIKey {
		name = "api_key"
	}
	who := make([]string, len(m.Who))
	for i, w := range m.Who {
		who[i] = string(w)
	}
	return told.With(name, e.Name).With("who", strings.Join(who, ","))
}

// daysLeft words a time that is left, as whole days: what is begun counts.
func daysLeft(d time.Duration) string {
	if n := int((d + oneDay - 1) / oneDay); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "a day"
}

// matter words what it means, and what to do.
func (e Ending) matter(now time.Time) Matter {
	if e.Kind == EndingAPIKey {
		m := Matter{
			Kind: MatterAPIKey, App: e.Name, Title: "Its API key ends soon", Until: e.EndsAt, Who: []fault.Who{fault.Operator},
			Text: "After that, every call of the program that uses it is refused.", Remedy: "Give it a later end date, or renew it and hand the new one to the program.",
		}
		if e.Ended(now) {
			m.Ended, m.Title, m.Text = true, "Its API key has ended", "Every call of the program that uses it is refused."
			m.Remedy = "Give it a later end date if the program is still needed; else remove the app."
		}
		return m
	}
	m := Matter{
		Kind: MatterSecret, Provider: e.Name, Title: "Its client secret ends soon", Until: e.EndsAt,
		Text: "After that, no access token of its mailboxes can be renewed.", Who: []fault.Who{fault.AppOwner, fault.Operator},
		Remedy: "Have a new client secret made at the provider and add it here before then; the old one is still tried until it ends.",
	}
	if e.Ended(now) {
		m.Ended = true
		m.Title, m.Text = "Its client secret has ended", "No access token of its mailboxes can be renewed."
		m.Remedy = "Have a new client secret made at the provider and add it here."
	}
	return m
}
