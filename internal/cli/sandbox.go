package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func (s *shell) sandbox() *cobra.Command {
	var o sandbox.Options
	var folder string
	c := s.withJSON(&cobra.Command{
		Use: "sandbox", Short: "Run an imitation Microsoft 365 tenant, to test against", Args: noArguments,
		Long: `Runs an imitation Microsoft 365 tenant until it is interrupted: sign-in pages,
token endpoint, Graph's /me, and Exchange over IMAP, POP3 and SMTP, with made-up people.
It needs no network and leaves nothing behind; its passwords and secrets open
nothing else. With --files it writes the client secret and the certificate
authority where the commands read them that connect a mailbox of it, and prints
those commands. With --json everything one needs to use it is printed as one line,
the control API included, by which a test moves the clock or injects a fault.`,
		Example: `  mailgrant sandbox
  mailgrant sandbox --files sandbox-files
  mailgrant sandbox --json --listen-http 127.0.0.1:9080 --redirect-uri http://localhost:3000/callback`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			box, err := sandbox.Start(cmd.Context(), o)
			if err != nil {
				return wrong("cli.sandbox", "", "The sandbox cannot be started.", "See what the cause says; another address is given by --listen-http, --listen-https, --listen-imap, --listen-pop3 or --listen-smtp.", err)
			}
			d := box.Describe()
			if folder != "" {
				if err := writeSandboxFiles(d, folder); err != nil {
					return errors.Join(wrong("cli.sandbox_files", "", "The sandbox's files cannot be written.", "Name a folder that you may write with --files.", err), box.Close())
				}
			}
			if s.json {
				if err := s.line(d); err != nil {
					return err
				}
			} else {
				s.tellSandbox(d, folder)
			}
			return box.Wait()
		},
	})
	f := c.Flags()
	f.StringVar(&o.HTTPAddr, "listen-http", "", "`HOST:PORT` of the sign-in over HTTP; default: a free port of 127.0.0.1")
	f.StringVar(&o.TLSAddr, "listen-https", "", "`HOST:PORT` of the sign-in over HTTPS; default: a free port of 127.0.0.1")
	f.StringVar(&o.IMAPAddr, "listen-imap", "", "`HOST:PORT` of IMAP; default: a free port of 127.0.0.1")
	f.StringVar(&o.POP3Addr, "listen-pop3", "", "`HOST:PORT` of POP3; default: a free port of 127.0.0.1")
	f.StringVar(&o.SMTPAddr, "listen-smtp", "", "`HOST:PORT` of SMTP; default: a free port of 127.0.0.1")
	f.StringVar(&folder, "files", "", "`FOLDER` to write secret.txt and ca.pem to, and print the commands that connect a mailbox with them")
	f.StringArrayVar(&o.RedirectURIs, "redirect-uri", nil, "`URI` to register with its apps; may be repeated; default: those of a Mailgrant with its own defaults")
	return c
}

// The files that provider create reads.
const (
	sandboxSecretFile = "secret.txt"
	sandboxCAFile     = "ca.pem"
)

func writeSandboxFiles(d sandbox.Description, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, sandboxCAFile), []byte(d.CertificateAuthority), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, sandboxSecretFile), []byte(directory.StoryClientSecret+"\n"), 0o600)
}

// sandboxCommands connect the mailbox of the sandbox's service desk.
func sandboxCommands(d sandbox.Description, folder string) []string {
	in := func(name string) string {
		return "'" + strings.ReplaceAll(filepath.Join(folder, name), "'", `'\''`) + "'"
	}
	return []string{
		fmt.Sprintf("mailgrant provider create sandbox --kind microsoft --tenant %s --endpoint authority=%s --endpoint graph=%s --client-id %s --client-secret-file %s --ca-file %s",
			directory.StoryDomain, d.BaseURL, d.GraphURL, directory.StoryClientID, in(sandboxSecretFile), in(sandboxCAFile)),
		fmt.Sprintf("mailgrant mailbox create %s --provider sandbox --receive-host %s --receive-port %d --send-host %s --send-port %d",
			directory.StoryDesk, d.IMAP.Host, d.IMAP.Port, d.SMTP.Host, d.SMTP.Port),
		"mailgrant authorize " + directory.StoryDesk,
	}
}

func (s *shell) tellSandbox(d sandbox.Description, folder string) {
	s.say("%s\n", d.Notice)
	s.pairs(pair{"Sign-in", d.BaseURL}, pair{"Over HTTPS", d.TLSURL}, pair{"Issuer", d.Issuer}, pair{"Discovery", d.Discovery},
		pair{"Graph", d.GraphURL}, pair{"IMAP", d.IMAP.Address() + ", TLS " + d.IMAP.TLS}, pair{"POP3", d.POP3.Address() + ", TLS " + d.POP3.TLS}, pair{"SMTP", d.SMTP.Address() + ", TLS " + d.SMTP.TLS},
		pair{"Control API", d.ControlURL}, pair{"Control key", d.ControlKey})
	var rows [][]string
	for _, u := range d.Users {
		rows = append(rows, []string{u.UPN, u.Password, u.DisplayName})
	}
	s.say("\nPeople:")
	s.table([]string{"SIGNS IN AS", "PASSWORD", "NAME"}, rows)
	rows = nil
	for _, r := range d.Registrations {
		for _, secret := range r.Secrets {
			rows = append(rows, []string{r.Name, r.ClientID, secret.Value, fmt.Sprintf("%d", len(r.RedirectURIs))})
		}
	}
	s.say("\nApp registrations:")
	s.table([]string{"NAME", "CLIENT ID", "CLIENT SECRET", "REDIRECT URIS"}, rows)
	if folder != "" {
		s.say("\nTo connect the service desk's mailbox, with the files in %s:\n", plain(folder))
		for _, line := range sandboxCommands(d, folder) {
			s.say("%s", plain(line))
		}
		s.say("\nOpen the link and sign in as %s, password %s. Sign in as %s to see it refused.", directory.StoryDesk, directory.StoryDeskPassword, directory.StoryAdele)
	}
	s.say("\n--json prints all of it, with the certificate authority. Ctrl-C ends the sandbox.")
}
