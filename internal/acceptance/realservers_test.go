package acceptance_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/browser"
)

// The people of a house with servers that nobody here wrote.
const (
	realDeskAddress   = "desk@example.test"
	realAdeleAddress  = "adele@example.test"
	realUnsureAddress = "unsure@example.test" // nobody verified this address
	realAdelePassword = "adele-mail-password"
	realClientSecret  = "a-client-secret-of-the-house"

	// realShortLife makes access tokens run out while a test looks on, and on a
	// busy machine between their hand-out and their use: for renewal alone.
	realShortLife = 20 * time.Second
	realLife      = time.Hour
)

// realHouse is an OpenID provider, a mail store and a submission server.
type realHouse struct {
	provider *testbed.OIDCProvider
	store    *testbed.Dovecot
	post     *testbed.Postfix
}

// realOpenHouse starts the servers of a house whose access tokens live that long.
func realOpenHouse(t *testing.T, callback, mechanism string, life time.Duration) *realHouse {
	t.Helper()
	asking := testbed.OIDCClient{ID: "dovecot", Secret: "a-mail-server-secret", IntrospectOnly: true}
	h := &realHouse{}
	h.provider = testbed.StartOIDCProvider(t, testbed.OIDCOptions{
		Clients: []testbed.OIDCClient{{ID: "mailgrant", Secret: realClientSecret, RedirectURIs: []string{callback}}, asking},
		Users: []testbed.OIDCUser{
			{Login: "desk", Password: "desk-password", Email: realDeskAddress, EmailVerified: true, Name: "Service Desk"},
			{Login: "adele", Password: "adele-password", Email: realAdeleAddress, EmailVerified: true, Name: "Adele Vance"},
			{Login: "unsure", Password: "unsure-password", Email: realUnsureAddress},
		},
		AccessTokenTTL: life,
	})
	h.store = testbed.StartDovecot(t, testbed.DovecotOptions{
		IntrospectionURL: h.provider.IntrospectionURL(asking), Mechanisms: []string{mechanism},
		Passwords: map[string]string{realAdeleAddress: realAdelePassword},
	})
	h.post = testbed.StartPostfix(t, h.store, testbed.PostfixOptions{})
	return h
}

// furnish adds the provider and the mailboxes by the API.
func (h *realHouse) furnish(t testing.TB, s *realServer) {
	t.Helper()
	s.ask(t, http.MethodPost, "/v1/providers", map[string]any{
		"name": "house", "kind": "generic", "issuer": h.provider.Issuer, "client_id": "mailgrant",
		"client_secrets": []map[string]string{{"value": realClientSecret}},
	}, nil)
	s.ask(t, http.MethodPost, "/v1/providers/house/verify", nil, nil)
	for _, address := range []string{realDeskAddress, realUnsureAddress} {
		s.ask(t, http.MethodPost, "/v1/mailboxes", map[string]any{
			"address": address, "provider": "house",
			"receive": map[string]any{
				"protocol": "imap", "folders": []string{"INBOX"}, "mode": "push",
				"host": "localhost", "port": h.store.IMAPS, "tls": "implicit", "ca_pem": string(h.store.CA.PEM),
			},
			"send": map[string]any{"protocol": "smtp", "host": "localhost", "port": h.post.Submission, "tls": "starttls", "ca_pem": string(h.post.CA.PEM)},
		}, nil)
	}
}

// signIn goes through a fresh link as somebody, in a private window, and gives
// the page at the end and the link's id.
func (h *realHouse) signIn(t *testing.T, s *realServer, address, login string) (browser.Page, string) {
	t.Helper()
	link := s.link(t, address)
	window := browser.New(browser.Options{})
	realPress(t, window, link.URL)
	must(t, window.Submit(t.Context(), browser.Action("/login"), map[string]string{"login": login, "password": login + "-password"}))
	must(t, window.Submit(t.Context(), browser.Action("/confirm"), nil))
	return window.Page(), link.ID
}

// realPress opens a link and presses its button; it ends on the provider's page.
func realPress(t testing.TB, window *browser.Browser, link string) {
	t.Helper()
	must(t, window.Open(t.Context(), link))
	must(t, window.Submit(t.Context(), browser.Action(link[strings.Index(link, "/authorize/"):]), nil))
	must(t, window.Follow(t.Context(), "go there now"))
}

