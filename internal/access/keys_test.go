package access_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func (d *desk) key(t testing.TB, r access.KeyRequest) string {
	t.Helper()
	_, s, err := d.CreateAPIKey(t.Context(), event.System(), r)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + s.Reveal()
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx := t.Context()
	in := access.KeyRequest{
		Name: "desk", May: []access.Right{access.Read}, Mailboxes: []string{"Desk@Example.org"},
		Networks: []string{"10.1.0.0/16", "::ffff:172.16.0.0/108", "2001:db8::/32"}, ExpiresAt: d.now.Add(time.Hour),
	}
	header := d.key(t, in)
	if in.Mailboxes[0] != "Desk@Example.org" {
		t.Error("the caller's own list was changed")
	}
	for from, good := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "172.16.0.1": true, "2001:db8::1": true, "10.2.0.1": false, "::1": false,
	} {
		c, err := d.Authenticate(ctx, header, netip.MustParseAddr(from))
		if good && (err != nil || c.Actor.Name != "desk" || c.All) || !good && !fault.Has(err, "access.forbidden") {
			t.Errorf("from %s: %+v, %v", from, c, err)
		}
	}
	if _, err := d.Authenticate(ctx, header, netip.Addr{}); !fault.Has(err, "access.forbidden") {
		t.Errorf("from nowhere: %v", err)
	}
	_, _, err := d.CreateAPIKey(ctx, event.System(), access.KeyRequest{Name: "desk", May: []access.Right{access.Send}})
	wants(t, err, "api_key.exists")
	d.now = d.now.Add(time.Hour)
	_, err = d.Authenticate(ctx, header, netip.MustParseAddr("10.1.2.3"))
	wants(t, err, "access.api_key_expired")

	short := d.key(t, access.KeyRequest{Name: "short", May: []access.Right{access.Send}})
	other := d.process()
	for _, a := range []*access.Access{d.Access, other} {
		if _, err := a.Authenticate(ctx, short, here); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.DeleteAPIKey(ctx, event.System(), "short"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Authenticate(ctx, short, here)
	wants(t, err, "access.api_key_unknown")
	d.now = d.now.Add(2 * time.Second)
	_, err = other.Authenticate(ctx, short, here)
	wants(t, err, "access.api_key_unknown")
	if text := d.timeline(t) + err.Error(); strings.Contains(text, strings.TrimPrefix(header, "Bearer ")) || strings.Contains(text, strings.TrimPrefix(short, "Bearer ")) {
		t.Error("a key is in the timeline or an error")
	}
}

func TestAuthenticate_SaysWhatIsWrongWithAKey(t *testing.T) {
	t.Parallel()
	d := open(t)
	good := d.key(t, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}})
	if len(good) != len("Bearer ")+47 {
		t.Errorf("a key has %d characters; the words say 47", len(good)-len("Bearer "))
	}
	for outcome, c := range map[string]struct{ header, id, says string }{
		"nothing was sent":         {"", "access.no_api_key", "An API key is needed."},
		"blanks were sent":         {"  ", "access.no_api_key", "An API key is needed."},
		"another scheme":           {"Basic planted", "access.api_key_form", "Bearer"},
		"the key alone":            {strings.TrimPrefix(good, "Bearer "), "access.api_key_form", "Bearer"},
		"a key without its prefix": {"Bearer planted", "access.api_key_form", "mgk_"},
		"the scheme alone":         {"Bearer", "access.api_key_form", "mgk_"},
		"a key without an end":     {"Bearer mgk_" + strings.Repeat("a", 300), "access.api_key_form", "47"},
		"a key that was mistyped":  {good[:len(good)-1] + "~", "access.api_key_unknown", "mistyped, removed, or belongs to another server"},
	} {
		_, err := d.Authenticate(t.Context(), c.header, here)
		wants(t, err, c.id)
		if f := fault.Of(err); f.Kind != fault.Unauthenticated || !strings.Contains(f.Text, c.says) || f.Remedy == "" || strings.Contains(f.Text+f.Remedy, "planted") {
			t.Errorf("%s: %s %s", outcome, f.Text, f.Remedy)
		}
	}
}

