package crash_test

import (
	"path/filepath"
	"testing"
	"time"
)

// Two processes, 250 callers in each, one expired access token: one request.
func TestTwoProcesses_500Callers_OneRequest(t *testing.T) {
	for _, d := range databases() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newRenewals(newLane(t, refreshFlow(), "together", d.make(t), filepath.Join(t.TempDir(), "keys.json")), startStrict(t))
			r.orders.Deadline, r.orders.Lease = 0, 0
			id, err := r.grant(&family{latency: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			var both []*process
			for _, owner := range []string{"first", "second"} {
				o := r.orders
				o.Owner = owner
				p, err := start(t, o)
				if err != nil {
					t.Fatal(err)
				}
				both = append(both, p)
			}
			for _, p := range both {
				if err := p.order(order{MailboxID: id, Callers: 250}); err != nil {
					t.Fatal(err)
				}
			}
			borrowed := 0
			for _, p := range both {
				var out lent
				if err := p.outcome(&out); err != nil {
					t.Fatal(err)
				}
				borrowed += out.Lent["access-"+id+".1"]
				if len(out.Faults) > 0 {
					t.Errorf("faults: %v", out.Faults)
				}
				if err := p.drain(); err != nil {
					t.Error(err)
				}
			}
			if n := r.server.requests(id); borrowed != 500 || n != 1 {
				t.Errorf("%d callers were lent the access token, %d requests reached the provider; want 500 and 1", borrowed, n)
			}
			if _, honoured, err := r.honoured(id); err != nil || !honoured {
				t.Errorf("the stored refresh token is honoured: %v, %v", honoured, err)
			}
		})
	}
}
