package cli_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/cli"
	"github.com/mailgrant/mailgrant/internal/config"
)

// What no output may hold.
const (
	plantedClientSecret  = "planted-client-secret-7f3a"
	plantedSigningSecret = "planted-signing-secret-91c2-planted"
)

// house is a server in this process that knows nobody, and a folder beside it
// with what the example of a resource file names.
type house struct {
	folder  string
	environ []string
}

// before is when the server and the example believe to be: the dates in the
// example are to come.
func before() time.Time { return time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) }

func newHouse(t *testing.T) *house {
	t.Helper()
	data, err := os.MkdirTemp("", "mg") // a socket's path may have about 100 characters
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	cfg, err := config.Load(os.DevNull, []string{
		"MAILGRANT_DATA_DIR=" + data, "MAILGRANT_LISTEN=" + listener.Addr().String(),
		"MAILGRANT_PUBLIC_URL=http://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port),
	})
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	began := time.Now()
	server, err := app.Open(ctx, cfg, app.Options{Version: "test", Listener: listener, Now: func() time.Time { return before().Add(time.Since(began)) }})
	check(t, err)
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
	})
	h := &house{folder: t.TempDir(), environ: []string{"MAILGRANT_DATA_DIR=" + data, "CONTOSO_SECRET=" + plantedClientSecret, "EMPTY="}}
	h.write(t, "hook.key", plantedSigningSecret+"\n")
	h.write(t, "short.key", "short\n")
	h.write(t, "empty.key", "\n")
	h.write(t, "key.pem", "-----BEGIN PRIVATE KEY-----\nbm90IG9uZQ==\n-----END PRIVATE KEY-----\n")
	h.write(t, "words.pem", "no certificate\n")
	return h
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(h.folder, name)
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (h *house) run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = cli.Run(t.Context(), args, strings.NewReader(""), &out, &errs, h.environ)
	for _, secret := range []string{plantedClientSecret, plantedSigningSecret} {
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("%v printed a secret", args)
		}
	}
	return code, out.String(), errs.String()
}

// must runs a command that has to succeed, and gives what it printed.
func (h *house) must(t testing.TB, args ...string) string {
	t.Helper()
	code, out, errs := h.run(t, args...)
	if code != 0 {
		t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errs)
	}
	return out
}

func example(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/resources/example.yaml")
	check(t, err)
	return string(text)
}

func TestApply_TheExampleAppliesAsWritten(t *testing.T) {
	h := newHouse(t)
	file := h.write(t, "example.yaml", example(t))

	if code, out, errs := h.run(t, "diff", "-f", file); code != 1 || strings.Count(out, "+ ") != 4 {
		t.Fatalf("diff before: exit code %d\n%s%s", code, out, errs)
	}
	if out := h.must(t, "apply", "-f", file, "--dry-run"); !strings.Contains(out, "It would be: 4 created. Nothing was changed.") || strings.Contains(out, "mgk_") {
		t.Errorf("dry run:\n%s", out)
	}
	if out := h.must(t, "provider", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("the dry run wrote something: %s", out)
	}
	out := h.must(t, "apply", "-f", file)
	for _, want := range []string{"created  provider  contoso", "created  mailbox   servicedesk@", "created  webhook   desk", "created  app       printer-2nd-floor", "4 created.", "shown this once", "mgk_"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "whsec_") {
		t.Error("a signing secret was made though one was given")
	}
	if out := h.must(t, "apply", "-f", file); strings.TrimSpace(out) != "Nothing to change: 4 resources are as the file says." {
		t.Errorf("the second time:\n%s", out)
	}
	if code, out, errs := h.run(t, "diff", "-f", file, "--prune"); code != 0 || out != "" {
		t.Errorf("diff after: exit code %d\n%s%s", code, out, errs)
	}

	exported := h.must(t, "export")
	again := h.write(t, "again.yaml", exported)
	if out := h.must(t, "apply", "-f", again, "--prune", "--yes"); !strings.HasPrefix(out, "Nothing to change") {
		t.Errorf("what was exported changes something:\n%s", out)
	}
	if now := h.must(t, "export"); now != exported {
		t.Errorf("the export changed:\n%s", now)
	}
	for _, want := range []string{"# Secrets are not in it", "{env: NAME, expires_at: 2027-05-01}", "secret: {file: PATH}", "expires_at: 2027-05-01", "scopes: ['...']"} {
		if !strings.Contains(exported, want) {
			t.Errorf("%q is missing in:\n%s", want, exported)
		}
	}
}

