package app_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
)

func TestMetrics(t *testing.T) {
	s := run(t, newFolder(t), nil)
	f := furnish(t, s, "http://127.0.0.1:1", time.Now().Add(time.Hour))
	reader, sender := s.key(t, "prometheus-of-anna", access.Read), s.key(t, "printer", access.Send)

	t.Run("are for keys that may read, and for the host", func(t *testing.T) {
		for key, want := range map[string]int{"": http.StatusUnauthorized, "mgk_wrong": http.StatusUnauthorized, sender: http.StatusForbidden, reader: http.StatusOK} {
			if status, body := s.get(t, "/metrics", key); status != want {
				t.Errorf("got %d, want %d: %.80s", status, want, body)
			}
		}
		res, err := s.client(t).Get("http://mailgrant/metrics")
		must(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must(t, err)
		if must(t, res.Body.Close()); res.StatusCode != http.StatusOK {
			t.Errorf("the socket answers %d", res.StatusCode)
		}
	})

	link := "aVeryPrivateLink"
	s.get(t, "/authorize/"+link, "")
	s.get(t, "/v1/mailboxes/"+url.PathEscape(f.Address), reader)
	s.get(t, "/nowhere/"+f.Address, "")
	await(t, "the refresh loop has run", func() bool { return !s.Broker.LastRun().IsZero() })
	_, told := s.get(t, "/metrics", reader)

	t.Run("tell what there is and what happens", func(t *testing.T) {
		// The first look, above, counted the mailbox already.
		for _, line := range []string{
			`mailgrant_database_up 1`, `mailgrant_mailboxes{grant="active"} 1`, `mailgrant_mailboxes{grant="dead"} 0`, `mailgrant_mailboxes{grant="none"} 0`,
			`mailgrant_quarantined_authorizations 0`, `mailgrant_submissions{state="queued"} 0`, `mailgrant_webhook_deliveries{state="parked"} 0`,
			`mailgrant_messages_kept 0`, `mailgrant_events_total{kind="grant.created"} 1`, `mailgrant_events_total{kind="api_key.created"} 2`,
			`mailgrant_events_total{kind="grant.dead"} 0`, `mailgrant_http_requests_total{route="GET /metrics",status="4xx"} 3`,
			`mailgrant_http_requests_total{route="GET /v1/mailboxes/{address}",status="2xx"} 1`,
			`mailgrant_http_request_duration_seconds_count{route="GET /v1/mailboxes/{address}"} 1`,
			`mailgrant_http_requests_total{route="/",status="4xx"} 1`,
		} {
			if !strings.Contains(told, line+"\n") {
				t.Errorf("%s is missing", line)
			}
		}
		for _, name := range []string{"mailgrant_refresh_loop_idle_seconds ", "go_goroutines ", "process_open_fds ", `route="GET /authorize/{link}"`} {
			if !strings.Contains(told, name) {
				t.Errorf("%s is missing", name)
			}
		}
		if t.Failed() {
			t.Log(told)
		}
	})
	t.Run("name nobody", func(t *testing.T) {
		for _, secret := range []string{f.Address, url.PathEscape(f.Address), "vbcpn", f.ID, "contoso", "prometheus-of-anna", "printer", reader, sender, link, "nowhere", "access-1"} {
			if strings.Contains(told, secret) {
				t.Errorf("%s stands in the metrics", secret)
			}
		}
	})
}

func TestMetricsWithoutDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL of its own")
	}
	s, postgres := onPostgres(t)
	postgres.Stop()
	res, err := s.client(t).Get("http://mailgrant/metrics")
	must(t, err)
	body, err := io.ReadAll(res.Body)
	must(t, err)
	must(t, res.Body.Close())
	told := string(body)
	if res.StatusCode != http.StatusOK || !strings.Contains(told, "mailgrant_database_up 0\n") || strings.Contains(told, "mailgrant_mailboxes{") {
		t.Errorf("got %s:\n%s", res.Status, told)
	}
	if status, body := s.get(t, "/metrics", "mgk_somebody"); status != http.StatusServiceUnavailable {
		t.Errorf("a key that cannot be looked up is answered with %d %s", status, body)
	}
	must(t, postgres.Start())
	await(t, "the counts are told again", func() bool {
		res, err := s.client(t).Get("http://mailgrant/metrics")
		must(t, err)
		body, err := io.ReadAll(res.Body)
		must(t, err)
		must(t, res.Body.Close())
		return strings.Contains(string(body), "mailgrant_database_up 1\n")
	})
}