// subjects lists what is in the recipient's inbox, as their mail program sees it.
func (h *realHouse) subjects(t testing.TB) []string {
	t.Helper()
	client, err := imapclient.DialTLS(fmt.Sprintf("127.0.0.1:%d", h.store.IMAPS), &imapclient.Options{TLSConfig: h.store.CA.ClientTLS()})
	must(t, err)
	defer func() { _ = client.Close() }()
	must(t, client.Login(realAdeleAddress, realAdelePassword).Wait())
	inbox, err := client.Select("INBOX", nil).Wait()
	must(t, err)
	if inbox.NumMessages == 0 {
		return nil
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	messages, err := client.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect()
	must(t, err)
	found := []string{}
	for _, m := range messages {
		found = append(found, m.Envelope.Subject)
	}
	return found
}

// TestRealServers goes the whole way through servers that nobody here wrote:
// npm oidc-provider with strict rotation and its claims in UserInfo, Dovecot
// and Postfix.
func TestRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an OpenID provider, Dovecot and Postfix")
	}
	for _, way := range []struct{ mechanism, database string }{{"xoauth2", "SQLite"}, {"oauthbearer", "PostgreSQL"}} {
		t.Run(way.mechanism+" on "+way.database, func(t *testing.T) {
			t.Parallel()
			options := realOptions{}
			if way.database == "PostgreSQL" {
				options.database = testbed.StartPostgres(t).NewDatabase(t)
			}
			var base string
			options.listener, base = realListen(t)
			h := realOpenHouse(t, base+"/oauth/callback", way.mechanism, realShortLife)
			s := realOpen(t, options)
			h.furnish(t, s)
			d := realOpenDesk(t)
			d.subscribe(t, s)

			realWrongPeople(t, h, s)
			t.Run("whoever declined or was the wrong person tries again by the same link", func(t *testing.T) { realTryAgain(t, s) })
			t.Run("the ladder is green", func(t *testing.T) { realLadder(t, s, way.mechanism) })
			t.Run("mail is received within a second of its arrival", func(t *testing.T) { realReceive(t, h, d) })
			t.Run("mail is sent", func(t *testing.T) {
				d.sent(t, s.submit(t, realDeskAddress, realAdeleAddress, "Somebody is on the way"))
				realAwait(t, "the message is in the recipient's inbox", func() bool { return slices.Contains(h.subjects(t), "Somebody is on the way") })
			})
			t.Run("the access token is renewed against strict rotation", func(t *testing.T) { realRenew(t, h, s, d) })
			t.Run("a wrong attempt leaves the working grant alone", func(t *testing.T) {
				if page, _ := h.signIn(t, s, realDeskAddress, "adele"); !page.Contains("The wrong person was signed in") {
					t.Errorf("the page says: %s", page.Text)
				}
				s.granted(t, realDeskAddress, "match")
				s.lend(t, realDeskAddress, "1s")
			})
		})
	}
}

// realWrongPeople are refused, and nothing of theirs is stored.
func realWrongPeople(t *testing.T, h *realHouse, s *realServer) {
	for _, c := range []struct{ name, address, login, verdict, heading, says string }{
		{"another login is refused by name", realDeskAddress, "adele", "mismatch", "The wrong person was signed in", realAdeleAddress},
		{"an address that nobody verified proves nothing", realUnsureAddress, "unsure", "unverifiable", "", "does not say that it is verified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			page, id := h.signIn(t, s, c.address, c.login)
			if !page.Contains(c.heading) || !page.Contains(c.says) || !page.Contains(c.address) {
				t.Errorf("the page does not say %q and %q, but: %s", c.heading, c.says, page.Text)
			}
			if strings.Contains(page.URL, "code=") || strings.Contains(page.URL, "state=") {
				t.Error("the address still holds the provider's answer")
			}
			var link struct {
				State       string `json:"state"`
				LastAttempt struct {
					OK      bool   `json:"ok"`
					Verdict string `json:"verdict"`
				} `json:"last_attempt"`
			}
			s.ask(t, http.MethodGet, "/v1/mailboxes/"+c.address+"/authorizations/"+id, nil, &link)
			if link.State != "pending" || link.LastAttempt.OK || link.LastAttempt.Verdict != c.verdict {
				t.Errorf("the link is %+v, want pending after an attempt with the verdict %s", link, c.verdict)
			}
			s.nothingStored(t, c.address)
		})
	}
}

