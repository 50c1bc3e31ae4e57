package crash_test

import (
	"path/filepath"
	"testing"
	"time"
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
