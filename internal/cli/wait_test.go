package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/cli"
)

// scripted is a server that says what a test wants to be said.
type scripted struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]string // per method and path, in order; the last one stays
	asked   map[string]int
	bodies  []string
}

func serverThat(t *testing.T, answers map[string][]string) *scripted {
	t.Helper()
	s := &scripted{answers: answers, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the body broke off: %v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		what := r.Method + " " + r.URL.EscapedPath()
		list := s.answers[what]
		n := min(s.asked[what], len(list)-1)
		s.asked[what]++
		s.bodies = append(s.bodies, string(body))
		if n < 0 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintf(w, `{"type":"urn:mailgrant:problem:test.none","status":404,"detail":"The test has no answer to %s."}`, what)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(list[n], `{"type"`) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = io.WriteString(w, list[n])
	}))
	t.Cleanup(s.Close)
	return s
}

// run runs one command against a server and gives its exit code and output.
func run(ctx context.Context, s *scripted, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = cli.Run(ctx, args, strings.NewReader(stdin), &out, &errs, []string{"MAILGRANT_SERVER=" + s.URL, "MAILGRANT_API_KEY=mgk_planted"})
	return code, out.String(), errs.String()
}

const (
	linkPath = "POST /v1/mailboxes/desk@example.org/authorizations"
	askPath  = "GET /v1/mailboxes/desk@example.org/authorizations/l1"
	link     = `{"id":"l1","url":"http://localhost:8025/authorize/abc","expires_at":"2099-01-01T00:00:00Z"}`
	pending  = `{"id":"l1","state":"pending","attempts":0,"created_at":"2026-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}`
)

func settled(state, attempt string) string {
	return `{"id":"l1","state":"` + state + `","attempts":1,"created_at":"2026-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z","last_attempt":` + attempt + `}`
}

