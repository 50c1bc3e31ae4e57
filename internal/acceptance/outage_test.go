package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// realConnected is a server with a connected mailbox that receives.
func realConnected(t *testing.T, o realOptions) (*realServer, *realTenant, *realDesk) {
	t.Helper()
	var base string
	o.listener, base = realListen(t)
	h := realOpenTenant(t, base+"/oauth/callback")
	o.now = h.now
	s := realOpen(t, o)
	d := realOpenDesk(t)
	d.subscribe(t, s)
	h.furnish(t, s)
	h.connect(t, s)
	h.deliver(t, "Before")
	d.received(t, "Before")
	return s, h, d
}

// realRefused fails unless a call is refused for now, in words and with a remedy.
func realRefused(t *testing.T, s *realServer, method, path string, body any, words string) {
	t.Helper()
	status, answer, err := s.call(t.Context(), method, path, body)
	must(t, err)
	var problem struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
		Remedy string `json:"remedy"`
		Status int    `json:"status"`
	}
	if status != http.StatusServiceUnavailable || json.Unmarshal(answer, &problem) != nil {
		t.Errorf("%s %s: %d %s, want a problem document with 503", method, path, status, answer)
		return
	}
	if problem.Status != status || problem.Type != "urn:mailgrant:problem:store.unavailable" || !strings.Contains(problem.Detail, words) || problem.Remedy == "" {
		t.Errorf("%s %s: the problem document does not say %q with a remedy: %s", method, path, words, answer)
	}
}

// ready waits until the server says that it can do its work.
func (s *realServer) ready(t *testing.T) {
	t.Helper()
	realAwait(t, "the server is ready again", func() bool {
		status, _, err := s.call(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && status == http.StatusOK
	})
}

// received counts the stored messages by subject.
func (s *realServer) received(t *testing.T) map[string]int {
	t.Helper()
	var page struct {
		Items []struct {
			Parsed struct {
				Subject string `json:"subject"`
			} `json:"parsed"`
		} `json:"items"`
	}
	s.ask(t, http.MethodGet, "/v1/messages?limit=500", nil, &page)
	n := map[string]int{}
	for _, m := range page.Items {
		n[m.Parsed.Subject]++
	}
	return n
}

// realWhole fails unless everything acknowledged was done, and done once.
func realWhole(t *testing.T, s *realServer, h *realTenant, d *realDesk, accepted map[string]string, arrived []string) {
	t.Helper()
	for subject, id := range accepted {
		d.sent(t, id)
		if n := h.delivered(subject); n != 1 {
			t.Errorf("the accepted submission %q was delivered %d times", subject, n)
		}
	}
	for _, subject := range arrived {
		d.received(t, subject)
	}
	stored := s.received(t)
	for _, subject := range arrived {
		if stored[subject] != 1 {
			t.Errorf("the message %q is stored %d times", subject, stored[subject])
		}
	}
	d.sent(t, s.submit(t, directory.StoryDesk, directory.StoryAdele, "Afterwards"))
	h.deliver(t, "Afterwards")
	d.received(t, "Afterwards")
	s.lend(t, directory.StoryDesk, "5m")
}

// TestLostDatabase takes PostgreSQL away from a running server and gives it back.
func TestLostDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL of its own")
	}
	t.Parallel()
	postgres := testbed.StartOwnPostgres(t)
	s, h, d := realConnected(t, realOptions{database: postgres.NewDatabase(t)})
	link := s.link(t, directory.StoryDesk)

	accepted := map[string]string{} // id by subject
	for i := range 5 {
		subject := fmt.Sprintf("Accepted %d", i)
		accepted[subject] = s.submit(t, directory.StoryDesk, directory.StoryAdele, subject)
	}
	postgres.Stop()
	mailbox := "/v1/mailboxes/" + directory.StoryDesk
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1/submissions", realDraft(directory.StoryDesk, directory.StoryAdele, "Refused")},
		{http.MethodPost, mailbox + "/token", nil},
		{http.MethodPost, mailbox + "/authorizations", nil},
		{http.MethodGet, "/v1/mailboxes", nil},
		{http.MethodGet, "/v1/events", nil},
		{http.MethodDelete, mailbox, nil},
	} {
		realRefused(t, s, c.method, c.path, c.body, "database cannot be reached")
	}
	if status, answer, err := s.call(t.Context(), http.MethodGet, "/readyz", nil); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d %s %v", status, answer, err)
	}
	if status, _, err := s.call(t.Context(), http.MethodGet, "/healthz", nil); err != nil || status != http.StatusOK {
		t.Errorf("/healthz: %d %v; the process itself is well", status, err)
	}
	status, page, err := realCall(t.Context(), s.http, http.MethodGet, link.URL, nil, nil)
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(string(page), "database cannot be reached") {
		t.Errorf("the owner's page: %d %v %s", status, err, page)
	}
	arrived := []string{"While away 0", "While away 1", "While away 2"}
	for _, subject := range arrived {
		h.deliver(t, subject)
	}
	must(t, postgres.Start())
	s.ready(t)
	realWhole(t, s, h, d, accepted, arrived)
	if n := h.delivered("Refused"); n != 0 {
		t.Errorf("the refused submission was delivered %d times", n)
	}
	s.granted(t, directory.StoryDesk, "match")
}

