package crash_test

import (
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// Two processes, 250 callers in each, one expired access token: one request.
func TestTwoProcesses_500Callers_OneRequest(t *testing.T) {
	for _, c := range []struct {
		name     string
		database func(*testing.T) string
	}{{"SQLite", sqlite}, {"PostgreSQL", postgres}} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "PostgreSQL" && testing.Short() {
				t.Skip("PostgreSQL is left out under -short")
			}
			server := startStrict(t)
			l := newLane(t, server, c.database(t), filepath.Join(t.TempDir(), "keys.json"))
			id, err := l.grant(&family{latency: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			o := orders{Database: l.database, Keys: l.keyFile, Endpoint: server.url, MailboxID: id, Callers: 250}
			var both []*process
			for _, owner := range []string{"first", "second"} {
				o.Owner = owner
				both = append(both, start(t, o))
			}
			for _, p := range both {
				p.begin()
			}
			lent := 0
			for _, p := range both {
				out := p.outcome()
				lent += out.Lent["access-"+id+".1"]
				if len(out.Faults) > 0 {
					t.Errorf("faults: %v", out.Faults)
				}
			}
			if n := server.requests(id); lent != 500 || n != 1 {
				t.Errorf("%d callers were lent the access token, %d requests reached the provider; want 500 and 1", lent, n)
			}
			if _, honoured, err := l.honoured(id); err != nil || !honoured {
				t.Errorf("the stored refresh token is honoured: %v, %v", honoured, err)
			}
		})
	}
}

// A process that is stopped over its lease with the answer in its hands, and woken
// after another has taken over, changes nothing; its answer is kept aside.
func TestPausedProcess_ChangesNothingWhenItWakes(t *testing.T) {
	for _, c := range []struct {
		name     string
		database func(*testing.T) string
	}{{"SQLite", sqlite}, {"PostgreSQL", postgres}} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "PostgreSQL" && testing.Short() {
				t.Skip("PostgreSQL is left out under -short")
			}
			server := startStrict(t)
			l := newLane(t, server, c.database(t), filepath.Join(t.TempDir(), "keys.json"))
			id, err := l.grant(&family{lenient: true})
			if err != nil {
				t.Fatal(err)
			}
			o := orders{
				Owner: "paused", Database: l.database, Keys: l.keyFile, Endpoint: server.url, MailboxID: id, Callers: 1,
				Point: pausedWithAnswer, Deadline: 1500 * time.Millisecond, Lease: 2 * time.Second,
			}
			first := start(t, o)
			first.begin()
			if line := first.next(); line != "reached" {
				t.Fatalf("the process said %q:\n%s", line, first.end())
			}
			first.signal(syscall.SIGSTOP)
			o.Owner, o.Point = "next", ""
			second := start(t, o)
			second.begin()
			if out := second.outcome(); out.Lent["access-"+id+".2"] != 1 {
				t.Errorf("the successor was lent %v, faults %v", out.Lent, out.Faults)
			}
			before, err := l.store.Grant(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			first.signal(syscall.SIGCONT)
			first.begin()
			if out := first.outcome(); out.Lent["access-"+id+".2"] != 1 {
				t.Errorf("the woken process lent %v, faults %v, not what its successor stored", out.Lent, out.Faults)
			}
			after, err := l.store.Grant(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if after.Candidate.IsZero() {
				t.Error("the late answer was not kept")
			}
			after.Candidate, after.SecretsVersion = before.Candidate, before.SecretsVersion
			if !reflect.DeepEqual(before, after) {
				t.Errorf("the woken process changed the grant:\n%+v\n%+v", before, after)
			}
			events, err := l.store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(event.GrantLateAnswer)}, Limit: 10})
			if err != nil || len(events) != 1 {
				t.Errorf("%d events of a late answer, %v", len(events), err)
			}
			if n := server.requests(id); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
