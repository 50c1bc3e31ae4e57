package acceptance_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// readmeCommands are the commands of a section of the README, without comments.
func readmeCommands(t *testing.T, heading string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	_, section, found := strings.Cut(string(readme), "\n"+heading+"\n")
	if !found {
		t.Fatalf("the README has no section %q", heading)
	}
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, closed := strings.Cut(block, "```")
	if !closed {
		t.Fatalf("the section %q has no commands", heading)
	}
	var commands []string
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	return commands
}

// newcomer is somebody with a fresh build, an empty folder and the README.
type newcomer struct {
	t       *testing.T
	dir     string
	env     []string
	replace *strings.Replacer // what the README makes up, by what is there
	said    bytes.Buffer      // every command with its output, to be read
}

// buildMailgrant makes the binary, as “make build” does.
func buildMailgrant(t *testing.T, dir string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "mailgrant"), "../../cmd/mailgrant")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

func (n *newcomer) command(ctx context.Context, line string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sh", "-c", n.replace.Replace(line))
	c.Dir, c.Env = n.dir, n.env
	return c
}

// does runs a command of the README and gives what it printed.
func (n *newcomer) does(line string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), realPatience)
	defer cancel()
	out, err := n.command(ctx, line).CombinedOutput()
	n.said.WriteString("$ " + line + "\n" + string(out) + "\n")
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// serves starts the server in the background until the test ends.
func (n *newcomer) serves(line string) {
	n.t.Helper()
	c := n.command(context.Background(), "exec "+line)
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	must(n.t, c.Start())
	n.t.Cleanup(func() {
		must(n.t, c.Process.Signal(syscall.SIGTERM))
		if err := c.Wait(); err != nil {
			n.t.Errorf("the server ended with: %v", err)
		}
		if n.t.Failed() {
			n.t.Logf("the server's log:\n%s", log.String())
		}
	})
	realAwait(n.t, "the server answers at its socket", func() bool {
		_, err := os.Stat(filepath.Join(n.dir, "data", "mailgrant.sock"))
		return err == nil
	})
}

var linkInText = regexp.MustCompile(`https?://\S+/(authorize|setup)/\S+`)

// authorizes runs authorize, follows its link as the owner, and waits for its word.
func (n *newcomer) authorizes(line string, follow func(link string)) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*realPatience)
	defer cancel()
	c := n.command(ctx, line)
	out, in, err := os.Pipe()
	must(n.t, err)
	c.Stdout, c.Stderr = in, in
	must(n.t, c.Start())
	must(n.t, in.Close())
	var all strings.Builder
	followed := false
	for s := bufio.NewScanner(io.TeeReader(out, &all)); s.Scan(); {
		if link := linkInText.FindString(s.Text()); link != "" && !followed {
			followed = true
			follow(link)
		}
	}
	err = c.Wait()
	n.said.WriteString("$ " + line + "\n" + linkInText.ReplaceAllString(all.String(), "https://…/authorize/…") + "\n")
	if err != nil || !followed {
		n.t.Fatalf("%s: %v\n%s", line, err, all.String())
	}
	return all.String()
}

