package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) apps() *cobra.Command {
	return s.asking(group("app", "Programs with an API key, and what they may do",
		`An app is a program that calls Mailgrant with an API key of its own. What it may
do, with which mailboxes and from where, is said when the key is made.`,
		s.appList(), s.appShow(), s.appCreate(), s.appUpdate(), s.appRenew(), s.appDelete()))
}

func (s *shell) appList() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "list", Short: "List the programs and what they may do", Args: noArguments, Example: "  mailgrant app list",
		Long: "Lists the programs: what each may do, where, until when, and when it last called. API keys are never shown again.",
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
					orElse(strings.Join(a.Networks, ","), "everywhere"), orElse(s.ends(a.ExpiresAt), "never"), orElse(s.ago(a.LastUsedAt), "never"),
				})
			}
			s.table([]string{"NAME", "MAY", "MAILBOXES", "FROM", "ENDS", "LAST USED"}, rows)
			return nil
		},
	})
}

// ends says when a key ends, or that it has.
func (s *shell) ends(t time.Time) string {
	if !t.IsZero() && !t.After(s.now()) {
		return "ended " + s.ago(t)
	}
	return s.ago(t)
}

func (s *shell) appShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show NAME", Short: "Show one program", Args: arguments("NAME"), ValidArgsFunction: s.completeApps,
		Long: "Shows one program: what it may do, where, until when, and when it last called. Its API key is never shown.", Example: "  mailgrant app show desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			a, err := c.App(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, a)
			}
			ends := orElse(s.when(a.ExpiresAt), "never")
			if !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(s.now()) {
				ends = "ended " + ends
			}
			s.pairs(pair{"Name", a.Name}, pair{"May", strings.Join(a.May, ", ")}, pair{"Mailboxes", orElse(strings.Join(a.Mailboxes, ", "), "all")},
				pair{"From", orElse(strings.Join(a.Networks, ", "), "everywhere")}, pair{"Ends", ends}, pair{"Last used", orElse(s.when(a.LastUsedAt), "never")},
				pair{"Added", s.when(a.CreatedAt)}, pair{"Added by", a.CreatedBy})
			return nil
		},
	})
}

// appFlags are what an app may do, on the command line.
type appFlags struct {
	may, mailboxes, networks []string
	end                      endFlags
}

func (f *appFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringSliceVar(&f.may, "may", nil, "what it may do: `RIGHTS` out of read, send, token, manage, with commas between")
	flags.StringArrayVar(&f.mailboxes, "mailbox", nil, "`ADDRESS` it may use; may be repeated; default: all")
	flags.StringArrayVar(&f.networks, "network", nil, "`NETWORK` it may call from, such as 10.1.0.0/16; may be repeated; default: everywhere")
	f.end.add(c)
}

// apply writes what was given into an app, and says whether that was anything.
func (f *appFlags) apply(s *shell, cmd *cobra.Command, a *client.App) (bool, error) {
	changed := cmd.Flags().Changed
	if changed("may") {
		a.May = f.may
	}
	if changed("mailbox") {
		a.Mailboxes = unlessEmpty(f.mailboxes)
	}
	if changed("network") {
		a.Networks = unlessEmpty(f.networks)
	}
	ends, given, err := f.end.read(s)
	if given {
		a.ExpiresAt = ends
	}
	return given || changed("may") || changed("mailbox") || changed("network"), err
}

// unlessEmpty is a list, or none for one empty item: that is how a list is taken back.
func unlessEmpty(items []string) []string {
	if len(items) == 1 && items[0] == "" {
		return nil
	}
	return items
}

// endFlags are when an API key ends, on the command line.
type endFlags struct{ at, in string }

func (f *endFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "expires-at", "", "when the key ends, as `DATE`, or never")
	c.Flags().StringVar(&f.in, "expires-in", "", "when the key ends, as a `DURATION` from now, such as 90d")
}

