package bench_test

import (
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// measureWatched starts the product with many mailboxes to watch: when it is ready,
// how fast it signs in beside a bare client with as many connections being opened at
// once, and how much memory an idle one takes.
func measureWatched(b *bench) {
	sizes := []int{100, 1000, 10_000}
	pe := startPeers(b)
	var empty float64
	for _, n := range sizes {
		h := newHouse(b, "", stock.Plan{Mailboxes: n, Sealed: n, Provider: pe.provider(), Mailbox: mailboxAt(pe.IMAP, 0)})
		pe.counts(true)
		p := h.start()
		f := finding{what: thousands(n) + " mailboxes, start", ours: "ready in " + span(p.took)}
		if n == sizes[len(sizes)-1] {
			f.goal, f.met = "≤ 2 s", judge(p.took <= 2*time.Second)
		}
		b.found(f)
		await(b, "every mailbox is watched", 5*time.Minute, func() bool { return int(pe.counts(false).Idle) >= n })
		cpu := p.cpu()
		time.Sleep(3 * time.Second)
		idle := p.cpu() - cpu
		memory := memoryOf(b, p.pid())
		p.heap()
		logins := pe.counts(true).Logins
		ours := float64(len(logins)-1) / logins[len(logins)-1].Sub(logins[0]).Seconds()
		p.stop()
		await(b, "every connection has ended", time.Minute, func() bool { return pe.counts(false).Idle == 0 })
		direct := signInAll(b, pe, min(n, 2000))
		ratio := ours / direct
		f = finding{
			what: thousands(n) + " mailboxes, signed in", ours: fmt.Sprintf("%s, %s CPU each", perSecond(ours), span(each(cpu, n))), direct: perSecond(direct),
			ratio: times(ratio), goal: "≥ 0.9 × a bare client",
		}
		if n == sizes[len(sizes)-1] {
			f.met = judge(ratio >= 0.9)
		}
		b.found(f)
		if empty == 0 {
			empty = memory // of the smallest: what one more takes is the slope from there
			continue
		}
		slope := (memory - empty) / float64(n-sizes[0])
		b.found(finding{
			what: thousands(n) + " mailboxes, idle", ours: fmt.Sprintf("%s, %s each, %.1f %% of a core", megabytes(memory), kilobytes(slope), 100*idle.Seconds()/3),
			goal: "≤ 60 KB each; 10,000 in ≤ 1 GB", met: judge(slope <= 60<<10 && memory <= 1<<30),
		})
	}
}

// signInAll is the direct way: a bare client, 32 at once, until each waits in IDLE.
func signInAll(b *bench, pe *peers, n int) float64 {
	b.Helper()
	const atOnce = 32
	began := time.Now()
	slots, done := make(chan struct{}, atOnce), make(chan error, n)
	clients := make([]*imapclient.Client, n)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			c, err := signIn(b, pe.ca, pe.IMAP, i, nil)
			if err == nil {
				clients[i] = c
				_, err = c.Select("INBOX", &imap.SelectOptions{}).Wait()
			}
			if err == nil {
				_, err = c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{{imap.UIDRange{Start: 1}}}}, nil).Wait()
			}
			if err == nil {
				_, err = c.Idle()
			}
			done <- err
		}()
	}
	for range n {
		b.must(<-done)
	}
	rate := float64(n) / time.Since(began).Seconds()
	for _, c := range clients {
		_ = c.Close()
	}
	return rate
}