// TestReadme_ByTheCommandLine follows the README to the letter, with servers
// that nobody here wrote in place of those that it makes up: an OpenID
// provider, Dovecot and Postfix.
func TestReadme_ByTheCommandLine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an OpenID provider, Dovecot and Postfix")
	}
	t.Parallel()
	listener, base := realListen(t)
	h := realOpenHouse(t, base+"/oauth/callback", "xoauth2", realLife)
	d := realOpenDesk(t)
	// The path of a socket has to be short, so the test's own folder will not do.
	dir, err := os.MkdirTemp("", "mailgrant-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	buildMailgrant(t, dir)
	for name, content := range map[string]string{"secret.txt": realClientSecret + "\n", "ca.pem": string(h.store.CA.PEM), "hook.key": d.secret + "\n"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	n := &newcomer{
		t: t, dir: dir,
		env: append(os.Environ(), "MAILGRANT_DATA_DIR="+filepath.Join(dir, "data"), "MAILGRANT_LISTEN="+listener.Addr().String(),
			"MAILGRANT_PUBLIC_URL="+base, "MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8"),
		replace: strings.NewReplacer(
			"https://idp.example", h.provider.Issuer, "desk@mail.example", realDeskAddress, "adele@mail.example", realAdeleAddress,
			"imap.mail.example", "localhost --receive-port "+strconv.Itoa(h.store.IMAPS)+" --receive-ca-file ca.pem",
			"smtp.mail.example", "localhost --send-port "+strconv.Itoa(h.post.Submission)+" --send-ca-file ca.pem",
			"https://desk.example/hook", d.url+" --secret-file hook.key",
		),
	}
	must(t, listener.Close())

	start := readmeCommands(t, "## Your first real mailbox")
	if !slices.Equal(start, []string{"make build", "./mailgrant serve"}) {
		t.Fatalf("the README begins with %q", start)
	}
	n.serves(start[1])
	if link := linkInText.FindString(n.does("./mailgrant operator setup")); link == "" {
		t.Error("operator setup prints no link")
	}
	said := map[string]string{}
	for _, line := range readmeCommands(t, "### By the command line") {
		word := strings.Fields(line[strings.Index(line, "./mailgrant"):])[1]
		if word == "authorize" {
			said[word] = n.authorizes(line, func(link string) {
				window := browser.New(browser.Options{})
				realPress(t, window, link)
				must(t, window.Submit(t.Context(), browser.Action("/login"), map[string]string{"login": "desk", "password": "desk-password"}))
				must(t, window.Submit(t.Context(), browser.Action("/confirm"), nil))
			})
			continue
		}
		if word == "send" { // something has arrived by then, and the webhook was told of it
			h.store.Deliver(t, realDeskAddress, realMessage(realAdeleAddress, realDeskAddress, "The printer is on fire"))
			d.received(t, "The printer is on fire")
		}
		said[word] += n.does(line)
	}
	for word, want := range map[string][]string{
		"provider": {base + "/oauth/callback"}, "authorize": {"is authorised", "match"}, "test": {"Everything works"},
		"messages": {"The printer is on fire"}, "submissions": {realAdeleAddress}, "events": {"grant.created"},
	} {
		for _, text := range want {
			if !strings.Contains(said[word], text) {
				t.Errorf("%s does not say %q:\n%s", word, text, said[word])
			}
		}
	}
	if token := strings.TrimSpace(said["token"]); token == "" || strings.ContainsAny(token, " \n") {
		t.Error("token prints more or less than an access token")
	}
	realAwait(t, "the message is in the recipient's inbox", func() bool { return slices.Contains(h.subjects(t), "Your printer") })
	t.Logf("what the newcomer saw:\n%s", strings.ReplaceAll(n.said.String(), strings.TrimSpace(said["token"]), "…"))
}

// TestReadme_NoMailboxAtHand follows the README's lines for those who have no
// mailbox: the sandbox, its provider and its service desk's mailbox.
func TestReadme_NoMailboxAtHand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the binary")
	}
	t.Parallel()
	listener, base := realListen(t)
	dir, err := os.MkdirTemp("", "mailgrant-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	buildMailgrant(t, dir)
	n := &newcomer{
		t: t, dir: dir,
		env:     append(os.Environ(), "MAILGRANT_DATA_DIR="+filepath.Join(dir, "data"), "MAILGRANT_LISTEN="+listener.Addr().String(), "MAILGRANT_PUBLIC_URL="+base),
		replace: strings.NewReplacer("./mailgrant sandbox", "./mailgrant sandbox --redirect-uri "+base+"/oauth/callback", "127.0.0.1:8026", freeAddress(t), "8993", freePort(t), "8587", freePort(t)),
	}
	must(t, listener.Close())
	n.serves("./mailgrant serve")
	lines := readmeCommands(t, "### No mailbox at hand?")
	box := n.command(context.Background(), "exec "+lines[0])
	must(t, box.Start())
	t.Cleanup(func() {
		must(t, box.Process.Signal(syscall.SIGTERM))
		must(t, box.Wait())
	})
	realAwait(t, "the sandbox has written its files", func() bool {
		secret, err := os.ReadFile(filepath.Join(dir, "sandbox-files", "secret.txt"))
		return err == nil && len(secret) > 0
	})
	said := map[string]string{}
	for _, line := range lines[1:] {
		word := strings.Fields(line[strings.Index(line, "./mailgrant"):])[1]
		if word != "authorize" {
			said[word] += n.does(line)
			continue
		}
		said[word] = n.authorizes(line, func(link string) {
			window := browser.New(browser.Options{})
			realPress(t, window, link)
			must(t, window.SignIn(t.Context(), directory.StoryDesk, directory.StoryDeskPassword))
		})
	}
	for word, want := range map[string]string{
		"provider": "found nothing wrong", "authorize": "is authorised", "test": "Everything works", "submissions": directory.StoryAdele,
	} {
		if !strings.Contains(said[word], want) {
			t.Errorf("%s does not say %q:\n%s", word, want, said[word])
		}
	}
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	for _, who := range []string{directory.StoryDesk, directory.StoryDeskPassword, directory.StoryAdele, directory.StoryAdelePassword} {
		if !strings.Contains(string(readme), who) {
			t.Errorf("the README does not say %q, which signing in takes", who)
		}
	}
	t.Logf("what the newcomer saw:\n%s", n.said.String())
}

// freeAddress is one of 127.0.0.1 at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return l.Addr().String()
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddress(t))
	must(t, err)
	return port
}