func (f *endFlags) read(s *shell) (ends time.Time, given bool, err error) {
	switch {
	case f.at != "" && f.in != "":
		return time.Time{}, false, &usageError{text: "--expires-at and --expires-in say the same; give one of them."}
	case f.at == "never":
		return time.Time{}, true, nil
	case f.at != "":
		ends, err = moment("expires-at", f.at)
		return ends, true, err
	case f.in != "":
		d, err := duration("expires-in", f.in)
		return s.now().Add(d).UTC(), true, err
	}
	return time.Time{}, false, nil
}

func (s *shell) appCreate() *cobra.Command {
	var f appFlags
	c := s.withJSON(&cobra.Command{
		Use: "create NAME", Short: "Make an API key for a program; it is shown this once", Args: arguments("NAME"),
		Long: `Makes an API key for a program and shows it this once. Give it as few rights as
it needs: read (state, events, received mail), send, token (borrow access tokens:
everything the mailbox's owner agreed to), manage (change settings).`,
		Example: `  mailgrant app create desk --may read,send --mailbox servicedesk@contoso.example
  mailgrant app create backup --may token --network 10.1.0.0/16 --expires-in 90d --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.may) == 0 {
				return missing("may", "say what it may do: read, send, token or manage.")
			}
			a := client.App{Name: args[0]}
			if _, err := f.apply(s, cmd, &a); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			a, err = c.CreateApp(cmd.Context(), a)
			if err != nil || s.json {
				return s.printIf(err, a)
			}
			s.showKey(a, "was added. Its API key")
			return nil
		},
	})
	f.add(c)
	return c
}

// showKey shows an API key, this once.
func (s *shell) showKey(a client.App, what string) {
	s.say("The app %s %s, shown this once:\n\n  %s\n", plain(a.Name), what, plain(a.APIKey))
	s.say("Keep it like a password. The program sends it as “Authorization: Bearer …”; the command line reads it from MAILGRANT_API_KEY.")
}

func (s *shell) appUpdate() *cobra.Command {
	var f appFlags
	c := s.withJSON(&cobra.Command{
		Use: "update NAME", Short: "Change what a program may do; its API key stays", Args: arguments("NAME"), ValidArgsFunction: s.completeApps,
		Long: `Changes what is given and leaves the rest; the API key stays, and the next call
with it finds the change. An empty --mailbox '' or --network '' takes the
restriction away, --expires-at never the end.`,
		Example: `  mailgrant app update desk --may read,send,token
  mailgrant app update desk --mailbox '' --expires-in 90d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var none client.App
			if given, err := f.apply(s, cmd, &none); err != nil {
				return err
			} else if !given {
				return &usageError{text: "There is nothing to change: give --may, --mailbox, --network, --expires-at or --expires-in."}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			a, err := c.App(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if _, err := f.apply(s, cmd, &a); err != nil {
				return err
			}
			a, err = c.PutApp(cmd.Context(), args[0], a)
			if err != nil || s.json {
				return s.printIf(err, a)
			}
			s.say("The app %s was changed; its API key is the same.", plain(a.Name))
			return nil
		},
	})
	f.add(c)
	return c
}

func (s *shell) appRenew() *cobra.Command {
	var end endFlags
	var yes bool
	c := s.withJSON(&cobra.Command{
		Use: "renew NAME", Short: "Give a program a new API key, shown this once; the old one stops at once", Args: arguments("NAME"), ValidArgsFunction: s.completeApps,
		Long: `Gives a program a new API key and shows it this once. The old one stops at once:
have the new one at hand where the program reads it. What the program may do
stays as it is, and so does the end of the key, unless another is given.`,
		Example: `  mailgrant app renew desk
  mailgrant app renew desk --expires-in 90d --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ends, given, err := end.read(s)
			if err != nil {
				return err
			}
			if given && ends.IsZero() {
				return &usageError{text: "--expires-at: a renewal gives a later end; “mailgrant app update” takes the end away."}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Renew the API key of %s? The present one stops at once.", plain(args[0]))); err != nil {
				return err
			}
			a, err := c.RenewApp(cmd.Context(), args[0], ends)
			if err != nil || s.json {
				return s.printIf(err, a)
			}
			s.showKey(a, "has a new API key")
			return nil
		},
	})
	end.add(c)
	addYes(c, &yes)
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
