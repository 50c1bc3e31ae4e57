package acceptance_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestFallback sends through Graph while signing in by SMTP is switched off for
// the mailbox, and goes on receiving whatever becomes of that.
func TestFallback(t *testing.T) {
	t.Parallel()
	listener, base := realListen(t)
	h := realOpenTenant(t, base+"/oauth/callback")
	s := realOpen(t, realOptions{listener: listener, now: h.now})
	h.furnish(t, s)
	about := h.box.Describe()
	fallback := func(way string) {
		t.Helper()
		s.ask(t, http.MethodPut, "/v1/mailboxes/"+directory.StoryDesk, map[string]any{
			"address": directory.StoryDesk, "provider": "contoso",
			"receive": map[string]any{
				"protocol": "imap", "folders": []string{"INBOX"}, "mode": "push",
				"host": about.IMAP.Host, "port": about.IMAP.Port, "tls": "implicit", "ca_pem": about.CertificateAuthority,
			},
			"send": map[string]any{
				"protocol": "smtp", "fallback": way,
				"host": about.SMTP.Host, "port": about.SMTP.Port, "tls": "starttls", "ca_pem": about.CertificateAuthority,
			},
		}, nil)
	}
	fallback("graph")
	h.connect(t, s)
	smtpOff := func(off bool) {
		t.Helper()
		must(t, h.box.World().ChangeMailbox(directory.StoryDesk, func(m *directory.Mailbox) { m.SMTPAuthOff = off }))
		h.box.Exchange().CutConnections(directory.StoryDesk) // one that is signed in goes on for a moment, and is used for the next message
	}
	state := func(id string) realSubmission {
		t.Helper()
		var got realSubmission
		s.ask(t, http.MethodGet, "/v1/submissions/"+id, nil, &got)
		return got
	}
	signIns := func() int {
		n := 0
		for _, c := range h.box.World().Calls(0) {
			if c.Protocol == "smtp" && strings.HasPrefix(c.Method, "AUTH") {
				n++
			}
		}
		return n
	}

	t.Run("while SMTP is open, mail goes by SMTP", func(t *testing.T) {
		id := s.submit(t, directory.StoryDesk, directory.StoryAdele, "By SMTP")
		realAwait(t, "it is sent", func() bool { return state(id).State == "sent" })
		if r := state(id).Reply; !strings.HasPrefix(r, "250") {
			t.Errorf("the server's reply is %q", r)
		}
	})
	t.Run("with SMTP AUTH switched off it goes by Graph, hidden recipients too", func(t *testing.T) {
		smtpOff(true)
		var made struct {
			ID string `json:"id"`
		}
		s.ask(t, http.MethodPost, "/v1/submissions", map[string]any{
			"from": map[string]string{"address": directory.StoryDesk}, "to": []map[string]string{{"address": directory.StoryAdele}},
			"bcc": []map[string]string{{"address": directory.StoryMegan}}, "subject": "By Graph", "text": "Hello.",
		}, &made)
		realAwait(t, "it is sent", func() bool { return state(made.ID).State == "sent" })
		if got := state(made.ID); got.PossiblyDuplicated || !strings.HasPrefix(got.Reply, "202") {
			t.Errorf("%+v", got)
		}
		if n := h.delivered("By Graph"); n != 1 {
			t.Errorf("it arrived %d times", n)
		}
		hidden := h.box.Exchange().Messages(directory.StoryMegan, "INBOX")
		if len(hidden) != 1 || strings.Contains(string(hidden[0].Raw), directory.StoryMegan+"\r\nTo:") || strings.Contains(string(hidden[0].Raw), "Bcc:") {
			t.Errorf("%d messages for the hidden recipient, or she is named in it", len(hidden))
		}
	})
	t.Run("SMTP is not asked for every message", func(t *testing.T) {
		before := signIns()
		for _, subject := range []string{"Again one", "Again two"} {
			id := s.submit(t, directory.StoryDesk, directory.StoryAdele, subject)
			realAwait(t, "it is sent", func() bool { return state(id).State == "sent" })
		}
		if n := signIns() - before; n != 0 {
			t.Errorf("the mail server refused %d more sign-ins", n)
		}
	})
	t.Run("the ladder says which way mail goes", func(t *testing.T) {
		var result struct {
			OK    bool `json:"ok"`
			Rungs []struct {
				Name string `json:"name"`
				OK   bool   `json:"ok"`
				ID   string `json:"id"`
			} `json:"rungs"`
		}
		s.ask(t, http.MethodPost, "/v1/mailboxes/"+directory.StoryDesk+"/test", map[string]any{}, &result)
		var refused, other bool
		for _, r := range result.Rungs {
			refused = refused || r.Name == "send.auth" && r.ID == "smtp.auth_disabled_mailbox"
			other = other || r.Name == "fallback.auth" && r.OK
		}
		if !result.OK || !refused || !other {
			t.Errorf("%+v", result)
		}
	})
	t.Run("a wire that breaks after the message is resolved by the sent messages", func(t *testing.T) {
		must(t, h.box.InjectFault(directory.Fault{Point: directory.PointGraph, Action: directory.ActionCutAfter, Times: 1}))
		id := s.submit(t, directory.StoryDesk, directory.StoryAdele, "Cut")
		realAwait(t, "it waits", func() bool { return state(id).Cause == "graph.no_reply" || state(id).State == "sent" })
		h.advance(2 * time.Minute)
		realAwait(t, "it is sent", func() bool { return state(id).State == "sent" })
		if got := state(id); got.PossiblyDuplicated || h.delivered("Cut") != 1 {
			t.Errorf("%+v, arrived %d times", got, h.delivered("Cut"))
		}
	})
	t.Run("without consent for Graph, receiving goes on and the cause is named", func(t *testing.T) {
		grants := []string{
			"https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send", "https://graph.microsoft.com/User.Read",
			"https://graph.microsoft.com/openid", "https://graph.microsoft.com/profile", "https://graph.microsoft.com/email", "https://graph.microsoft.com/offline_access",
		}
		must(t, h.box.World().SetAdminConsent(directory.StoryClientID, grants))
		h.advance(3 * time.Hour) // what was lent has ended, and so has the detour
		id := s.submit(t, directory.StoryDesk, directory.StoryAdele, "Unconsented")
		realAwait(t, "it waits with both causes", func() bool {
			got := state(id)
			return got.Cause == "smtp.auth_disabled_mailbox" && strings.Contains(got.Text, "The second way of sending does not work either")
		})
		if g := s.grant(t, directory.StoryDesk); g.State != "active" {
			t.Errorf("the grant is %+v", g)
		}
		s.lend(t, directory.StoryDesk, "1s")
		if !slices.Contains([]string{"queued", "sending"}, state(id).State) {
			t.Errorf("%+v", state(id))
		}
	})
}

// realSubmission is what the API says of one.
type realSubmission struct {
	State              string `json:"state"`
	PossiblyDuplicated bool   `json:"possibly_duplicated"`
	Reply              string `json:"reply"`
	Cause              string `json:"cause"`
	Text               string `json:"text"`
}
