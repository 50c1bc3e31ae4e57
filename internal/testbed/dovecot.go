package testbed

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/emersion/go-smtp"
)

const dovecotPackages = "dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd"

// DovecotOptions says whom a Dovecot lets in. Every address has a mailbox; what differs is how one signs in to it.
type DovecotOptions struct {
	// CA issues the server's certificate; one is made when nil.
	CA *CA
	// IntrospectionURL checks access tokens by asking (RFC 7662), with the mail server's client id and secret in it; see
	// [OIDCProvider.IntrospectionURL].
	IntrospectionURL string
	// IntrospectionCA is trusted for an https IntrospectionURL.
	IntrospectionCA *CA
	// JWT checks access tokens without asking, by the provider's keys.
	JWT *OIDCProvider
	// UsernameAttribute is the claim that must equal the SASL user; "username" when empty.
	UsernameAttribute string
	// OpenIDConfigurationURL is echoed to clients whose OAUTHBEARER was refused.
	OpenIDConfigurationURL string
	// Mechanisms offered for access tokens; "xoauth2" and "oauthbearer" when empty.
	Mechanisms []string
	// Passwords lets these addresses in with PLAIN and LOGIN as well.
	Passwords map[string]string
}

// Dovecot is a running mail store on 127.0.0.1, for IMAP, POP3 and delivery by LMTP. Its certificate is for localhost.
type Dovecot struct {
	CA *CA
	// Ports: with implicit TLS, and with STARTTLS. Dovecot takes a connection within one address for secure and would let a client
	// of these tests sign in before STARTTLS too.
	IMAPS, IMAP, POP3S, POP3 int
	// LMTP takes mail for any address, without TLS or sign-in.
	LMTP int
	// AuthPort serves Dovecot's authentication protocol to Postfix.
	AuthPort int

	dir    string
	binary string
	server *kept
}

// StartDovecot starts a mail store. XOAUTH2 and OAUTHBEARER are offered when access tokens can be checked.
func StartDovecot(t testing.TB, options DovecotOptions) *Dovecot {
	t.Helper()
	binary := program(t, "dovecot", dovecotPackages, "/usr/sbin/dovecot")
	for _, part := range []string{"imap", "pop3", "lmtp"} {
		program(t, "dovecot's "+part, dovecotPackages, "/usr/lib/dovecot/"+part)
	}
	d := &Dovecot{
		CA: options.CA, dir: folder(t, "dovecot", nil), binary: binary,
		IMAPS: FreePort(t), IMAP: FreePort(t), POP3S: FreePort(t), POP3: FreePort(t), LMTP: FreePort(t), AuthPort: FreePort(t),
	}
	if d.CA == nil {
		d.CA = NewCA(t)
	}
	d.configure(t, options)
	t.Cleanup(func() {
		d.Stop()
		showLogOnFailure(t, "dovecot", filepath.Join(d.dir, "dovecot.log"))
		if err := os.RemoveAll(d.dir); err != nil {
			t.Errorf("remove the folder of Dovecot: %v", err)
		}
	})
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// Start starts the server on its ports and its mail, and waits until it answers.
func (d *Dovecot) Start() error {
	if d.server != nil {
		return nil
	}
	server, err := start(command{name: "dovecot", args: []string{d.binary, "-F", "-c", d.dir + "/dovecot.conf"}, dir: d.dir, signal: "TERM"})
	if err != nil {
		return err
	}
	for _, port := range []int{d.IMAPS, d.IMAP, d.POP3S, d.POP3, d.LMTP, d.AuthPort} {
		if err := server.await(listens(port)); err != nil {
			server.stop()
			return err
		}
	}
	d.server = server
	return nil
}

// Stop ends the server and every session; the mail stays.
func (d *Dovecot) Stop() {
	if d.server != nil {
		d.server.stop()
		d.server = nil
	}
}

// Deliver puts a message (RFC 5322, lines ending in CRLF or LF) into the inbox of an address. It is there when Deliver returns.
func (d *Dovecot) Deliver(t testing.TB, address, message string) {
	t.Helper()
	if err := d.deliver(t.Context(), address, message); err != nil {
		t.Fatalf("deliver to %s: %v", address, err)
	}
}

func (d *Dovecot) deliver(ctx context.Context, address, message string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.LMTP)))
	if err != nil {
		return err
	}
	client := smtp.NewClientLMTP(conn)
	defer closeQuietly(client)
	message = strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n")
	if err := client.SendMail("sender@example.test", []string{address}, strings.NewReader(message)); err != nil {
		return err
	}
	return client.Quit()
}

