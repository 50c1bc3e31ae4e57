package acceptance_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestReceivers puts receivers of every bad sort beside a good one, on a server
// with many mailboxes: one that cannot digest a certain message, ones that hang,
// drip or never stop, one that is gone, and ones that send us inward. Each
// hinders itself alone and ends as promised.
func TestReceivers(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		badReceivers(t, "")
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("PostgreSQL is left out of short runs")
		}
		badReceivers(t, testbed.StartPostgres(t).NewDatabase(t))
	})
}

// receivers are the parties of the test, by the name of their webhook.
type receivers struct {
	all    map[string]*aReceiver
	inside *atomic.Int64 // calls that came where none may
	name   string        // of the host whose address changes
}

// atMostAtOnce is how many deliveries to one webhook one process makes at a time.
const atMostAtOnce = 8

func openReceivers(t *testing.T) *receivers {
	t.Helper()
	inward, came := openInside(t, "127.0.0.2:0")
	r := &receivers{inside: came, name: strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "-"), "_", "-")) + ".names.test"}
	poison := func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.Header.Get(textHeader), "poison@") {
			http.Error(w, "I cannot digest this.", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	endlessBody := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}
	r.all = map[string]*aReceiver{
		"healthy": openReceiver(t, answers(http.StatusNoContent)),
		"poison":  openReceiver(t, poison),
		"hole":    openHole(t),
		"silent":  openHole(t), // the same, of a few mailboxes: a day of it can be waited for
		"drip":    openReceiver(t, hijacked(drips)),
		"headers": openReceiver(t, hijacked(endlessly("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n"))),
		"body":    openReceiver(t, endlessBody),
		"gone":    openReceiver(t, answers(http.StatusGone)),
		"found":   openReceiver(t, redirects(http.StatusFound, "http://"+inward+"/inside")),
		"moved":   openReceiver(t, redirects(http.StatusTemporaryRedirect, "http://"+inward+"/inside")),
		"cloud":   openReceiver(t, redirects(http.StatusPermanentRedirect, "http://169.254.169.254/latest/meta-data/")),
		"turning": r.openTurning(t),
	}
	return r
}

// openTurning is a receiver with a name. With the first delivery that it takes,
// the name begins to mean an address inside, where somebody listens at the same port.
func (r *receivers) openTurning(t *testing.T) *aReceiver {
	t.Helper()
	a, ca := newReceiver(), testbed.NewCA(t)
	a.becomes(func(w http.ResponseWriter, _ *http.Request) {
		testNames.set(r.name, "127.0.0.2")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	})
	pair, err := tls.X509KeyPair(ca.ServerPEM(t, r.name))
	must(t, err)
	server := httptest.NewUnstartedServer(a.handler(t))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	must(t, err)
	_, came := openInside(t, net.JoinHostPort("127.0.0.2", port))
	t.Cleanup(func() {
		if n := came.Load(); n != 0 {
			t.Errorf("the name changed its address, and %d calls came inside", n)
		}
	})
	testNames.set(r.name, "127.0.0.1")
	a.url, a.ca = "https://"+net.JoinHostPort(r.name, port)+"/hook", string(ca.PEM)
	return a
}

func badReceivers(t *testing.T, database string) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	listener, base := realListen(t)
	tenant := realOpenTenant(t, base+"/oauth/callback")
	s := realOpen(t, realOptions{database: database, now: now, listener: listener, env: []string{"MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.1/32"}})
	tenant.saveProvider(t, s, directory.StoryClientSecret)
	crowd := newCrowd(t, s, directory.StoryDomain)
	r := openReceivers(t)
	// The good one and one that hangs are told of all mailboxes, the others of some.
	few, some := crowd.mailboxes[:4], crowd.mailboxes[:10]
	told := map[string][]string{"healthy": crowd.mailboxes, "hole": crowd.mailboxes, "silent": few, "drip": few}
	for name, a := range r.all {
		if told[name] == nil {
			told[name] = some
		}
		s.ask(t, http.MethodPost, "/v1/webhooks", map[string]any{
			"name": name, "url": a.url, "secret": receiverSecret, "events": []string{"submission.accepted"}, "mailboxes": told[name], "ca_pem": a.ca,
		}, nil)
	}
	refused(t, s, "http://127.0.0.2/", "http://169.254.169.254/", "https://[fd00:ec2::254]/", "http://10.1.2.3/")
	crowd.write(t, s)
	poisoned := crowd.mailboxes[poisonedBox]

	// While the others misbehave: the good one has everything, and so has whoever
	// answers with success, however long the answer. A poisoned mailbox waits alone.
	crowd.complete(t, "healthy", r.all["healthy"], crowd.mailboxes)
	crowd.complete(t, "body", r.all["body"], some)
	crowd.complete(t, "poison", r.all["poison"], slices.DeleteFunc(slices.Clone(some), func(address string) bool { return address == poisoned }))
	if got := r.all["poison"].of(poisoned); len(got) != 1 {
		t.Errorf("behind the poison came %v", got)
	}
	for _, name := range []string{"hole", "headers", "silent", "drip"} {
		if h := s.hook(t, name); h.Waiting != len(told[name])*crowdEach || h.Disabled != "" {
			t.Errorf("%s: %+v", name, h)
		}
		if _, calls, peak := r.all[name].counts(); calls == 0 || peak > atMostAtOnce {
			t.Errorf("%s was called %d times, %d of them at once", name, calls, peak)
		}
	}
	r.goneAndBack(t, s)
	r.inward(t, s, len(some))

	for _, name := range []string{"silent", "drip"} {
		crowdAwait(t, name+" has been given up once", func() bool {
			n := 0
			for _, d := range s.deliveriesOf(t, name, "state=pending") {
				if d.Attempts > 0 && d.LastStatus == 0 && strings.Contains(d.LastError, "did not answer in time") {
					n++
				}
			}
			return n == len(few)
		})
	}

	// A day later: the heads are put aside, with an alert, and the rest goes on.
	ahead.Store(int64(25 * time.Hour))
	crowdAwait(t, "the poison is parked and what was behind it is delivered", func() bool {
		return s.hook(t, "poison") == hookState{Parked: 1} && len(r.all["poison"].of(poisoned)) == crowdEach-1
	})
	for _, name := range []string{"poison", "silent", "drip", "headers", "found", "moved", "cloud", "turning"} {
		crowdAwait(t, name+" has a parked head and an alert", func() bool {
			return s.hook(t, name).Parked > 0 && s.told(t, event.DeliveryParked, name) > 0
		})
	}
	r.mended(t, s, crowd, poisoned)
	if n := r.inside.Load(); n != 0 {
		t.Errorf("%d calls came inside by redirects", n)
	}
	for id, n := range r.all["healthy"].ids {
		if n != 1 {
			t.Errorf("the delivery %s came %d times", id, n)
		}
	}
}