func TestApply_ChangesWhatDiffers(t *testing.T) {
	h := newHouse(t)
	h.must(t, "apply", "-f", h.write(t, "example.yaml", example(t)))
	changed := strings.NewReplacer("mode: push", "mode: poll, every: 5m", "[send]", "[send, read]", "prompt: login", "prompt: omit", "grant.*]", "grant.dead]").Replace(example(t))
	file := h.write(t, "changed.yaml", changed)
	code, out, errs := h.run(t, "diff", "-f", file)
	want := `~ provider  contoso
    authorize.prompt: login → omit
~ mailbox  servicedesk@vbcpn.onmicrosoft.com
    receive.every: (none) → 5m
    receive.mode: push → poll
~ webhook  desk
    events: ["message.received","submission.*","grant.*"] → ["message.received","submission.*","grant.dead"]
~ app  printer-2nd-floor
    may: ["send"] → ["send","read"]
`
	if code != 1 || out != want {
		t.Errorf("diff: exit code %d\n%s%s", code, out, errs)
	}
	out = h.must(t, "apply", "-f", file)
	if !strings.Contains(out, "receive.every, receive.mode") || !strings.HasSuffix(out, "4 updated.\n") || strings.Contains(out, "mgk_") {
		t.Errorf("apply:\n%s", out)
	}
	if code, out, _ := h.run(t, "diff", "-f", file); code != 0 {
		t.Errorf("it still differs:\n%s", out)
	}
	// Nothing goes without --prune, and then only from the lists that are there.
	file = h.write(t, "less.yaml", "webhooks: []\napps:\n  - {name: other, may: [read]}\n")
	if out := h.must(t, "apply", "-f", file); !strings.Contains(out, "1 created.") {
		t.Errorf("without --prune:\n%s", out)
	}
	if code, _, errs := h.run(t, "apply", "-f", file, "--prune"); code != 2 || !strings.Contains(errs, "Give --yes") {
		t.Errorf("without --yes: exit code %d\n%s", code, errs)
	}
	out = h.must(t, "apply", "-f", file, "--prune", "--yes", "--json")
	for _, want := range []string{`"printer-2nd-floor"`, `"desk"`, `"deleted"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in:\n%s", want, out)
		}
	}
	if out := h.must(t, "mailbox", "list"); !strings.Contains(out, "servicedesk@") {
		t.Errorf("a list that the file does not have was pruned:\n%s", out)
	}
	// A provider that a mailbox outside the file uses is not pruned, nor is anything else then.
	before := h.must(t, "export")
	code, _, errs = h.run(t, "apply", "-f", h.write(t, "none.yaml", "providers: []\nwebhooks: []\napps: []\n"), "--prune")
	if code != 1 || !strings.Contains(errs, "none.yaml:1:12: providers: The provider contoso would be removed, and the mailbox servicedesk@vbcpn.onmicrosoft.com still uses it.") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if h.must(t, "export") != before {
		t.Error("a refused document changed something")
	}
}

func TestDiff_SaysWithATwoThatItCannotSay(t *testing.T) {
	h := newHouse(t)
	for want, args := range map[string][]string{
		"Did you mean providers?":  {"diff", "-f", h.write(t, "bad.yaml", "provider: []\n")},
		"gone.yaml cannot be read": {"diff", "-f", filepath.Join(h.folder, "gone.yaml")},
		"more than 8.0 MiB in":     {"diff", "-f", h.write(t, "big.yaml", "apps: []\n"+strings.Repeat("# the same again\n", 500_000))},
		"No Mailgrant server is":   {"diff", "-f", h.write(t, "good.yaml", "apps: []\n"), "--data-dir", h.folder},
		"--file is missing":        {"diff"},
	} {
		t.Run(want, func(t *testing.T) {
			if code, out, errs := h.run(t, args...); code != 2 || out != "" || !strings.Contains(errs, want) {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		})
	}
}

func TestTerminal_PruneNamesWhatGoesAndAsks(t *testing.T) {
	h := newHouse(t)
	h.must(t, "apply", "-f", h.write(t, "example.yaml", example(t)))
	file := h.write(t, "none.yaml", "webhooks: []\napps: []\n")
	code, shown := h.runAt(t, "n\n", "apply", "-f", file, "--prune")
	if code != 1 || !strings.Contains(shown, "  webhook desk\n") || !strings.Contains(shown, "Delete 2 resources, with all that belongs to them? [y/N]") || !strings.Contains(shown, "Nothing was changed.") {
		t.Errorf("exit code %d:\n%s", code, shown)
	}
	if out := h.must(t, "webhook", "list"); !strings.Contains(out, "desk") {
		t.Error("a no deleted something")
	}
	if code, shown = h.runAt(t, "y\n", "apply", "-f", file, "--prune"); code != 0 || !strings.Contains(shown, "2 deleted.") {
		t.Errorf("exit code %d:\n%s", code, shown)
	}
}

func TestTerminal_ShowsHowFarALongDocumentIs(t *testing.T) {
	h := newHouse(t)
	text := "providers:\n  - {name: example, kind: generic, issuer: 'https://idp.example', client_id: x, endpoints: {imap: 'imap.example.org:993'}}\nmailboxes:\n"
	for i := range 60 {
		text += fmt.Sprintf("  - {address: user%02d@example.org, provider: example, receive: {protocol: imap}}\n", i)
	}
	file := h.write(t, "long.yaml", text)
	h.environ = append(h.environ, "TERM=xterm")
	code, shown := h.runAt(t, "", "apply", "-f", file)
	bar, rest, _ := strings.Cut(shown, "\x1b[K")
	if code != 0 || !strings.Contains(bar, "100 % of 61") || strings.Count(bar, "\r") < 20 || !strings.Contains(rest, "61 created.") || strings.Contains(rest, "#") {
		t.Errorf("exit code %d: %q", code, shown)
	}
	if _, out, errs := h.run(t, "apply", "-f", file); strings.Contains(out+errs, "%") {
		t.Errorf("a bar that nobody looks at: %q", out+errs)
	}
}

// runAt runs a command at a terminal.
func (h *house) runAt(t *testing.T, typed string, args ...string) (int, string) {
	t.Helper()
	return atTerminal(t, h.environ, typed, args...)
}