func TestCreateAPIKey_Refuses(t *testing.T) {
	t.Parallel()
	d := open(t)
	for field, r := range map[string]access.KeyRequest{
		"name":         {Name: "Not Good", May: []access.Right{access.Read}},
		"may":          {Name: "x"},
		"may[1]":       {Name: "x", May: []access.Right{access.Read, "all"}},
		"mailboxes[0]": {Name: "x", May: []access.Right{access.Read}, Mailboxes: []string{"nobody"}},
		"networks[0]":  {Name: "x", May: []access.Right{access.Read}, Networks: []string{"10.0.0.0/33"}},
		"expires_at":   {Name: "x", May: []access.Right{access.Read}, ExpiresAt: d.now},
	} {
		_, s, err := d.CreateAPIKey(t.Context(), event.System(), r)
		wants(t, err, "access.api_key_field")
		if fault.Of(err).Field != field || !s.IsZero() {
			t.Errorf("got %+v, want field %s", fault.Of(err), field)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer ", "bearer mgk_", "Basic bWdrXw==", "Bearer mgk_" + strings.Repeat("A", 43), "Bearer  mgk_x y", strings.Repeat("Bearer mgk_", 100)} {
		f.Add(seed)
	}
	d := open(f)
	f.Fuzz(func(t *testing.T, header string) {
		c, err := d.Authenticate(context.Background(), header, here)
		if fault.KindOf(err) != fault.Unauthenticated || c.All || len(c.May) > 0 {
			t.Fatalf("%q gave %+v, %v", header, c, err)
		}
		if len(header) > 20 && strings.Contains(err.Error(), header) {
			t.Fatalf("the error repeats the header: %v", err)
		}
	})
}

func TestCreateAPIKey_NamesEveryMistake(t *testing.T) {
	t.Parallel()
	d := open(t)
	_, _, err := d.CreateAPIKey(t.Context(), ops, access.KeyRequest{Name: "Desk", May: []access.Right{"fly"}, Mailboxes: []string{"a@example.org", "nobody"}, Networks: []string{"x"}, ExpiresAt: d.now})
	var fields []string
	for _, f := range fault.All(err) {
		fields = append(fields, f.Field)
	}
	if got := strings.Join(fields, " "); got != "name may[0] mailboxes[1] networks[0] expires_at" {
		t.Errorf("the mistakes are at %s", got)
	}
	k, _, err := d.CreateAPIKey(t.Context(), ops, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}, Networks: []string{" 192.0.2.7 ", "2001:db8::1", "::ffff:192.0.2.7"}})
	if err != nil || strings.Join(k.Networks, " ") != "192.0.2.7/32 2001:db8::1/128" {
		t.Errorf("single addresses are %v, %v", k.Networks, err)
	}
}

func TestAPIKey_LastUse(t *testing.T) {
	t.Parallel()
	d := open(t)
	bound := d.key(t, access.KeyRequest{Name: "bound", May: []access.Right{access.Read}, Networks: []string{"10.0.0.0/8"}})
	header := d.key(t, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}})
	began := d.now
	used := func(name string, want time.Time) {
		t.Helper()
		if k, err := d.APIKey(t.Context(), name); err != nil || !k.LastUsed.Equal(want) {
			t.Errorf("%s was last used %v, %v; want %v", name, k.LastUsed, err, want)
		}
	}
	used("desk", time.Time{})
	for _, c := range []struct{ at, want time.Duration }{{0, 0}, {time.Second, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {61 * time.Second, time.Minute}} {
		d.now = began.Add(c.at)
		if _, err := d.Authenticate(t.Context(), header, here); err != nil {
			t.Fatal(err)
		}
		used("desk", began.Add(c.want))
	}
	_, err := d.Authenticate(t.Context(), bound, here)
	wants(t, err, "access.forbidden")
	used("bound", time.Time{}) // who is refused does not use it
}