// TestFullDisk fills the disk under a running server on SQLite and empties it again.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a file system")
	}
	t.Parallel()
	s, h, d := realConnected(t, realOptions{tmpfs: true})
	filler := filepath.Join(s.data, "filler")
	realFill(t, filler)

	accepted, refused := map[string]string{}, 0
	draft := realDraft(directory.StoryDesk, directory.StoryAdele, "")
	draft["text"] = strings.Repeat("All work and no play makes Jack a dull boy.\n", 6000)
	for i := 0; refused < 3 && i < 50; i++ {
		subject := fmt.Sprintf("On a full disk %d", i)
		draft["subject"] = subject
		status, answer, err := s.call(t.Context(), http.MethodPost, "/v1/submissions", draft)
		must(t, err)
		if status != http.StatusAccepted {
			refused++
			realRefused(t, s, http.MethodPost, "/v1/submissions", draft, "disk of the database")
			continue
		}
		var made struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(answer, &made))
		accepted[subject] = made.ID
	}
	if refused == 0 {
		t.Fatal("nothing was refused on a full disk")
	}
	arrived := []string{"While full 0", "While full 1", "While full 2"}
	for _, subject := range arrived {
		raw := realMessage(directory.StoryAdele, directory.StoryDesk, subject) + strings.Repeat("All work and no play.\r\n", 20000)
		_, err := h.box.Exchange().Deliver(directory.StoryDesk, []byte(raw))
		must(t, err)
	}
	// What can be read is still answered.
	s.ask(t, http.MethodGet, "/v1/mailboxes", nil, nil)
	must(t, os.Remove(filler))
	s.ready(t)
	realWhole(t, s, h, d, accepted, arrived)
}

// realFill writes until nothing more fits.
func realFill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer func() { _ = f.Close() }()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			block = block[:len(block)/2]
		}
	}
}

// TestOneRefreshForAll has 500 programs ask for one expired access token at
// once, at two processes on one PostgreSQL.
func TestOneRefreshForAll(t *testing.T) {
	if testing.Short() {
		t.Skip("500 callers on PostgreSQL")
	}
	t.Parallel()
	const callers = 500
	o := realOptions{database: testbed.StartPostgres(t).NewDatabase(t), keyFile: filepath.Join(t.TempDir(), "keys.json")}
	first, h, _ := realConnected(t, o)
	o.now = h.now
	second := realOpen(t, o)
	before := h.refreshes()
	old := first.lend(t, directory.StoryDesk, "5m")
	if again := second.lend(t, directory.StoryDesk, "5m"); again != old || h.refreshes() != before {
		t.Fatalf("the second process lends another access token, or asked the provider %d times", h.refreshes()-before)
	}

	h.advance(2 * time.Hour)
	var mu sync.Mutex
	lent := map[string]int{}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range callers {
		s := []*realServer{first, second}[i%2]
		all.Go(func() {
			<-begin
			status, answer, err := s.call(t.Context(), http.MethodPost, "/v1/mailboxes/"+directory.StoryDesk+"/token", nil)
			var token struct {
				AccessToken string `json:"access_token"`
			}
			if err != nil || status != http.StatusOK || json.Unmarshal(answer, &token) != nil {
				t.Errorf("a caller got %d %s %v", status, answer, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			lent[token.AccessToken]++
		})
	}
	close(begin)
	all.Wait()
	if n := h.refreshes() - before; n != 1 {
		t.Errorf("%d requests reached the provider, want 1", n)
	}
	if len(lent) != 1 || lent[old] > 0 {
		t.Errorf("%d access tokens were lent, want one that is new", len(lent))
	}
	for token, n := range lent {
		if n != callers {
			t.Errorf("%d of %d callers got the access token ending in %s", n, callers, token[max(0, len(token)-4):])
		}
	}
}