// refused fails unless a webhook to these URLs is refused where it is made.
func refused(t *testing.T, s *realServer, urls ...string) {
	t.Helper()
	for _, u := range urls {
		status, answer, err := s.call(t.Context(), http.MethodPost, "/v1/webhooks", map[string]any{"name": "inside", "url": u, "events": []string{"*"}})
		if err != nil || status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s %v", u, status, answer, err)
		}
	}
}

// goneAndBack: 410 switches the webhook off at once; on again, it gets all that
// waited, in order.
func (r *receivers) goneAndBack(t *testing.T, s *realServer) {
	t.Helper()
	h := s.hook(t, "gone")
	if h.DisabledBy != "receiver" || h.Parked != 0 || h.Waiting == 0 || s.told(t, event.WebhookDisabled, "gone") != 1 {
		t.Errorf("gone: %+v", h)
	}
	// What was written after it was switched off was not queued for it.
	waited := map[string][]string{}
	for _, d := range s.deliveriesOf(t, "gone", "state=pending") {
		waited[d.Mailbox] = append([]string{d.Text}, waited[d.Mailbox]...)
	}
	r.all["gone"].becomes(answers(http.StatusOK))
	s.ask(t, http.MethodPost, "/v1/webhooks/gone/enable", nil, nil)
	crowdAwait(t, "gone has what waited", func() bool { return s.hook(t, "gone").Waiting == 0 })
	for address, texts := range waited {
		if got := r.all["gone"].of(address); strings.Join(got, "\n") != strings.Join(texts, "\n") {
			t.Errorf("gone got of %s %v, want %v", address, got, texts)
		}
	}
}

// inward: nobody was followed, and the refusals say what to do.
func (r *receivers) inward(t *testing.T, s *realServer, mailboxes int) {
	t.Helper()
	for name, status := range map[string]int{"found": 302, "moved": 307, "cloud": 308} {
		crowdAwait(t, name+" was tried", func() bool {
			_, calls, _ := r.all[name].counts()
			return calls >= mailboxes
		})
		for _, d := range s.deliveriesOf(t, name, "state=pending") {
			if d.Attempts > 0 && (d.LastStatus != status || !strings.Contains(d.LastError, "redirects are not followed")) {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	crowdAwait(t, "turning is refused at its new address", func() bool {
		for _, d := range s.deliveriesOf(t, "turning", "state=pending") {
			if d.Attempts > 0 && d.LastStatus == 0 && strings.Contains(d.LastError, "127.0.0.2 lies in a network that Mailgrant does not call") {
				return true
			}
		}
		return false
	})
	if taken, _, _ := r.all["turning"].counts(); taken == 0 {
		t.Error("the name never meant the receiver")
	}
}

// mended: what was parked is made again, and comes after all.
func (r *receivers) mended(t *testing.T, s *realServer, c *crowd, poisoned string) {
	t.Helper()
	parked := s.deliveriesOf(t, "poison", "state=parked")
	if len(parked) != 1 || parked[0].Mailbox != poisoned || parked[0].Text != c.texts[poisoned][1] || parked[0].LastStatus != 500 {
		t.Fatalf("parked: %+v", parked)
	}
	if n := s.told(t, event.DeliveryParked, "poison"); n != 1 {
		t.Errorf("%d alerts", n)
	}
	r.all["poison"].becomes(answers(http.StatusNoContent))
	var replayed struct {
		Replayed int `json:"replayed"`
	}
	s.ask(t, http.MethodPost, "/v1/webhooks/poison/replay", nil, &replayed)
	if replayed.Replayed != 1 {
		t.Errorf("%d were made again", replayed.Replayed)
	}
	want := append(append([]string{c.texts[poisoned][0]}, c.texts[poisoned][2:]...), c.texts[poisoned][1])
	crowdAwait(t, "the mended receiver has everything", func() bool {
		return s.hook(t, "poison") == hookState{} && strings.Join(r.all["poison"].of(poisoned), "\n") == strings.Join(want, "\n")
	})
}
