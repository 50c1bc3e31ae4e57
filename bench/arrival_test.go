package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/sasl"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// signIn is a bare IMAP client of mailbox i, without the product.
func signIn(b *bench, ca *testbed.CA, port, i int, o *imapclient.Options) (*imapclient.Client, error) {
	if o == nil {
		o = &imapclient.Options{}
	}
	o.TLSConfig = ca.ClientTLS()
	c, err := imapclient.DialTLS("127.0.0.1:"+strconv.Itoa(port), o)
	if err != nil {
		return nil, err
	}
	return c, c.Authenticate(sasl.NewXOAUTH2(stock.Address(i), seal.NewSecret(stock.AccessToken(i))))
}

// dovecot starts one that lets in whoever has an access token of the stock.
func dovecot(b *bench, pe *peers) *testbed.Dovecot {
	b.Helper()
	return testbed.StartDovecot(b, testbed.DovecotOptions{CA: pe.ca, IntrospectionURL: pe.url("/introspect"), Mechanisms: []string{"xoauth2"}})
}

// measureArrival is the time from the server's push of a message to the delivery
// of its webhook. A bare client that waits at the same folder sees the push too.
func measureArrival(b *bench) {
	pe := startPeers(b)
	real := dovecot(b, pe)
	arrive(b, pe, "Dovecot", real.IMAPS, 15, func(i int) { real.Deliver(b, stock.Address(0), letter(i)) })
	arrive(b, pe, "a null server", pe.IMAP, 50, func(int) {
		res, err := http.PostForm(pe.url("/fill"), url.Values{"user": {stock.Address(0)}, "count": {"1"}})
		b.must(err)
		b.must(res.Body.Close())
	})
}

func arrive(b *bench, pe *peers, server string, port, times int, deliver func(i int)) {
	b.Helper()
	h := newHouse(b, "", stock.Plan{Mailboxes: 1, Sealed: 1, Provider: pe.provider(), Mailbox: mailboxAt(port, 0)})
	hooked := make(chan time.Time, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		_, _ = io.Copy(io.Discard, r.Body)
		hooked <- now
	}))
	b.Cleanup(receiver.Close)
	p := h.start()
	p.call(b, http.MethodPost, "/v1/webhooks", map[string]any{"name": "bench", "url": receiver.URL, "events": []string{"message.received"}}, nil)

	pushed := make(chan time.Time, 100)
	bare, err := signIn(b, pe.ca, port, 0, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
		if d.NumMessages != nil {
			pushed <- time.Now()
		}
	}}})
	b.must(err)
	b.Cleanup(func() { _ = bare.Close() })
	_, err = bare.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	b.must(err)
	idle, err := bare.Idle()
	b.must(err)
	await(b, "the product waits at the folder", time.Minute, func() bool { return server == "Dovecot" || pe.counts(false).Idle == 2 })
	time.Sleep(time.Second)

	var added, whole []float64
	for i := range times {
		began := time.Now()
		deliver(i)
		push, hook := <-pushed, <-hooked
		added, whole = append(added, float64(hook.Sub(push))), append(whole, float64(hook.Sub(began)))
		time.Sleep(50 * time.Millisecond)
	}
	b.must(idle.Close())
	over := time.Duration(median(added))
	b.found(finding{
		what: fmt.Sprintf("message at %s → webhook", server), ours: fmt.Sprintf("push + %s (p90 %s)", span(over), span(time.Duration(quantile(added, 0.9)))),
		direct: span(time.Duration(median(whole))-over) + " until the push", goal: "≤ 30 ms over the push", met: judge(over <= 30*time.Millisecond),
	})
	p.stop()
}
