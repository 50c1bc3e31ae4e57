package app_test

import (
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// clock is one that can be put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func setupLink(t *testing.T, data string) string {
	t.Helper()
	b, err := os.ReadFile(app.SetupLinkPath(data))
	must(t, err)
	link, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "http://localhost:8025/setup/")
	if !ok || strings.ContainsAny(link, " \n") {
		t.Fatalf("the file holds %q, not one link", b)
	}
	return link
}

func gone(path string) func() bool {
	return func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}
}

func TestSetupLink(t *testing.T) {
	t.Run("makes the first operator, and then its file is gone for good", func(t *testing.T) {
		data := newFolder(t)
		s := run(t, data, nil)
		link := setupLink(t, data)
		if status, _ := s.get(t, "/setup/"+link, ""); status != http.StatusOK {
			t.Errorf("the page of the link answers %d", status)
		}
		if log := s.log.String(); strings.Contains(log, link) || !strings.Contains(log, app.SetupLinkPath(data)) || !strings.Contains(log, "until=") {
			t.Errorf("the log has to say where the link is and until when, and not what it is:\n%s", log)
		}
		_, err := s.Access.CompleteSetup(t.Context(), link, "anna", "a long enough password", access.Visit{})
		must(t, err)
		await(t, "the file is removed", gone(app.SetupLinkPath(data)))
		must(t, s.stop())

		run(t, data, nil)
		absent(t, app.SetupLinkPath(data))
	})
	t.Run("is another at each start, and the earlier one is good for nothing", func(t *testing.T) {
		data := newFolder(t)
		s := run(t, data, nil)
		first := setupLink(t, data)
		must(t, s.stop())
		s = run(t, data, nil)
		if setupLink(t, data) == first {
			t.Error("the link is the same")
		}
		if _, err := s.Access.CheckSetup(t.Context(), first); !fault.Has(err, "setup.spent") {
			t.Errorf("the first link is still good (%v)", err)
		}
	})
	t.Run("goes when it has expired", func(t *testing.T) {
		data, c := newFolder(t), &clock{}
		run(t, data, c.now)
		setupLink(t, data)
		c.ahead.Store(int64(61 * time.Minute))
		await(t, "the file is removed", gone(app.SetupLinkPath(data)))
	})
	t.Run("goes when another was made in its place", func(t *testing.T) {
		data := newFolder(t)
		s := run(t, data, nil)
		setupLink(t, data)
		_, _, err := s.Access.IssueSetup(t.Context(), event.System())
		must(t, err)
		await(t, "the file is removed", gone(app.SetupLinkPath(data)))
	})
	t.Run("left behind by a run that was killed, goes at the start once there is an operator", func(t *testing.T) {
		data := newFolder(t)
		s := run(t, data, nil)
		_, err := s.Access.CompleteSetup(t.Context(), setupLink(t, data), "anna", "a long enough password", access.Visit{})
		must(t, err)
		must(t, s.stop())
		must(t, os.WriteFile(app.SetupLinkPath(data), []byte("old"), 0o600))
		run(t, data, nil)
		absent(t, app.SetupLinkPath(data))
	})
	t.Run("is not made where nobody signs in with a password", func(t *testing.T) {
		data := newFolder(t)
		s := run(t, data, nil, "LOGIN_LOCAL=false")
		absent(t, app.SetupLinkPath(data))
		if status, page := s.get(t, "/login/local", ""); status != http.StatusNotFound || !strings.Contains(page, "login.local is false") {
			t.Errorf("the sign-in answers %d: %s", status, page)
		}
		_, _, err := s.Access.IssueSetup(t.Context(), event.System())
		if !fault.Has(err, "access.local_login_off") {
			t.Errorf("a link was made: %v", err)
		}
	})
}

func TestRetention(t *testing.T) {
	data, c := newFolder(t), &clock{}
	s, err := open(t, data, nil, "RETENTION=24h")
	must(t, err)
	write := func(at time.Time) event.Event {
		e := event.New(at, event.MailboxTested, byOperator, "Tested.")
		must(t, s.Store.WriteEvent(t.Context(), e))
		return e
	}
	// More than one batch of them.
	for range 520 {
		write(time.Now().Add(-48 * time.Hour))
	}
	young := write(time.Now().Add(-time.Hour))
	must(t, s.Close())

	s = run(t, data, c.now, "RETENTION=24h")
	await(t, "old events are gone", func() bool {
		found, err := s.Store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(event.MailboxTested)}})
		must(t, err)
		return len(found) == 1 && found[0].ID == young.ID
	})
}
