package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// measureListing is a folder that the product reads for the first time, until every
// message is stored; beside a bare client that fetches the same items from the same
// server and throws them away.
func measureListing(b *bench) {
	pe := startPeers(b)
	real := dovecot(b, pe)
	sizes := []int{2000, 20_000}
	for i, n := range sizes {
		real.Fill(b, stock.Address(i), n, letter)
	}
	for i, n := range sizes {
		times := rounds
		if n > 10_000 && !b.long {
			times = 3
		}
		list(b, pe, listed{server: "Dovecot", database: "SQLite", port: real.IMAPS, mailbox: i, count: n, times: times})
	}
	list(b, pe, listed{server: "Dovecot", database: "PostgreSQL", port: real.IMAPS, mailbox: 0, count: sizes[0], times: 3})
	for i, n := range sizes {
		res, err := http.PostForm(pe.url("/fill"), url.Values{"user": {stock.Address(i)}, "count": {strconv.Itoa(n)}})
		b.must(err)
		b.must(res.Body.Close())
	}
	list(b, pe, listed{server: "a null server", database: "SQLite", port: pe.IMAP, mailbox: 1, count: sizes[1], times: 3})
}

type listed struct {
	server, database            string
	port, mailbox, count, times int
}

func list(b *bench, pe *peers, l listed) {
	b.Helper()
	var cpu time.Duration
	rates := takeTurns(l.times, func() float64 {
		url := ""
		if l.database == "PostgreSQL" {
			url = testbed.StartPostgres(b).NewDatabase(b)
		}
		h := newHouse(b, url, stock.Plan{Mailboxes: l.mailbox + 1, Sealed: l.mailbox + 1, Provider: pe.provider(), Mailbox: mailboxAt(l.port, 0), Paused: true})
		p := h.start()
		defer p.stop()
		s := h.store()
		time.Sleep(300 * time.Millisecond)
		before, began := p.cpu(), time.Now()
		p.call(b, http.MethodPost, "/v1/mailboxes/"+stock.Address(l.mailbox)+"/resume", nil, nil)
		await(b, "the folder is read", 5*time.Minute, func() bool {
			c, err := s.Cursor(b.Context(), stock.MailboxID(l.mailbox), "INBOX")
			b.must(err)
			return int(c.UID) >= l.count
		})
		took := time.Since(began)
		cpu += p.cpu() - before
		return float64(l.count) / took.Seconds()
	}, func() float64 {
		began := time.Now()
		b.must(fetchAll(b, pe.ca, l))
		return float64(l.count) / time.Since(began).Seconds()
	})
	ours := median(rates[0])
	b.found(finding{
		what: fmt.Sprintf("%s messages of %s, %s", thousands(l.count), l.server, l.database),
		ours: fmt.Sprintf("%s, %s CPU each", perSecond(ours), span(each(cpu, l.count*l.times))), direct: perSecond(median(rates[1])),
		ratio: times(median(ratios(rates[0], rates[1]))), goal: "≥ 15,000/s", met: judge(ours >= 15_000),
	})
}

// fetchAll is the direct way.
func fetchAll(b *bench, ca *testbed.CA, l listed) error {
	c, err := signIn(b, ca, l.port, l.mailbox, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		return err
	}
	cmd := c.Fetch(imap.UIDSet{imap.UIDRange{Start: 1}}, &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	})
	seen := 0
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		seen++
		for item := m.Next(); item != nil; item = m.Next() {
			if body, ok := item.(imapclient.FetchItemDataBodySection); ok && body.Literal != nil {
				if _, err := io.Copy(io.Discard, body.Literal); err != nil {
					return err
				}
			}
		}
	}
	if err := cmd.Close(); err != nil {
		return err
	}
	if seen != l.count {
		return fmt.Errorf("the bare client saw %d messages, want %d", seen, l.count)
	}
	return nil
}
