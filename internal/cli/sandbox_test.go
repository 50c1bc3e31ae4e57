package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/cli"
	"github.com/mailgrant/mailgrant/sandbox"
)

// startSandbox runs the command until the test ends it.
func startSandbox(t *testing.T, args ...string) (output *bufio.Reader, end func() (code int, stderr string)) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	t.Cleanup(interrupt)
	r, w := io.Pipe()
	var errs strings.Builder
	done := make(chan int, 1)
	go func() {
		code := cli.Run(ctx, append([]string{"sandbox"}, args...), strings.NewReader(""), w, &errs, nil)
		_ = w.Close() // It never fails.
		done <- code
	}()
	return bufio.NewReader(r), func() (int, string) {
		interrupt()
		go func() { _, _ = io.Copy(io.Discard, r) }() // Nobody reads the rest.
		select {
		case code := <-done:
			return code, errs.String()
		case <-time.After(patience):
			t.Fatal("it does not end")
			return 0, ""
		}
	}
}

func TestSandbox_JSONIsAllThatOneNeeds(t *testing.T) {
	output, end := startSandbox(t, "--json", "--redirect-uri", "http://localhost:3000/callback")
	line, err := output.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var d sandbox.Description
	if err := json.Unmarshal([]byte(line), &d); err != nil {
		t.Fatal(err)
	}
	if d.ControlKey == "" || d.CertificateAuthority == "" || len(d.Users) == 0 || d.Registrations[0].RedirectURIs[0] != "http://localhost:3000/callback" {
		t.Errorf("%+v", d)
	}
	answer, err := http.Get(d.Discovery)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("the tenant answers %d, %v", answer.StatusCode, err)
	}
	if code, stderr := end(); code != 0 || stderr != "" {
		t.Errorf("interrupted, it exits with %d: %s", code, stderr)
	}
}

func TestSandbox_TellsAPerson(t *testing.T) {
	output, end := startSandbox(t)
	var text strings.Builder
	for !strings.Contains(text.String(), "Ctrl-C ends the sandbox") {
		line, err := output.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after:\n%s", err, text.String())
		}
		text.WriteString(line)
	}
	for _, word := range []string{"AdeleV@vbcpn.onmicrosoft.com", "made-up-password-of-adele", "CLIENT SECRET", "Control key", "open nothing else"} {
		if !strings.Contains(text.String(), word) {
			t.Errorf("%q is not there:\n%s", word, text.String())
		}
	}
	if code, _ := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSandbox_PrintsTheCommandsThatConnectAMailbox(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "it's here")
	output, end := startSandbox(t, "--files", folder)
	var text strings.Builder
	for !strings.Contains(text.String(), "Ctrl-C ends the sandbox") {
		line, err := output.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after:\n%s", err, text.String())
		}
		text.WriteString(line)
	}
	for _, word := range []string{
		"mailgrant provider create sandbox --kind microsoft --tenant vbcpn.onmicrosoft.com", `it'\''s here/secret.txt'`,
		"mailgrant mailbox create servicedesk@vbcpn.onmicrosoft.com --provider sandbox", "--receive-port", "sign in as servicedesk@vbcpn.onmicrosoft.com",
	} {
		if !strings.Contains(text.String(), word) {
			t.Errorf("%q is not there:\n%s", word, text.String())
		}
	}
	for name, begins := range map[string]string{"secret.txt": "made-up~secret", "ca.pem": "-----BEGIN CERTIFICATE-----"} {
		if b, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !strings.HasPrefix(string(b), begins) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, stderr := end(); code != 0 || stderr != "" {
		t.Errorf("interrupted, it exits with %d: %s", code, stderr)
	}
}

func TestSandbox_FolderThatCannotBe(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	code := cli.Run(t.Context(), []string{"sandbox", "--files", taken}, strings.NewReader(""), &out, &errs, nil)
	if code != 1 || !strings.Contains(errs.String(), "--files") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestSandbox_TakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var out, errs strings.Builder
	code := cli.Run(t.Context(), []string{"sandbox", "--listen-imap", l.Addr().String()}, strings.NewReader(""), &out, &errs, nil)
	if code != 1 || !strings.Contains(errs.String(), "The cause: the sandbox cannot listen for IMAP") || !strings.Contains(errs.String(), "--listen-imap") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
