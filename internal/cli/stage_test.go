package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailgrant/mailgrant/internal/cli"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mailgrant": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	}})
}

// The scripts run the real command as a process of its own, against a server
// that is another such process and a tenant in this one.
func TestScripts(t *testing.T) {
	var scripts atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// An address of its own for each script's server: no other can take its port.
			env.Setenv("HOST", fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>8%250, os.Getpid()%256, scripts.Add(1)))
			// Short: a socket's path may have about 100 characters.
			dir, err := os.MkdirTemp("", "mg")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			env.Setenv("MAILGRANT_DATA_DIR", dir)
			env.Values[stageKey{}] = &stage{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tenant": tenant, "running": running, "exits": exits, "until": until, "take": take, "owner": owner, "operator": operator, "deliver": deliver,
			"receiver": receiver,
		},
	})
}

// stage holds what a script started in this process.
type stage struct {
	box    *sandbox.Sandbox
	status atomic.Int64 // what the receiver of webhooks answers; 0: there is none
}

type stageKey struct{}

// patience bounds everything that a script waits for.
const patience = 90 * time.Second

// receiver answers webhooks with a status, which a later call changes. Its
// address is in the environment.
func receiver(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: receiver STATUS")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := ts.Value(stageKey{}).(*stage)
	if s.status.Swap(int64(status)) != 0 {
		return
	}
	l, err := net.Listen("tcp", ts.Getenv("HOST")+":0")
	ts.Check(err)
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(s.status.Load()))
	})}
	go func() { _ = server.Serve(l) }()
	ts.Defer(func() { _ = server.Close() })
	ts.Setenv("RECEIVER", "http://"+l.Addr().String())
}

// tenant starts a sandbox and says, in the environment, where a server of this
// script is to listen and what it needs to know of the tenant.
func tenant(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", ts.Getenv("HOST")+":0")
	ts.Check(err)
	listen := l.Addr().String()
	ts.Check(l.Close())
	public := "http://" + listen
	box, err := sandbox.Start(context.Background(), sandbox.Options{RedirectURIs: []string{public + "/oauth/callback"}})
	ts.Check(err)
	ts.Defer(func() { _ = box.Close() })
	d := box.Describe()
	ts.Value(stageKey{}).(*stage).box = box
	for name, value := range map[string]string{
		"MAILGRANT_LISTEN": listen, "MAILGRANT_PUBLIC_URL": public, "PUBLIC": public,
		"AUTHORITY": d.BaseURL, "GRAPH": d.GraphURL, "TENANT": d.Tenants[0].ID, "CLIENT_ID": d.Registrations[0].ClientID,
		"IMAP_HOST": d.IMAP.Host, "IMAP_PORT": strconv.Itoa(d.IMAP.Port), "SMTP_HOST": d.SMTP.Host, "SMTP_PORT": strconv.Itoa(d.SMTP.Port),
	} {
		ts.Setenv(name, value)
	}
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), []byte(d.CertificateAuthority), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("client-secret"), []byte(d.Registrations[0].Secrets[0].Value+"\n"), 0o600))
	for _, u := range d.Users {
		name, _, _ := strings.Cut(u.UPN, "@")
		ts.Check(os.WriteFile(ts.MkAbs(name+".password"), []byte(u.Password), 0o600))
	}
}

// running waits until the script's server answers at its socket.
func running(ts *testscript.TestScript, _ bool, _ []string) {
	end := time.NewTimer(patience)
	defer end.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.DialTimeout("unix", filepath.Join(ts.Getenv("MAILGRANT_DATA_DIR"), "mailgrant.sock"), time.Second)
		if err == nil {
			ts.Check(c.Close())
			return
		}
		select {
		case <-end.C:
			ts.Fatalf("the server does not answer: %v", err)
		case <-again.C:
		}
	}
}

// exits runs a command and demands its exit code: exits 2 mailgrant foo.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var code *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &code):
		got = code.ExitCode()
	case err != nil:
		ts.Fatalf("%v did not run: %v", args[1:], err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// until runs a command again and again until it succeeds and its output holds a
// text: until TEXT COMMAND….
func until(ts *testscript.TestScript, _ bool, args []string) {
	end := time.NewTimer(patience)
	defer end.Stop()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		select {
		case <-end.C:
			ts.Fatalf("%q did not come: %v", args[0], err)
		case <-again.C:
		}
	}
}

// take puts a member of the last output, which is JSON, into the environment:
// take NAME path.to.member. Of a list the first item is meant.
func take(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, step := range strings.Split(args[1], ".") {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		object, ok := v.(map[string]any)
		if !ok || object[step] == nil {
			ts.Fatalf("there is no %s in the output", args[1])
		}
		v = object[step]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// owner opens a link and signs in: owner LINK USER. With "!" somebody was meant
// to be refused.
func owner(ts *testscript.TestScript, neg bool, args []string) {
	name, _, _ := strings.Cut(args[1], "@")
	text, err := visit(args[0], args[1], ts.ReadFile(name+".password"))
	ts.Check(err)
	if refused := strings.Contains(text, "Nothing was stored."); refused != neg {
		ts.Fatalf("the owner's page says:\n%s", text)
	}
}

// operator opens a set-up link and sets a password: operator LINK PASSWORDFILE.
// With "!" the link was meant to be worth nothing.
func operator(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b := browser.New(browser.Options{})
	ts.Check(b.Open(ctx, args[0]))
	if b.Page().Contains("no longer good") != neg {
		ts.Fatalf("the page of the link says:\n%s", b.Page().Text)
	}
	if !neg {
		ts.Check(b.Submit(ctx, browser.Button("Save and sign in"), map[string]string{"password": ts.ReadFile(args[1])}))
	}
}

// visit is what the owner does with a link; it gives the page at the end.
func visit(link, user, password string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b := browser.New(browser.Options{})
	if err := b.Open(ctx, link); err != nil {
		return "", err
	}
	button := "Continue to sign in"
	if b.Page().Contains("Try again as") {
		button = "Try again as"
	}
	if err := b.Submit(ctx, browser.Button(button), nil); err != nil {
		return "", err
	}
	if err := b.Follow(ctx, "go there now"); err != nil {
		return "", err
	}
	if err := b.SignIn(ctx, user, password); err != nil {
		return "", err
	}
	if b.Shows() == "consent" {
		if err := b.Consent(ctx, true); err != nil {
			return "", err
		}
	}
	return b.Page().Text, nil
}

// deliver puts a message of a file into a mailbox of the tenant: deliver ADDRESS FILE.
func deliver(ts *testscript.TestScript, _ bool, args []string) {
	raw := strings.ReplaceAll(ts.ReadFile(args[1]), "\n", "\r\n")
	_, err := ts.Value(stageKey{}).(*stage).box.Exchange().Deliver(args[0], []byte(raw))
	ts.Check(err)
}
