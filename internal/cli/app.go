package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) apps() *cobra.Command {
	return s.asking(group("app", "Programs with an API key, and what they may do",
		`An app is a program that calls Mailgrant with an API key of its own. What it may
do, with which mailboxes and from where, is said when the key is made.`,
		s.appList(), s.appCreate(), s.appDelete()))
}

func (s *shell) appList() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "list", Short: "List the programs and what they may do", Args: noArguments, Example: "  mailgrant app list",
		Long: "Lists the programs and what each may do, where, and until when. API keys are never shown again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Apps(cmd.Context()), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 {
				s.remark("There is no app yet; “mailgrant app create --help” says how to make an API key.")
				return nil
			}
			var rows [][]string
			for _, a := range all {
				rows = append(rows, []string{
					a.Name, strings.Join(a.May, ","), orElse(strings.Join(a.Mailboxes, ","), "all"),
					orElse(strings.Join(a.Networks, ","), "everywhere"), orElse(s.ago(a.ExpiresAt), "never"), s.ago(a.CreatedAt),
				})
			}
			s.table([]string{"NAME", "MAY", "MAILBOXES", "FROM", "ENDS", "MADE"}, rows)
			return nil
		},
	})
}

func (s *shell) appCreate() *cobra.Command {
	var may, mailboxes, networks []string
	var expires, expiresIn string
	c := s.withJSON(&cobra.Command{
		Use: "create NAME", Short: "Make an API key for a program; it is shown this once", Args: arguments("NAME"),
		Long: `Makes an API key for a program and shows it this once. Give it as few rights as
it needs: read (state, events, received mail), send, token (borrow access tokens:
everything the mailbox's owner agreed to), manage (change settings).`,
		Example: `  mailgrant app create desk --may read,send --mailbox servicedesk@contoso.example
  mailgrant app create backup --may token --network 10.1.0.0/16 --expires-in 90d --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(may) == 0 {
				return missing("may", "say what it may do: read, send, token or manage.")
			}
			a := client.App{Name: args[0], May: may, Mailboxes: mailboxes, Networks: networks}
			var err error
			switch {
			case expires != "" && expiresIn != "":
				return &usageError{text: "--expires-at and --expires-in say the same; give one of them."}
			case expires != "":
				if a.ExpiresAt, err = moment("expires-at", expires); err != nil {
					return err
				}
			case expiresIn != "":
				d, err := duration("expires-in", expiresIn)
				if err != nil {
					return err
				}
				a.ExpiresAt = s.now().Add(d).UTC()
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			a, err = c.CreateApp(cmd.Context(), a)
			if err != nil || s.json {
				return s.printIf(err, a)
			}
			s.say("The app %s was added. Its API key, shown this once:\n\n  %s\n", plain(a.Name), plain(a.APIKey))
			s.say("Keep it like a password. The program sends it as “Authorization: Bearer …”; the command line reads it from MAILGRANT_API_KEY.")
			return nil
		},
	})
	f := c.Flags()
	f.StringSliceVar(&may, "may", nil, "what it may do: `RIGHTS` out of read, send, token, manage, with commas between")
	f.StringArrayVar(&mailboxes, "mailbox", nil, "`ADDRESS` it may use; may be repeated; default: all")
	f.StringArrayVar(&networks, "network", nil, "`NETWORK` it may call from, such as 10.1.0.0/16; may be repeated; default: everywhere")
	f.StringVar(&expires, "expires-at", "", "when the key ends, as `DATE`")
	f.StringVar(&expiresIn, "expires-in", "", "when the key ends, as a `DURATION` from now, such as 90d")
	return c
}

func (s *shell) appDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Remove a program; its API key stops at once", Args: arguments("NAME"), ValidArgsFunction: s.completeApps,
		Long: "Removes a program. Its API key stops at once.", Example: "  mailgrant app delete desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Remove the app %s? Its API key stops at once.", plain(args[0]))); err != nil {
				return err
			}
			if err := c.DeleteApp(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The app %s was removed; its API key no longer works.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return c
}

func (s *shell) operators() *cobra.Command {
	setup := s.withJSON(&cobra.Command{
		Use: "setup", Short: "Print the one-time link with which an operator sets a password", Args: noArguments,
		Long: `Prints a one-time link with which an operator chooses a name and a password for
the pages. Possible on the server's own host only, for root and the service's
user. A new link makes the one before it unusable.`,
		Example: "  mailgrant operator setup",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			l, err := c.CreateSetupLink(cmd.Context())
			if err != nil || s.json {
				return s.printIf(err, l)
			}
			s.say("%s", plain(l.URL))
			s.remark("Open it in a browser within %s; it is good for one operator.", span(l.ExpiresAt.Sub(s.now())))
			return nil
		},
	})
	return s.asking(group("operator", "People who run Mailgrant", "Operators are the people who sign in to Mailgrant's pages.", setup))
}