// Fill puts many messages into the inbox of an address that has none yet: as files, without any delivery.
func (d *Dovecot) Fill(t testing.TB, address string, count int, message func(i int) string) {
	t.Helper()
	owner := systemUser(t, "mail")
	own := func(path string) {
		if owner != nil {
			if err := os.Chown(path, int(owner.uid), int(owner.gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	home := filepath.Join(d.dir, "mail", strings.ToLower(address))
	for _, folder := range []string{"", "Maildir", "Maildir/tmp", "Maildir/cur", "Maildir/new"} {
		path := filepath.Join(home, folder)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		own(path)
	}
	for i := range count {
		path := filepath.Join(home, "Maildir", "cur", fmt.Sprintf("%d.M%dP1.localhost:2,", time.Now().Unix(), i))
		writeFile(t, path, message(i), 0o600)
		own(path)
	}
}

var dovecotConfiguration = template.Must(template.New("dovecot.conf").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
instance_name = {{.Name}}
log_path = /dev/stderr
default_internal_user = {{.InternalUser}}
default_internal_group = {{.InternalGroup}}
default_login_user = {{.LoginUser}}

protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = required
ssl_cert = <{{.Dir}}/server.pem
ssl_key = <{{.Dir}}/server.key
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes

auth_mechanisms = {{.Mechanisms}}
auth_username_format = %Lu
auth_failure_delay = 0
auth_verbose = yes
{{if .OAuth}}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {{.Dir}}/oauth2.conf.ext
}
{{end}}{{if .Passwords}}
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u {{.Dir}}/passwords
}
{{end}}
userdb {
  driver = static
  args = uid={{.MailUser}} gid={{.MailGroup}} home={{.Dir}}/mail/%Lu allow_all_users=yes
}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 2000

namespace inbox {
  inbox = yes
  mailbox Sent {
    auto = create
    special_use = \Sent
  }
  mailbox Drafts {
    auto = create
    special_use = \Drafts
  }
  mailbox Trash {
    auto = create
    special_use = \Trash
  }
}

service anvil {
  {{if not .Root}}chroot ={{end}}
  client_limit = 5000
  # Without this, each refused sign-in makes the next one wait longer, up to 15 seconds.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  client_limit = 5000
  inet_listener postfix {
    address = 127.0.0.1
    port = {{.Ports.AuthPort}}
  }
}
service imap-login {
  {{if not .Root}}chroot ={{end}}
  service_count = 0
  client_limit = 2000
  inet_listener imap {
    port = {{.Ports.IMAP}}
  }
  inet_listener imaps {
    port = {{.Ports.IMAPS}}
    ssl = yes
  }
}
service pop3-login {
  {{if not .Root}}chroot ={{end}}
  service_count = 0
  client_limit = 2000
  inet_listener pop3 {
    port = {{.Ports.POP3}}
  }
  inet_listener pop3s {
    port = {{.Ports.POP3S}}
    ssl = yes
  }
}
service imap {
  process_limit = 2000
}
service lmtp {
  inet_listener lmtp {
    port = {{.Ports.LMTP}}
  }
}
service stats {
  {{if not .Root}}chroot ={{end}}
  client_limit = 5000
}
`))

// configure writes the configuration into the server's folder.
func (d *Dovecot) configure(t testing.TB, options DovecotOptions) {
	t.Helper()
	oauth := options.IntrospectionURL != "" || options.JWT != nil
	mechanisms := []string{}
	if oauth {
		mechanisms = append(mechanisms, options.Mechanisms...)
		if len(options.Mechanisms) == 0 {
			mechanisms = append(mechanisms, "xoauth2", "oauthbearer")
		}
		writeFile(t, d.dir+"/oauth2.conf.ext", d.oauth2(t, options), 0o644)
	}
	if len(options.Passwords) > 0 {
		mechanisms = append(mechanisms, "plain", "login")
		lines := ""
		for address, password := range options.Passwords {
			lines += address + ":{PLAIN}" + password + "\n"
		}
		writeFile(t, d.dir+"/passwords", lines, 0o644)
	}
	if len(mechanisms) == 0 {
		t.Fatal("this Dovecot would let nobody in: give it an IntrospectionURL, JWT or Passwords")
	}
	certificate, key := d.CA.ServerPEM(t)
	writeFile(t, d.dir+"/server.pem", string(certificate), 0o644)
	writeFile(t, d.dir+"/server.key", string(key), 0o600)

	root := os.Geteuid() == 0
	values := map[string]any{
		"Dir": d.dir, "Name": filepath.Base(d.dir), "Ports": d, "OAuth": oauth, "Passwords": len(options.Passwords) > 0,
		"Mechanisms": strings.Join(mechanisms, " "), "Root": root,
		"InternalUser": "dovecot", "InternalGroup": "dovecot", "LoginUser": "dovenull", "MailUser": "mail", "MailGroup": "mail",
	}
	if !root {
		self, group := self(t)
		values["InternalUser"], values["InternalGroup"], values["LoginUser"] = self, group, self
		values["MailUser"], values["MailGroup"] = self, group
	}
	mail := d.dir + "/mail"
	if err := os.Mkdir(mail, 0o700); err != nil {
		t.Fatal(err)
	}
	if owner := systemUser(t, "mail"); owner != nil {
		if err := os.Chown(mail, int(owner.uid), int(owner.gid)); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	if err := dovecotConfiguration.Execute(&text, values); err != nil {
		t.Fatalf("write the configuration of Dovecot: %v", err)
	}
	writeFile(t, d.dir+"/dovecot.conf", text.String(), 0o644)
}

// self is the name of the user and of the group that run the test.
func self(t testing.TB) (name, group string) {
	t.Helper()
	found, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	primary, err := user.LookupGroupId(found.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return found.Username, primary.Name
}

// oauth2 is the configuration of the passdb that checks access tokens.
func (d *Dovecot) oauth2(t testing.TB, options DovecotOptions) string {
	t.Helper()
	attribute := options.UsernameAttribute
	if attribute == "" {
		attribute = "username"
	}
	lines := []string{"username_attribute = " + attribute, "username_format = %Lu", "timeout_msecs = 10000"}
	if options.OpenIDConfigurationURL != "" {
		lines = append(lines, "openid_configuration_url = "+options.OpenIDConfigurationURL)
	}
	if options.JWT == nil {
		lines = append(lines, "introspection_mode = post", "introspection_url = "+options.IntrospectionURL,
			"active_attribute = active", "active_value = true")
		if options.IntrospectionCA != nil {
			writeFile(t, d.dir+"/introspection-ca.pem", string(options.IntrospectionCA.PEM), 0o644)
			lines = append(lines, "tls_ca_cert_file = "+d.dir+"/introspection-ca.pem")
		}
		return strings.Join(lines, "\n") + "\n"
	}
	// Keys are found as PREFIX/azp/ALG/kid, with "default" for a JWT without that claim.
	for _, key := range options.JWT.Keys.Keys {
		der, err := x509.MarshalPKIXPublicKey(key.Key)
		if err != nil {
			t.Fatalf("encode the provider's key: %v", err)
		}
		place := filepath.Join(d.dir, "keys", "default", key.Algorithm)
		if err := os.MkdirAll(place, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(place, key.KeyID), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), 0o644)
	}
	lines = append(lines, "introspection_mode = local", "issuers = "+options.JWT.Issuer,
		fmt.Sprintf("local_validation_key_dict = fs:posix:prefix=%s/keys/", d.dir))
	return strings.Join(lines, "\n") + "\n"
}