func TestChangeAPIKey(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx := t.Context()
	header := d.key(t, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}, ExpiresAt: d.now.Add(time.Hour)})
	may := func(want ...access.Right) {
		t.Helper()
		c, err := d.Authenticate(ctx, header, here)
		if err != nil || len(c.May) != len(want) || len(want) > 0 && c.May[0] != want[0] {
			t.Errorf("it may %v, %v; want %v", c.May, err, want)
		}
	}
	may(access.Read)
	in := access.KeyRequest{Name: "desk", May: []access.Right{access.Send, access.Read, access.Send}, Mailboxes: []string{"B@Example.org", "a@example.org", "b@example.org"}, ExpiresAt: d.now.Add(time.Hour)}
	k, secret, err := d.PutAPIKey(ctx, ops, in)
	if err != nil || !secret.IsZero() || len(k.Mailboxes) != 2 || k.Mailboxes[0] != "a@example.org" {
		t.Fatalf("got %+v, a value: %v, %v", k, !secret.IsZero(), err)
	}
	may(access.Read, access.Send) // at once, and with the value it had
	count := strings.Count(d.timeline(t), string(event.APIKeyUpdated))
	if _, _, err := d.PutAPIKey(ctx, ops, in); err != nil || strings.Count(d.timeline(t), string(event.APIKeyUpdated)) != count || count != 1 {
		t.Errorf("the same once more is a change: %v", err)
	}
	if text := d.timeline(t); !strings.Contains(text, "The API key desk was changed: rights, mailboxes.") || !strings.Contains(text, `"may":"read, send"`) {
		t.Errorf("the timeline is %s", text)
	}
	_, err = d.ChangeAPIKey(ctx, ops, access.KeyRequest{Name: "nobody", May: []access.Right{access.Read}})
	wants(t, err, "api_key.unknown")
	_, err = d.ChangeAPIKey(ctx, ops, access.KeyRequest{Name: "desk"})
	wants(t, err, "access.api_key_field")
	if _, secret, err = d.PutAPIKey(ctx, ops, access.KeyRequest{Name: "new", May: []access.Right{access.Read}}); err != nil || secret.IsZero() {
		t.Errorf("one that was not there has no value: %v", err)
	}
	// An end that has come: the rest can be changed, the end may stay or move on, but not to another day that is over.
	d.now = d.now.Add(2 * time.Hour)
	in.Networks = []string{"10.0.0.0/8", "192.0.2.0/24"}
	if _, _, err := d.PutAPIKey(ctx, ops, in); err != nil {
		t.Errorf("an ended key cannot be changed: %v", err)
	}
	_, err = d.Authenticate(ctx, header, here)
	wants(t, err, "access.api_key_expired")
	in.ExpiresAt = in.ExpiresAt.Add(time.Minute)
	_, _, err = d.PutAPIKey(ctx, ops, in)
	wants(t, err, "access.api_key_field")
	in.ExpiresAt = d.now.Add(time.Hour)
	if _, _, err := d.PutAPIKey(ctx, ops, in); err != nil {
		t.Error(err)
	}
	may(access.Read, access.Send)
}

func TestRenewAPIKey(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx := t.Context()
	old := d.key(t, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}, ExpiresAt: d.now.Add(time.Hour)})
	other := d.process()
	for _, a := range []*access.Access{d.Access, other} {
		if _, err := a.Authenticate(ctx, old, here); err != nil {
			t.Fatal(err)
		}
	}
	k, secret, err := d.RenewAPIKey(ctx, ops, "desk", time.Time{})
	if err != nil || !k.ExpiresAt.Equal(d.now.Add(time.Hour)) || len(secret.Reveal()) != 47 {
		t.Fatalf("got %+v, %v", k, err)
	}
	_, err = d.Authenticate(ctx, old, here)
	wants(t, err, "access.api_key_unknown")
	if c, err := d.Authenticate(ctx, "Bearer "+secret.Reveal(), here); err != nil || c.Actor.Name != "desk" || len(c.May) != 1 {
		t.Errorf("the new one: %+v, %v", c, err)
	}
	d.now = d.now.Add(2 * time.Second) // another process remembers for a moment
	_, err = other.Authenticate(ctx, old, here)
	wants(t, err, "access.api_key_unknown")
	if text := d.timeline(t); !strings.Contains(text, "The API key desk was renewed; the old one ended.") || strings.Contains(text, secret.Reveal()) {
		t.Errorf("the timeline is %s", text)
	}
	_, _, err = d.RenewAPIKey(ctx, ops, "nobody", time.Time{})
	wants(t, err, "api_key.unknown")
	d.now = d.now.Add(time.Hour)
	_, none, err := d.RenewAPIKey(ctx, ops, "desk", time.Time{})
	wants(t, err, "api_key.ended")
	_, _, err = d.RenewAPIKey(ctx, ops, "desk", d.now.Add(-time.Minute))
	wants(t, err, "access.api_key_field")
	if !none.IsZero() {
		t.Error("a refused renewal gives a value")
	}
	if _, secret, err = d.RenewAPIKey(ctx, ops, "desk", d.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate(ctx, "Bearer "+secret.Reveal(), here); err != nil {
		t.Errorf("the new one with its new end: %v", err)
	}
}
