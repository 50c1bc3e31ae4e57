package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/sandbox"
)

func (s *shell) sandbox() *cobra.Command {
	var o sandbox.Options
	c := s.withJSON(&cobra.Command{
		Use: "sandbox", Short: "Run an imitation Microsoft 365 tenant, to test against", Args: noArguments,
		Long: `Runs an imitation Microsoft 365 tenant until it is interrupted: sign-in pages,
token endpoint, Graph's /me, and Exchange over IMAP and SMTP, with made-up people.
It needs no network and leaves nothing behind; its passwords and secrets open
nothing else. With --json everything one needs to use it is printed as one line,
the control API included, by which a test moves the clock or injects a fault.`,
		Example: `  mailgrant sandbox
  mailgrant sandbox --json --listen-http 127.0.0.1:9080 --redirect-uri http://localhost:3000/callback`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			box, err := sandbox.Start(cmd.Context(), o)
			if err != nil {
				return wrong("cli.sandbox", "", "The sandbox cannot be started.", "See what the cause says; another address is given by --listen-http, --listen-https, --listen-imap or --listen-smtp.", err)
			}
			d := box.Describe()
			if s.json {
				if err := s.line(d); err != nil {
					return err
				}
			} else {
				s.tellSandbox(d)
			}
			return box.Wait()
		},
	})
	f := c.Flags()
	f.StringVar(&o.HTTPAddr, "listen-http", "", "`HOST:PORT` of the sign-in over HTTP; default: a free port of 127.0.0.1")
	f.StringVar(&o.TLSAddr, "listen-https", "", "`HOST:PORT` of the sign-in over HTTPS; default: a free port of 127.0.0.1")
	f.StringVar(&o.IMAPAddr, "listen-imap", "", "`HOST:PORT` of IMAP; default: a free port of 127.0.0.1")
	f.StringVar(&o.SMTPAddr, "listen-smtp", "", "`HOST:PORT` of SMTP; default: a free port of 127.0.0.1")
	f.StringArrayVar(&o.RedirectURIs, "redirect-uri", nil, "`URI` to register with its apps; may be repeated; default: those of a Mailgrant with its own defaults")
	return c
}

func (s *shell) tellSandbox(d sandbox.Description) {
	s.say("%s\n", d.Notice)
	s.pairs(pair{"Sign-in", d.BaseURL}, pair{"Over HTTPS", d.TLSURL}, pair{"Issuer", d.Issuer}, pair{"Discovery", d.Discovery},
		pair{"Graph", d.GraphURL}, pair{"IMAP", d.IMAP.Address() + ", TLS " + d.IMAP.TLS}, pair{"SMTP", d.SMTP.Address() + ", TLS " + d.SMTP.TLS},
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
	s.say("\n--json prints all of it, with the certificate authority. Ctrl-C ends the sandbox.")
}
