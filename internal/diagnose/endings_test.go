package diagnose_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// APIKeyEndings and TellEnding keep in memory what the store keeps; the store's
// own are tested in storetest.
func (k known) APIKeyEndings(_ context.Context, from time.Time) (out []diagnose.Ending, err error) {
	for _, e := range k.keys {
		if e.EndsAt.After(from) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (k known) TellEnding(_ context.Context, e diagnose.Ending, days int, what event.Event) (bool, error) {
	if k.told == nil {
		return false, errors.New("nothing is told here")
	}
	name := fmt.Sprint(e.Kind, e.ID, e.EndsAt)
	if before, ok := k.told.days[name]; ok && before <= days {
		return false, nil
	}
	k.told.days[name] = days
	k.told.events = append(k.told.events, what)
	return true, nil
}

type told struct {
	days   map[string]int
	events []event.Event
}

func ends(k known, now time.Time) *diagnose.Endings {
	return &diagnose.Endings{Store: k, Providers: k, Now: func() time.Time { return now }}
}

const day = 24 * time.Hour

// TestEndings_AreToldOnceForEachWarning lets a hundred days pass by the hour.
func TestEndings_AreToldOnceForEachWarning(t *testing.T) {
	t.Parallel()
	key := func(name string, made, ends time.Duration) diagnose.Ending {
		return diagnose.Ending{Kind: diagnose.EndingAPIKey, ID: name, Name: name, Since: moment.Add(made), EndsAt: moment.Add(ends)}
	}
	secrets := func(name string, ends ...time.Duration) provider.Record {
		r := provider.Record{Name: name}
		for i, d := range ends {
			r.Secrets = append(r.Secrets, provider.ClientSecretRef{ID: fmt.Sprint(name, i), ExpiresAt: moment.Add(d)})
		}
		return r
	}
	k := known{
		told: &told{days: map[string]int{}},
		keys: []diagnose.Ending{
			key("long", -100*day, 90*day), key("of an hour", 0, time.Hour), key("of ten days", 0, 10*day), key("ended long ago", -300*day, -8*day), key("ended lately", -300*day, -2*day),
		},
		providers: []provider.Record{
			secrets("contoso", 80*day), secrets("twice", 10*day, 95*day), secrets("late", 20*day),
			{Name: "trusted", Secrets: []provider.ClientSecretRef{{ID: "a", ExpiresAt: moment.Add(day)}, {ID: "b"}}},
		},
	}
	got := map[string][]string{}
	for h := range 100 * 24 {
		now := moment.Add(time.Duration(h) * time.Hour)
		k.told.events = nil
		if err := ends(k, now).Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, e := range k.told.events {
			if !e.Kind.Alert() || e.Remedy == "" || e.Text == "" || e.Data["expires_at"] == "" || !strings.Contains(e.Data["who"], "operator") || !e.At.Equal(now) {
				t.Errorf("an event that helps nobody: %+v", e)
			}
			name := e.Data["api_key"] + e.Data["provider"]
			got[name] = append(got[name], fmt.Sprintf("%d: %s", h/24, e.Kind))
		}
	}
	const soon, over, key1, key0 = "provider.secret_expiring", "provider.secret_expired", "api_key.expiring", "api_key.expired"
	for name, want := range map[string][]string{
		"contoso":      {"20: " + soon, "50: " + soon, "66: " + soon, "73: " + soon, "79: " + soon, "80: " + over},
		"twice":        {"35: " + soon, "65: " + soon, "81: " + soon, "88: " + soon, "94: " + soon, "95: " + over},
		"late":         {"0: " + soon, "6: " + soon, "13: " + soon, "19: " + soon, "20: " + over}, // what was missed is told as one
		"long":         {"76: " + key1, "83: " + key1, "89: " + key1, "90: " + key0},
		"of ten days":  {"3: " + key1, "9: " + key1, "10: " + key0},
		"ended lately": {"0: " + key0},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("of %s was told %v, want %v", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("told as well: %v", got)
	}
}

func TestEndings_SayWhenInWords(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]string{
		7 * day:         "The API key desk ends in 7 days, on 2026-12-01.",
		6*day + 1:       "The API key desk ends in 7 days, on 2026-11-30.",
		day:             "The API key desk ends in a day, on 2026-11-25.",
		time.Minute:     "The API key desk ends in a day, on 2026-11-24.",
		0:               "The API key desk ended on 2026-11-24.",
		-time.Hour:      "The API key desk ended on 2026-11-24.",
		14*day + 1:      "",
		-8 * day:        "",
		100 * 365 * day: "",
	} {
		k := known{told: &told{days: map[string]int{}}, keys: []diagnose.Ending{{Kind: diagnose.EndingAPIKey, ID: "1", Name: "desk", EndsAt: moment.Add(left)}}}
		if err := ends(k, moment).Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		var text string
		for _, e := range k.told.events {
			text = e.Text
		}
		if want == "" && text != "" || !strings.HasPrefix(text, want) {
			t.Errorf("with %v left it says %q, want %q", left, text, want)
		}
	}
	k := known{keys: []diagnose.Ending{{Kind: diagnose.EndingAPIKey, ID: "1", Name: "desk", EndsAt: moment}}}
	if err := ends(k, moment).Tell(t.Context()); err == nil {
		t.Error("a store that fails is no error")
	}
}