func TestAuthorize_Waits(t *testing.T) {
	wrong := `{"attempt_id":"a1","at":"2026-01-01T00:00:00Z","ok":false,"signed_in":"adele@example.org","text":"Somebody else signed in.","remedy":"Sign in as the desk.","subject":"tenant/adele"}`
	right := `{"attempt_id":"a2","at":"2026-01-01T00:00:00Z","ok":true,"verdict":"match","signed_in":"desk@example.org","text":"ok"}`
	waits := `{"attempt_id":"a2","at":"2026-01-01T00:00:00Z","ok":true,"verdict":"match","signed_in":"desk@example.org","cause":"imap.down","text":"desk@example.org signed in, as expected. The mail server does not answer.","remedy":"See whether it runs."}`
	for _, c := range []struct {
		outcome string
		last    string
		code    int
		stdout  string
		stderr  string
	}{
		{"granted is success", settled("granted", right), 0, "desk@example.org is authorised; signed in: desk@example.org (match).", "An attempt was refused: Somebody else signed in."},
		{
			"an authorisation in quarantine is no success yet", settled("granted", waits), 1, "",
			"desk@example.org signed in, as expected, but the mailbox is not connected yet: The mail server does not answer.\n" +
				"  What to do: See whether it runs.\n  Mailgrant keeps trying for up to 24 hours; “mailgrant mailbox show desk@example.org” says how it stands.",
		},
		{"refused is failure and names the way out", settled("refused", wrong), 1, "", "--allow-subject tenant/adele"},
		{"expired is failure", settled("expired", "null"), 1, "", "expired without having been used"},
		{"cancelled is failure", settled("cancelled", "null"), 1, "", "The link was cancelled"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			s := serverThat(t, map[string][]string{linkPath: {link}, askPath: {settled("pending", wrong), c.last}})
			code, stdout, stderr := run(t.Context(), s, "", "authorize", "desk@example.org", "--expires-in", "7d")
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
			if !strings.HasPrefix(stdout, "http://localhost:8025/authorize/abc\n") {
				t.Errorf("the link does not stand alone on the first line:\n%s", stdout)
			}
			if s.bodies[0] != `{"expires_in":"168h0m0s"}` {
				t.Errorf("asked for %s", s.bodies[0])
			}
		})
	}
	t.Run("JSON is the link, then the outcome, one a line", func(t *testing.T) {
		t.Parallel()
		s := serverThat(t, map[string][]string{linkPath: {link}, askPath: {pending, settled("granted", right)}})
		code, stdout, _ := run(t.Context(), s, "", "authorize", "desk@example.org", "--json")
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		if code != 0 || len(lines) != 2 {
			t.Fatalf("exit code %d, %d lines:\n%s", code, len(lines), stdout)
		}
		var first struct{ URL string }
		var second struct{ State string }
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.URL == "" {
			t.Errorf("the first line is not the link: %v", err)
		}
		if err := json.Unmarshal([]byte(lines[1]), &second); err != nil || second.State != "granted" {
			t.Errorf("the second line is not the outcome: %v", err)
		}
	})
	t.Run("JSON names a quarantine", func(t *testing.T) {
		t.Parallel()
		s := serverThat(t, map[string][]string{linkPath: {link}, askPath: {settled("granted", waits)}})
		code, stdout, _ := run(t.Context(), s, "", "authorize", "desk@example.org", "--json")
		if code != 1 || !strings.HasSuffix(stdout, `,"quarantined":true}`+"\n") {
			t.Errorf("exit code %d:\n%s", code, stdout)
		}
	})
	t.Run("a refusal while waiting ends it", func(t *testing.T) {
		t.Parallel()
		gone := `{"type":"urn:mailgrant:problem:link.unknown","status":409,"detail":"Gone.","remedy":"Make a new one."}`
		s := serverThat(t, map[string][]string{linkPath: {link}, askPath: {gone}})
		code, _, stderr := run(t.Context(), s, "", "authorize", "desk@example.org")
		if code != 1 || !strings.Contains(stderr, "mailgrant: Gone.\n  What to do: Make a new one.") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestAuthorize_Interrupted(t *testing.T) {
	s := serverThat(t, map[string][]string{linkPath: {link}, askPath: {pending}})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r, w := io.Pipe()
	var errs strings.Builder
	done := make(chan int, 1)
	go func() {
		done <- cli.Run(ctx, []string{"authorize", "desk@example.org"}, strings.NewReader(""), w, &errs, []string{"MAILGRANT_SERVER=" + s.URL, "MAILGRANT_API_KEY=mgk_planted"})
	}()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || !strings.Contains(line, "/authorize/abc") {
		t.Fatalf("%q, %v", line, err)
	}
	interrupt()
	select {
	case code := <-done:
		if code != 1 || !strings.Contains(errs.String(), "The link stays valid") {
			t.Errorf("exit code %d: %s", code, errs.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if n := s.asked["DELETE /v1/mailboxes/desk@example.org/authorizations/l1"]; n != 0 {
		t.Error("the link was cancelled")
	}
}

func TestSend_Waits(t *testing.T) {
	const at = `"created_at":"2026-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z","attempts":1,"envelope":{"reverse_path":"a@example.org","forward_paths":["b@example.org"]}`
	queued := `{"id":"s1","state":"queued","text":"The server said later.",` + at + `}`
	failed := `{"id":"s1","state":"failed","text":"No such user.","remedy":"Check the address.",` + at + `}`
	s := serverThat(t, map[string][]string{"POST /v1/submissions": {queued}, "GET /v1/submissions/s1": {queued, failed}})
	code, stdout, stderr := run(t.Context(), s, "Hello", "send", "--from", "a@example.org", "--to", "b@example.org", "--wait")
	if code != 1 || !strings.Contains(stdout, "Check the address.") || !strings.Contains(stderr, "Not yet: The server said later.") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if !strings.Contains(s.bodies[0], `"text":"Hello"`) {
		t.Errorf("submitted: %s", s.bodies[0])
	}
}

func TestOutput_IsMadeHarmless(t *testing.T) {
	nasty := `{"items":[{"id":"m1","mailbox":"desk@example.org","received_at":"2026-01-01T00:00:00Z","parsed":{"subject":"\u001b]0;owned\u0007\nPAID\u202egpj"}}]}`
	s := serverThat(t, map[string][]string{"GET /v1/messages": {nasty}})
	code, stdout, _ := run(t.Context(), s, "", "messages", "list")
	if code != 0 || strings.ContainsAny(stdout, "\x1b\x07\u202e") || strings.Count(stdout, "\n") != 2 {
		t.Errorf("exit code %d: %q", code, stdout)
	}
}

func TestOutput_ThatCannotBeWrittenIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer func() { _ = full.Close() }()
	var errs strings.Builder
	if code := cli.Run(t.Context(), []string{"version"}, strings.NewReader(""), full, &errs, nil); code != 1 || !strings.Contains(errs.String(), "cannot be written") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestProblems_AreToldWithTheRemedy(t *testing.T) {
	refusal := `{"type":"urn:mailgrant:problem:oauth.invalid_grant","status":409,"detail":"The consent ended.","remedy":"Authorise again.","who":["mailbox_owner","operator"],
		"provider":{"code":"invalid_grant","subcode":"AADSTS50173","trace_id":"t-1","correlation_id":"c-1"}}`
	s := serverThat(t, map[string][]string{"POST /v1/mailboxes/desk@example.org/token": {refusal}})
	code, stdout, stderr := run(t.Context(), s, "", "token", "desk@example.org")
	want := "mailgrant: The consent ended.\n  The server outside said: invalid_grant; AADSTS50173; trace id t-1; correlation id c-1\n  Who acts: the mailbox owner\n  What to do: Authorise again.\n"
	if code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestConfirm_AScriptHasToSayYes(t *testing.T) {
	s := serverThat(t, map[string][]string{"DELETE /v1/providers/contoso": {`{}`}})
	if code, _, stderr := run(t.Context(), s, "y\n", "provider", "delete", "contoso"); code != 2 || !strings.Contains(stderr, "Give --yes") || s.asked["DELETE /v1/providers/contoso"] > 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, stdout, _ := run(t.Context(), s, "n\n", "provider", "delete", "contoso", "--yes"); code != 0 || !strings.Contains(stdout, "was removed") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestSecrets_StayOutOfWhatIsPrinted(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("planted-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := `{"name":"x","kind":"generic","client_id":"c","client_secrets":[{"id":"s1"}],"effective_redirect_uri":"http://localhost:8025/oauth/callback"}`
	s := serverThat(t, map[string][]string{"POST /v1/providers": {echo}})
	for _, more := range [][]string{nil, {"--json"}} {
		code, stdout, stderr := run(t.Context(), s, "", append([]string{"provider", "create", "x", "--kind", "generic", "--client-id", "c", "--client-secret-file", secret}, more...)...)
		if code != 0 || strings.Contains(stdout+stderr, "planted") {
			t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
		}
	}
	if !strings.Contains(s.bodies[0], `"value":"planted-secret"`) {
		t.Errorf("sent: %s", s.bodies[0])
	}
}
