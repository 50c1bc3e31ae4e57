package acceptance_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// badAnswers are answers of a provider that must not be taken.
func badAnswers(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")

	t.Run("a forged state", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.press(s.link(t, desk.Address))
		v.awaitText("#signin", "Password")
		v.open(s.base + "/oauth/callback?code=made-up&state=forged")
		v.says(v.heading("This sign-in was not accepted"), "belongs to no sign-in that was started here", "Nothing was stored", "What to do:")
		v.clean()
		s.nothingStored(t, desk)
	})
	t.Run("no state at all", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.open(s.base + "/oauth/callback?code=made-up")
		v.says(v.heading("This sign-in was not accepted"), "incomplete", "Nothing was stored", "What to do:")
		v.clean()
	})
	t.Run("declined", func(t *testing.T) {
		must(t, s.box.World().SetAdminConsent(directory.StoryClientID, nil))
		v := s.visit(t, chromium)
		v.authorize(s.link(t, desk.Address), directory.StoryDesk)
		v.awaitText("#consent", "Accept")
		v.click(`#consent button[value="decline"]`)
		v.says(v.heading("That did not work"), "declined", "Nothing was stored", "What to do:", "Try again as "+desk.Address)
		v.clean()
		s.nothingStored(t, desk)
	})
	t.Run("five attempts", func(t *testing.T) {
		v := s.visit(t, chromium)
		begun := s.begin(t, desk.Address)
		link := begun.URL.Reveal()
		for n := range connect.MaxAttempts {
			v.press(link)
			v.awaitText("#signin", "Password")
			if got := s.attempts(t, begun.ID); got != n+1 {
				t.Fatalf("%d attempts are counted, want %d", got, n+1)
			}
		}
		v.open(link)
		v.says(v.heading("All attempts are used up"), "ask the person who sent it for a new one", "Nothing was stored")
		v.clean()
		if v.evaluate(`String(document.querySelectorAll("main form").length)`) != "0" {
			t.Error("the page still offers an attempt")
		}
		s.nothingStored(t, desk)
	})
	t.Run("the answer of an attempt that took too long", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.press(s.link(t, desk.Address))
		v.awaitText("#signin", "Password")
		s.advance(31 * time.Minute)
		v.signInAtProvider(directory.StoryDesk)
		v.accept() // the administrator's consent was taken back above
		v.says(v.heading("That did not work"), "took longer than it may", "Nothing was stored", "What to do:")
		v.clean()
		s.nothingStored(t, desk)
	})
}

// replays are answers of a provider that were good once, or elsewhere.
func replays(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	t.Run("an answer opened in another browser", func(t *testing.T) {
		owner, stranger := s.visit(t, chromium), s.visit(t, chromium)
		link := s.link(t, desk.Address)
		answer := owner.catchAnswer(link, directory.StoryDesk)
		stranger.open(answer)
		stranger.says(stranger.heading("This sign-in was not accepted"), "started in another browser", "Nothing was stored", "What to do:")
		stranger.clean()
		s.nothingStored(t, desk)
	})
	t.Run("an answer opened twice", func(t *testing.T) {
		v := s.visit(t, chromium)
		answer := v.catchAnswer(s.link(t, desk.Address), directory.StoryDesk)
		v.open(answer)
		v.heading(directory.StoryDesk + " is connected")
		v.clean()
		before := s.grant(t, desk)
		v.open(answer)
		v.says(v.heading("This sign-in was not accepted"), "taken already", "Nothing was done again", "What to do:")
		v.clean()
		if after := s.grant(t, desk); after.SecretsVersion != before.SecretsVersion || after.State != mailbox.GrantActive {
			t.Errorf("the grant was touched: secrets %d after %d, %s", after.SecretsVersion, before.SecretsVersion, after.State)
		}
	})
}

// links are links that cannot be used, or not any more.
func links(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	v := s.visit(t, chromium)
	t.Run("unknown", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/authorize/this-is-no-link")
		v.says(v.heading("This link is not known here"), "What to do:", "Nothing was changed")
		v.clean()
	})
	t.Run("replaced", func(t *testing.T) {
		v.t = t
		first := s.link(t, desk.Address)
		s.link(t, desk.Address)
		v.open(first)
		v.says(v.heading("This link was replaced or cancelled"), desk.Address, "What to do:")
		v.clean()
	})
	t.Run("cancelled while its page was open", func(t *testing.T) {
		v.t = t
		begun := s.begin(t, desk.Address)
		v.open(begun.URL.Reveal())
		v.heading("Connect the mailbox")
		must(t, s.Connect.Links.Cancel(t.Context(), begun.ID, byOperator))
		v.click("main form button.btn-primary")
		v.says(v.heading("This link was replaced or cancelled"), desk.Address, "What to do:")
		v.clean()
		s.nothingStored(t, desk)
	})
	t.Run("spent", func(t *testing.T) {
		v.t = t
		link := s.link(t, desk.Address)
		v.authorize(link, directory.StoryDesk)
		v.heading(directory.StoryDesk + " is connected")
		again := s.visit(t, chromium)
		again.open(link)
		again.says(again.heading(directory.StoryDesk+" is connected"), "nothing more to do")
		again.clean()
		if again.evaluate(`String(document.querySelectorAll("main form").length)`) != "0" {
			t.Error("a spent link still offers an attempt")
		}
	})
	t.Run("expired", func(t *testing.T) {
		v.t = t
		link := s.link(t, desk.Address)
		s.advance(73 * time.Hour)
		v.open(link)
		v.says(v.heading("This link has expired"), desk.Address, "What to do:")
		v.clean()
	})
}

// TestLink_GETChangesNothing holds for scanners that open every link in a mail.
func TestLink_GETChangesNothing(t *testing.T) {
	t.Parallel()
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	begun := s.begin(t, desk.Address)
	for range 10 {
		r := s.get(t, begun.URL.Reveal())
		if r.StatusCode != http.StatusOK || len(r.Cookies()) > 0 || !strings.Contains(r.body, desk.Address) {
			t.Fatalf("the link's page: %s, %d cookies, %s", r.Status, len(r.Cookies()), r.body)
		}
	}
	if n := s.attempts(t, begun.ID); n != 0 {
		t.Errorf("%d attempts are counted after ten GETs", n)
	}
	s.nothingStored(t, desk)
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body string
}

// send makes a request without following redirects.
func send(t *testing.T, r *http.Request) response {
	t.Helper()
	client := &http.Client{Timeout: waitLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	must(t, err)
	return response{answer, string(body)}
}

func (s *site) get(t *testing.T, address string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	return send(t, r)
}

func (s *site) post(t *testing.T, address string, form url.Values, header http.Header) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		r.Header[k] = v
	}
	return send(t, r)
}
