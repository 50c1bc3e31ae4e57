package access_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

const password = "a sentence is easy to remember"

var (
	here  = netip.MustParseAddr("192.0.2.7")
	visit = access.Visit{From: here, UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	ops   = event.Actor{Kind: event.ActorOperator, Name: "ops"}
)

type desk struct {
	*access.Access
	store *store.Store
	now   time.Time
	full  bool // passwords cost what they cost in earnest
}

func open(t testing.TB) *desk {
	t.Helper()
	d := &desk{store: storetest.OpenSQLite(t), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	d.Access = d.process()
	return d
}

// inEarnest is open with passwords that cost what they cost on a server.
func inEarnest(t testing.TB) *desk {
	t.Helper()
	d := open(t)
	d.full = true
	d.Access = d.process()
	return d
}

// process is one of several processes that share the store.
func (d *desk) process() *access.Access {
	return access.New(access.Needs{Operators: d.store, Sessions: d.store, Keys: d.store, Events: d.store, LocalLogin: true, CheapPasswords: !d.full, Now: func() time.Time { return d.now }})
}

// link makes a set-up link.
func (d *desk) link(t testing.TB) string {
	t.Helper()
	s, _, err := d.IssueSetup(t.Context(), event.System())
	if err != nil {
		t.Fatal(err)
	}
	return s.Reveal()
}

// operator makes the operator called ops, who is signed in.
func (d *desk) operator(t testing.TB) access.SignedIn {
	t.Helper()
	in, err := d.CompleteSetup(t.Context(), d.link(t), "ops", password, visit)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// signIn signs in as ops once more.
func (d *desk) signIn(t testing.TB) access.SignedIn {
	t.Helper()
	in, err := d.SignIn(t.Context(), "ops", password, visit)
	if err != nil {
		t.Fatal(err)
	}
	return in
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
