package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"text/template"
)

const postfixPackages = "postfix postfix-lmdb"

// PostfixOptions says how a Postfix treats what is submitted to it.
type PostfixOptions struct {
	// Replies are given for a recipient instead of taking the mail, such as "550 5.1.1 No such user" or "450 4.2.1 Try later".
	Replies map[string]string
}

// Postfix is a running submission server (RFC 6409) on 127.0.0.1. One signs in to it as to its Dovecot, with the same
// mechanisms, and what it takes, for whatever address, it hands to that Dovecot. Its certificate is for localhost, of the
// Dovecot's authority.
type Postfix struct {
	CA *CA
	// Submission has STARTTLS, without which nothing is taken; Submissions has implicit TLS (RFC 8314).
	Submission, Submissions int

	dir    string
	master string
	server *kept
}

// StartPostfix starts a submission server in front of a mail store. Its master process needs root; without, the test is skipped.
func StartPostfix(t testing.TB, store *Dovecot, options PostfixOptions) *Postfix {
	t.Helper()
	check := program(t, "postfix", postfixPackages, "/usr/sbin/postfix")
	if os.Geteuid() != 0 {
		t.Skip("Postfix's master process runs as root only")
	}
	p := &Postfix{
		CA: store.CA, dir: folder(t, "postfix", nil), Submission: FreePort(t), Submissions: FreePort(t),
		master: program(t, "master", postfixPackages, "/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"),
	}
	p.configure(t, store, options)
	// Makes the queue's folders, with the owners they need.
	if output, err := exec.Command(check, "-c", p.dir, "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v\n%s", err, output)
	}
	t.Cleanup(func() {
		p.Stop()
		showLogOnFailure(t, "postfix", p.dir+"/mail.log")
		if err := os.RemoveAll(p.dir); err != nil {
			t.Errorf("remove the folder of Postfix: %v", err)
		}
	})
	if err := p.Start(); err != nil {
		t.Fatalf("%v\n%s", err, tail(p.dir+"/mail.log", 40))
	}
	return p
}

// Start starts the server on its ports and its queue, and waits until it answers.
func (p *Postfix) Start() error {
	if p.server != nil {
		return nil
	}
	server, err := start(command{name: "postfix", args: []string{p.master, "-c", p.dir, "-d"}, dir: p.dir, signal: "TERM"})
	if err != nil {
		return err
	}
	for _, port := range []int{p.Submission, p.Submissions} {
		if err := server.await(listens(port)); err != nil {
			server.stop()
			return err
		}
	}
	p.server = server
	return nil
}

// Stop ends the server; what is in its queue stays.
func (p *Postfix) Stop() {
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}

var postfixMain = template.Must(template.New("main.cf").Parse(`
compatibility_level = 3.6
queue_directory = {{.Dir}}/queue
data_directory = {{.Dir}}/data
daemon_directory = {{.Daemons}}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {{.Dir}}/mail.log
maillog_file_prefixes = {{.Dir}}

myhostname = submission.example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
alias_database =
mynetworks =
biff = no

default_transport = lmtp:inet:127.0.0.1:{{.LMTP}}
relay_transport = $default_transport
smtp_dns_support_level = disabled

smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {{.Dir}}/server-chain.pem
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{{.Auth}}
smtpd_sasl_security_options = noanonymous
smtpd_client_restrictions =
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = {{range .Replies}}check_recipient_access inline:{ { {{.Address}} = {{.Reply}} } }, {{end}}permit
smtpd_client_connection_count_limit = 1000
smtpd_error_sleep_time = 0
minimal_backoff_time = 1s
queue_run_delay = 1s
`))

var postfixMaster = template.Must(template.New("master.cf").Parse(`
127.0.0.1:{{.Submission}} inet n - n - 200 smtpd
127.0.0.1:{{.Submissions}} inet n - n - 200 smtpd
  -o smtpd_tls_wrappermode=yes
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
lmtp      unix  - - n - - lmtp
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
showq     unix  n - n - - showq
postlog   unix-dgram n - n - 1 postlogd
`))

// configure writes the configuration and makes the folders that Postfix wants to find.
func (p *Postfix) configure(t testing.TB, store *Dovecot, options PostfixOptions) {
	t.Helper()
	certificate, key := p.CA.ServerPEM(t)
	writeFile(t, p.dir+"/server-chain.pem", string(key)+string(certificate), 0o600)

	type reply struct{ Address, Reply string }
	replies := []reply{}
	for address, text := range options.Replies {
		replies = append(replies, reply{address, text})
	}
	sort.Slice(replies, func(i, j int) bool { return replies[i].Address < replies[j].Address })

	for name, values := range map[*template.Template]any{
		postfixMaster: p,
		postfixMain: map[string]any{
			"Dir": p.dir, "Daemons": filepath.Dir(p.master), "LMTP": store.LMTP, "Auth": store.AuthPort, "Replies": replies,
		},
	} {
		var text strings.Builder
		if err := name.Execute(&text, values); err != nil {
			t.Fatalf("write %s: %v", name.Name(), err)
		}
		writeFile(t, filepath.Join(p.dir, name.Name()), text.String(), 0o644)
	}
	owner := systemUser(t, "postfix")
	for _, name := range []string{"queue", "data"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(p.dir+"/data", int(owner.uid), int(owner.gid)); err != nil {
		t.Fatal(err)
	}
}
