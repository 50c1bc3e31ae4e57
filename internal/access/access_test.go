package access_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

const password = "a sentence is easy to remember"

var here = netip.MustParseAddr("192.0.2.7")

type desk struct {
	*access.Access
	store *store.Store
	now   time.Time
}

func open(t testing.TB) *desk {
	t.Helper()
	d := &desk{store: storetest.OpenSQLite(t), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	d.Access = access.New(d.store, d.store, func() time.Time { return d.now })
	return d
}

// link makes a set-up link.
func (d *desk) link(t testing.TB) string {
	t.Helper()
	s, _, err := d.IssueSetup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

func (d *desk) operator(t testing.TB) access.Operator {
	t.Helper()
	o, err := d.CompleteSetup(t.Context(), d.link(t), "ops", password)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// timeline is every event as text.
func (d *desk) timeline(t testing.TB) string {
	t.Helper()
	events, err := d.store.Events(t.Context(), event.Filter{After: "0", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wants(t testing.TB, err error, id string) {
	t.Helper()
	if !fault.Has(err, id) {
		t.Fatalf("got %v, want %s", err, id)
	}
	if f := fault.Of(err); f.Remedy == "" || f.Text == "" {
		t.Errorf("%s says too little: %+v", id, f)
	}
}

func TestSetup(t *testing.T) {
	t.Parallel()
	t.Run("a link is good once", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		if needed, err := d.NeedsSetup(t.Context()); err != nil || !needed {
			t.Fatalf("set-up is not needed: %v", err)
		}
		link := d.link(t)
		o, err := d.CompleteSetup(t.Context(), link, " Ops ", password)
		if err != nil || o.Name != "ops" || !strings.HasPrefix(o.PasswordHash, "$argon2id$v=19$m=65536,t=3,p=4$") {
			t.Fatalf("got %+v, %v", o, err)
		}
		_, err = d.CompleteSetup(t.Context(), link, "second", password)
		wants(t, err, "setup.spent")
		if needed, _ := d.NeedsSetup(t.Context()); needed {
			t.Error("set-up is still needed")
		}
		if text := d.timeline(t); strings.Contains(text, password) || strings.Contains(text, link) {
			t.Error("a secret is in the timeline")
		}
	})
	t.Run("a link is good for an hour", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		link := d.link(t)
		d.now = d.now.Add(access.SetupLife - time.Second)
		if good, err := d.CheckSetup(t.Context(), link); err != nil || !good {
			t.Errorf("not good within the hour: %v", err)
		}
		d.now = d.now.Add(time.Second)
		_, err := d.CompleteSetup(t.Context(), link, "ops", password)
		wants(t, err, "setup.spent")
	})
	t.Run("a newer link replaces it", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		old := d.link(t)
		d.link(t)
		_, err := d.CompleteSetup(t.Context(), old, "ops", password)
		wants(t, err, "setup.spent")
	})
	t.Run("what cannot be used leaves the link good", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		link := d.link(t)
		for _, c := range []struct{ name, password, id string }{
			{"", password, "access.operator_name"},
			{"-ops", password, "access.operator_name"},
			{"o", password, "access.operator_name"},
			{strings.Repeat("o", 65), password, "access.operator_name"},
			{"ops", "elevenchars", "access.weak_password"},
			{"ops", "ää ää ää ää", "access.weak_password"},
			{"ops", strings.Repeat("x", 1025), "access.long_password"},
		} {
			_, err := d.CompleteSetup(t.Context(), link, c.name, c.password)
			wants(t, err, c.id)
			if c.password != "" && strings.Contains(err.Error(), c.password) {
				t.Errorf("the error repeats the password: %v", err)
			}
		}
		if good, err := d.CheckSetup(t.Context(), link); err != nil || !good {
			t.Errorf("the link is spent: %v", err)
		}
	})
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	t.Run("the right password opens, a wrong one and an unknown name say the same", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		want := d.operator(t)
		if o, err := d.SignIn(t.Context(), "OPS", password, here); err != nil || o != want {
			t.Fatalf("got %+v, %v", o, err)
		}
		_, wrong := d.SignIn(t.Context(), "ops", "wrong "+password, here)
		_, unknown := d.SignIn(t.Context(), "typed-my-passphrase", password, here)
		wants(t, wrong, "access.wrong_password")
		if wrong.Error() != unknown.Error() {
			t.Errorf("%v and %v differ", wrong, unknown)
		}
		if text := d.timeline(t); strings.Contains(text, password) || strings.Contains(text, "typed-my-passphrase") {
			t.Error("what was typed is in the timeline")
		}
	})
	t.Run("an unknown name costs what a password costs", func(t *testing.T) {
		t.Parallel()
		real, decoy := strings.Split(open(t).operator(t).PasswordHash, "$"), strings.Split(access.Decoy(), "$")
		for i, part := range decoy {
			if i < 4 && part != real[i] || len(part) != len(real[i]) {
				t.Errorf("%q is not like %q", part, real[i])
			}
		}
	})
	t.Run("damaged and too costly hashes open nothing", func(t *testing.T) {
		t.Parallel()
		d := open(t)
		o := d.operator(t)
		for i, hash := range []string{
			"plain", o.PasswordHash[:len(o.PasswordHash)-4],
			strings.Replace(o.PasswordHash, "argon2id", "argon2i", 1),
			strings.Replace(o.PasswordHash, "v=19", "v=16", 1),
			strings.Replace(o.PasswordHash, "m=65536", "m=4000000", 1),
			strings.Replace(o.PasswordHash, "t=3", "t=4000000000", 1),
			strings.Replace(o.PasswordHash, "t=3", "t=0", 1),
			strings.Replace(o.PasswordHash, "p=4", "p=0", 1),
		} {
			damaged := access.Operator{ID: event.NewID(), Name: fmt.Sprint("damaged", i), PasswordHash: hash, CreatedAt: d.now}
			if err := d.store.SaveOperator(t.Context(), damaged, event.New(d.now, event.OperatorCreated, event.System(), "Added.")); err != nil {
				t.Fatal(err)
			}
			_, err := d.SignIn(t.Context(), damaged.Name, password, here)
			wants(t, err, "access.wrong_password")
		}
	})
}

func TestSignIn_SlowsGuessing(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.operator(t)
	for range 9 {
		d.Fail("ops")
	}
	if _, err := d.SignIn(t.Context(), "ops", "wrong password", here); !fault.Has(err, "access.wrong_password") {
		t.Fatalf("the tenth attempt is not free: %v", err)
	}
	for _, wait := range []time.Duration{1, 2, 4, 8} {
		_, err := d.SignIn(t.Context(), "ops", password, here)
		wants(t, err, "access.too_many_attempts")
		if got := fault.Of(err).RetryAfter; got != wait*time.Second {
			t.Fatalf("the wait is %s, want %ds", got, wait)
		}
		d.Fail("ops")
	}
	for range 100 {
		d.Fail("ops")
	}
	_, err := d.SignIn(t.Context(), "ops", password, here)
	if got := fault.Of(err).RetryAfter; got != 15*time.Minute {
		t.Errorf("the longest wait is %s", got)
	}
	for i := range 2 * access.MaxBuckets {
		d.Fail(fmt.Sprint("invented", i))
	}
	if n := d.Buckets(); n > access.MaxBuckets {
		t.Errorf("%d names are remembered", n)
	}
	_, err = d.SignIn(t.Context(), "ops", password, here)
	wants(t, err, "access.too_many_attempts")
	d.now = d.now.Add(time.Hour + time.Second)
	if _, err := d.SignIn(t.Context(), "ops", password, here); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

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
	other := access.New(d.store, d.store, func() time.Time { return d.now }) // another process
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
		"networks[0]":  {Name: "x", May: []access.Right{access.Read}, Networks: []string{"10.0.0.1"}},
		"expires_at":   {Name: "x", May: []access.Right{access.Read}, ExpiresAt: d.now},
	} {
		_, s, err := d.CreateAPIKey(t.Context(), event.System(), r)
		wants(t, err, "access.api_key_field")
		if fault.Of(err).Field != field || !s.IsZero() {
			t.Errorf("got %+v, want field %s", fault.Of(err), field)
		}
	}
}

func TestCaller_Allows(t *testing.T) {
	t.Parallel()
	desk := access.Caller{May: []access.Right{access.Read}, Mailboxes: []string{"desk@example.org"}}
	for _, c := range []struct {
		outcome string
		caller  access.Caller
		right   access.Right
		address string
		allowed bool
	}{
		{"an operator may everything", access.OperatorCaller("ops"), access.Manage, "any@example.org", true},
		{"the socket may everything", access.Local(1000), access.Token, "any@example.org", true},
		{"a right at its mailbox", desk, access.Read, "desk@example.org", true},
		{"addresses compare without case", desk, access.Read, "Desk@EXAMPLE.org", true},
		{"no right at another", desk, access.Read, "other@example.org", false},
		{"a right it lacks", desk, access.Send, "desk@example.org", false},
		{"the right as such", desk, access.Read, "", true},
		{"no mailboxes named are all", access.Caller{May: []access.Right{access.Send}}, access.Send, "any@example.org", true},
		{"nobody may nothing", access.Caller{}, access.Read, "", false},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			if err := c.caller.Allows(c.right, c.address); (err == nil) != c.allowed || err != nil && !fault.Has(err, "access.forbidden") {
				t.Errorf("got %v", err)
			}
		})
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
