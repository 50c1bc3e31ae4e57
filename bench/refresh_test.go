package bench_test

import (
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// measureRefresh renews grants that fall due: many at once, then a few among ever
// more that are not due, on both databases.
func measureRefresh(b *bench) {
	pe := startPeers(b)
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		const due = 3000
		r := renew(b, pe, database, due, due)
		b.found(finding{
			what: fmt.Sprintf("%s due at once, %s", thousands(due), database), ours: fmt.Sprintf("%s, %s CPU each", perSecond(r.rate), span(r.cpu)),
			goal: "≥ 300/s, ≤ 1 ms CPU", met: judge(r.rate >= 300 && r.cpu <= time.Millisecond),
		})
		if database == "SQLite" {
			b.found(finding{what: "spread of what is due next", ours: fmt.Sprintf("fullest twentieth %.1f × the mean", r.spread), goal: "≤ 2", met: judge(r.spread <= 2)})
			b.found(finding{what: "requests in 3 s after a restart", ours: fmt.Sprint(r.herd), goal: "none", met: judge(r.herd == 0)})
		}
	}
	sizes := []int{100, 1000, 10_000, 100_000}
	if b.long {
		sizes = append(sizes, 1_000_000)
	}
	first := time.Duration(0)
	for _, n := range sizes {
		const due = 100
		r := renew(b, pe, "SQLite", n, due)
		f := finding{what: fmt.Sprintf("%d due among %s grants", due, thousands(n)), ours: span(r.cpu) + " CPU each"}
		if first == 0 {
			first = r.cpu
		} else {
			f.goal, f.met = "flat (≤ 1.25 × the first)", judge(float64(r.cpu) <= 1.25*float64(first))
		}
		b.found(f)
	}
}

type renewal struct {
	rate   float64
	cpu    time.Duration // of the product, for one
	spread float64
	herd   int
}

// renew has so many of the stored grants fall due after the product has started.
func renew(b *bench, pe *peers, database string, stored, due int) renewal {
	b.Helper()
	url := ""
	if database == "PostgreSQL" {
		url = testbed.StartPostgres(b).NewDatabase(b)
	}
	// Late enough for the product to have started, and for the load of that to be over.
	settle := 4 * time.Second
	h := newHouse(b, url, stock.Plan{
		Mailboxes: stored, Sealed: due, Due: due, DueAfter: settle, Provider: pe.provider(), Mailbox: mailboxAt(0, pe.SMTP),
	})
	pe.counts(true)
	p := h.start()
	s := h.store()
	next, err := s.NextDue(b.Context())
	b.must(err)
	time.Sleep(max(0, time.Until(next)-500*time.Millisecond))
	before, early := p.cpu(), len(pe.counts(false).Refreshes)
	if early > 0 {
		b.Logf("%d grants were renewed before they were due", early)
	}
	await(b, "the grants are renewed", 2*time.Minute, func() bool { return len(pe.counts(false).Refreshes) >= due })
	c := pe.counts(true)
	last := stock.MailboxID(due - 1)
	await(b, "the last is stored", time.Minute, func() bool {
		g, err := s.Grant(b.Context(), last)
		b.must(err)
		return g.Intent.IsZero()
	})
	r := renewal{cpu: each(p.cpu()-before, due), rate: float64(len(c.Refreshes)) / c.Refreshes[len(c.Refreshes)-1].Sub(c.Refreshes[0]).Seconds()}
	p.stop()
	var moments []time.Time
	for i := range due {
		g, err := s.Grant(b.Context(), stock.MailboxID(i))
		b.must(err)
		if g.State != mailbox.GrantActive || g.Failures > 0 {
			b.Fatalf("grant %d was not renewed: %s %s", i, g.State, g.CauseText)
		}
		moments = append(moments, g.NextRefreshAt)
	}
	r.spread = spacing(moments, 20)
	if due >= 1000 {
		p = h.start()
		time.Sleep(3 * time.Second)
		r.herd = len(pe.counts(true).Refreshes)
		p.stop()
	}
	return r
}
