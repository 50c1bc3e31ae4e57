package bench_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mailgrant/mailgrant/internal/sasl"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// measureSubmissions hands mail over for sending by ten callers, and waits until it
// is sent; beside ten callers that bring the same mail to the same server.
func measureSubmissions(b *bench) {
	pe := startPeers(b)
	real := testbed.StartPostfix(b, dovecot(b, pe), testbed.PostfixOptions{})
	submit(b, pe, "SQLite", "a null server", pe.SMTP, 500)
	submit(b, pe, "SQLite", "Postfix", real.Submissions, 150)
	submit(b, pe, "PostgreSQL", "a null server", pe.SMTP, 500)
}

const note = `{"from":{"address":%q},"to":[{"address":"somebody@example.net"}],"subject":"Re: Ticket %d: the printer","text":"The printer has paper again."}`

func submit(b *bench, pe *peers, database, server string, port, count int) {
	b.Helper()
	url := ""
	if database == "PostgreSQL" {
		url = testbed.StartPostgres(b).NewDatabase(b)
	}
	// A mailbox for each caller: one alone is bounded by its number of connections.
	h := newHouse(b, url, stock.Plan{Mailboxes: callers, Sealed: callers, Provider: pe.provider(), Mailbox: mailboxAt(0, port)})
	p := h.start()
	s := h.store()
	key := p.key("send")
	var wires []*wire
	for range callers {
		wires = append(wires, dialWire(b, p.base))
	}
	var accepted []float64
	var cpu time.Duration
	sent := int64(0)
	rates := takeTurns(rounds, func() float64 {
		before, began := p.cpu(), time.Now()
		b.must(inParallel(count, func(c, i int) error {
			body := fmt.Sprintf(note, stock.Address(c), i)
			return wires[c].ask(fmt.Appendf(nil, "POST /v1/submissions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body))
		}))
		accepted = append(accepted, float64(count)/time.Since(began).Seconds())
		sent += int64(count)
		await(b, "everything is sent", 2*time.Minute, func() bool {
			c, err := s.Counts(b.Context())
			b.must(err)
			if bad := c.Submissions["failed"] + c.Submissions["expired"]; bad > 0 {
				b.Fatalf("%d submissions failed", bad)
			}
			time.Sleep(20 * time.Millisecond) // counting is work too
			return c.Submissions["sent"] == sent
		})
		took := time.Since(began)
		cpu += p.cpu() - before
		return float64(count) / took.Seconds()
	}, func() float64 {
		began := time.Now()
		b.must(inParallel(count, func(c, i int) error { return sendDirectly(pe.ca, port, c, i) }))
		return float64(count) / time.Since(began).Seconds()
	})
	rate, ratio := median(accepted), median(ratios(rates[0], rates[1]))
	b.found(finding{what: "accepted, " + database + ", " + server, ours: perSecond(rate), goal: "≥ 300/s at 10 callers", met: judge(rate >= 300)})
	b.found(finding{
		what: "accepted and sent to " + server + ", " + database, ours: fmt.Sprintf("%s, %s CPU each", perSecond(median(rates[0])), span(each(cpu, count*rounds))),
		direct: perSecond(median(rates[1])), ratio: times(ratio), goal: "≥ 0.9 × direct", met: judge(ratio >= 0.9),
	})
	p.stop()
}

// inParallel has the callers share out n pieces of work.
func inParallel(n int, work func(caller, i int) error) error {
	var group sync.WaitGroup
	var next atomic.Int64
	var failed atomic.Pointer[error]
	for c := range callers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := work(c, int(i)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// sendDirectly is the direct way: a connection for each message, as the product's.
func sendDirectly(ca *testbed.CA, port, mailbox, i int) error {
	c, err := smtp.DialTLS("localhost:"+strconv.Itoa(port), ca.ClientTLS())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Auth(sasl.NewXOAUTH2(stock.Address(mailbox), seal.NewSecret(stock.AccessToken(mailbox)))); err != nil {
		return err
	}
	if err := c.SendMail(stock.Address(mailbox), []string{"somebody@example.net"}, strings.NewReader(letter(i))); err != nil {
		return err
	}
	return c.Quit()
}