// realTryAgain declines, then signs in as the wrong person, then as the right
// one, all in one browser and by one link.
func realTryAgain(t *testing.T, s *realServer) {
	link := s.link(t, realDeskAddress)
	window := browser.New(browser.Options{})
	realPress(t, window, link.URL)
	must(t, window.Submit(t.Context(), browser.Action("/abort"), nil))
	for _, then := range []struct{ before, login, says string }{
		{"was declined at the provider", "adele", "The wrong person was signed in"},
		{"The wrong person was signed in", "desk", realDeskAddress + " is connected"},
	} {
		if !window.Page().Contains(then.before) {
			t.Fatalf("the page does not say %q, but: %s", then.before, window.Page().Text)
		}
		must(t, window.Submit(t.Context(), browser.Action(link.URL[strings.Index(link.URL, "/authorize/"):]), nil))
		must(t, window.Follow(t.Context(), "go there now"))
		must(t, window.Submit(t.Context(), browser.Action("/login"), map[string]string{"login": then.login, "password": then.login + "-password"}))
		// Where the browser's session is somebody else's, the provider ends that
		// first, by a form that sends itself off in a browser with scripts.
		for range 3 {
			if page := window.Page(); page.Contains("does not support JavaScript") || page.Contains("asks to act for") {
				must(t, window.Submit(t.Context(), browser.Action("/confirm"), nil))
			}
		}
		if !window.Page().Contains(then.says) {
			t.Fatalf("the page does not say %q, but: %s", then.says, window.Page().Text)
		}
	}
	s.granted(t, realDeskAddress, "match")
}

func realLadder(t *testing.T, s *realServer, mechanism string) {
	var result struct {
		OK    bool `json:"ok"`
		Rungs []struct {
			Name     string `json:"name"`
			OK       bool   `json:"ok"`
			Skipped  bool   `json:"skipped"`
			Observed string `json:"observed"`
			Cause    string `json:"cause"`
		} `json:"rungs"`
	}
	s.ask(t, http.MethodPost, "/v1/mailboxes/"+realDeskAddress+"/test", map[string]string{"send_to": realAdeleAddress}, &result)
	by := 0
	for _, r := range result.Rungs {
		if !r.OK && !r.Skipped {
			t.Errorf("%s: %s %s", r.Name, r.Observed, r.Cause)
		}
		if strings.Contains(strings.ToLower(r.Observed), "accepted the access token by "+mechanism) {
			by++
		}
	}
	if !result.OK || by != 2 { // the mail store's and the submission server's
		t.Errorf("ok: %t, servers that took the access token by %s: %d, want 2\n%+v", result.OK, mechanism, by, result.Rungs)
	}
}

// realReceive takes the middle one of three times: the machine may be busy with
// other tests, and a mail store gathers news for half a second before it tells.
func realReceive(t *testing.T, h *realHouse, d *realDesk) {
	// The first one proves that the folder is being followed.
	h.store.Deliver(t, realDeskAddress, realMessage(realAdeleAddress, realDeskAddress, "The printer is on fire"))
	d.received(t, "The printer is on fire")
	var took []time.Duration
	for i := range 3 {
		subject := fmt.Sprintf("Still burning %d", i)
		h.store.Deliver(t, realDeskAddress, realMessage(realAdeleAddress, realDeskAddress, subject))
		arrived := time.Now()
		took = append(took, d.received(t, subject).at.Sub(arrived))
	}
	slices.Sort(took)
	t.Logf("from arrival to webhook: %s", took)
	if took[1] > time.Second {
		t.Errorf("from arrival to webhook it took %s, want at most a second", took)
	}
}

// realRenew lets the access token run out twice; each refresh token is good for
// one use, and a second use of any would end the whole grant.
func realRenew(t *testing.T, h *realHouse, s *realServer, d *realDesk) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*realPatience)
	defer cancel()
	before := len(h.provider.TokenRequests(t))
	lent := s.lend(t, realDeskAddress, "1s")
	for range 2 {
		old := lent
		// An hour is more than any access token here has: what is older than a tenth of its life is renewed.
		for lent = s.lend(t, realDeskAddress, "1h"); lent == old; lent = s.lend(t, realDeskAddress, "1h") {
			select {
			case <-ctx.Done():
				t.Fatal("the access token is not renewed")
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	requests := h.provider.TokenRequests(t)[before:]
	if len(requests) < 2 {
		t.Errorf("the provider saw %d refreshes, want at least 2", len(requests))
	}
	for _, r := range requests {
		if r.Error != "" || r.Status != http.StatusOK {
			t.Errorf("a refresh was refused: %+v", r)
		}
	}
	if g := s.grant(t, realDeskAddress); g.State != "active" || g.Failures != 0 {
		t.Errorf("the grant is %+v", g)
	}
	h.store.Deliver(t, realDeskAddress, realMessage(realAdeleAddress, realDeskAddress, "After the renewal"))
	d.received(t, "After the renewal")
}
