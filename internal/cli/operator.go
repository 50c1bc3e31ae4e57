package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) operators() *cobra.Command {
	return s.asking(group("operator", "People who run Mailgrant", `Operators are the people who sign in to Mailgrant's pages. They are looked after
there, or with these commands on the server's own host, as root or the service's
user: no API key can do it.`,
		s.operatorList(), s.operatorShow(), s.operatorCreate(), s.operatorUpdate(), s.operatorDelete(), s.operatorSessions(), s.operatorSetup()))
}

// operatorState says whether somebody can sign in, in words.
func (s *shell) operatorState(o client.Operator) string {
	switch {
	case o.SetupLink != nil && o.CanSignIn:
		return "can sign in; has a link to set a new password"
	case o.CanSignIn:
		return "can sign in"
	case o.SetupLink != nil:
		return fmt.Sprintf("invited; the link is good for %s", span(o.SetupLink.ExpiresAt.Sub(s.now())))
	}
	return "invited; the link has ended"
}

func (s *shell) operatorList() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "list", Short: "List the operators", Args: noArguments, Example: "  mailgrant operator list",
		Long: "Lists the operators: whether they can sign in, and when they last did.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Operators(cmd.Context()), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 {
				s.remark("There is no operator yet; “mailgrant operator setup” prints the link with which the first one sets a password.")
				return nil
			}
			var rows [][]string
			for _, o := range all {
				rows = append(rows, []string{o.Name, s.operatorState(o), orElse(s.ago(o.LastSignedInAt), "never"), s.ago(o.CreatedAt), o.CreatedBy})
			}
			s.table([]string{"NAME", "STATE", "LAST SIGNED IN", "ADDED", "BY"}, rows)
			return nil
		},
	})
}

func (s *shell) operatorShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show NAME", Short: "Show one operator", Args: arguments("NAME"), ValidArgsFunction: s.completeOperators,
		Long: "Shows one operator. “mailgrant operator sessions” lists where they are signed in.", Example: "  mailgrant operator show anna",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			o, err := c.Operator(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, o)
			}
			s.pairs(pair{"Name", o.Name}, pair{"State", s.operatorState(o)}, pair{"Last signed in", orElse(s.when(o.LastSignedInAt), "never")},
				pair{"Added", s.when(o.CreatedAt)}, pair{"Added by", o.CreatedBy})
			return nil
		},
	})
}

func (s *shell) operatorCreate() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "create NAME", Short: "Invite an operator: print the one-time link with which they set a password", Args: arguments("NAME"),
		Long: `Adds an operator and prints, this once, the link with which they set a password.
Send it to them where only they can read it.`,
		Example: "  mailgrant operator create anna",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			o, err := c.CreateOperator(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, o)
			}
			if o.SetupLink != nil {
				s.showSetup(*o.SetupLink, fmt.Sprintf("Send it to %s, where only they can read it", plain(o.Name)))
			}
			return nil
		},
	})
}

// showSetup shows a set-up link, this once.
func (s *shell) showSetup(l client.SetupLink, what string) {
	s.say("%s", plain(l.URL))
	if s.outTerminal {
		if code := drawQR(l.URL); code != "" {
			s.say("\n%s", code)
		}
	}
	s.remark("%s. It is good for %s and can be used once.", what, span(l.ExpiresAt.Sub(s.now()).Round(time.Minute)))
}

func (s *shell) operatorUpdate() *cobra.Command {
	var newLink bool
	c := s.withJSON(&cobra.Command{
		Use: "update NAME", Short: "Make a new one-time link for an operator to set a password", Args: arguments("NAME"), ValidArgsFunction: s.completeOperators,
		Long: `With --new-link, prints a new one-time link with which the operator sets a
password. An earlier link stops working; the password they have works until the
link is used, and then all their sessions end.`,
		Example: "  mailgrant operator update anna --new-link",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !newLink {
				return missing("new-link", "what is changed about an operator is how they sign in.")
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			l, err := c.CreateOperatorSetupLink(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, l)
			}
			s.showSetup(l, fmt.Sprintf("Send it to %s, where only they can read it", plain(args[0])))
			return nil
		},
	})
	c.Flags().BoolVar(&newLink, "new-link", false, "make a new link to set a password")
	return c
}

func (s *shell) operatorDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Remove an operator; their sessions end at once", Args: arguments("NAME"), ValidArgsFunction: s.completeOperators,
		Long: "Removes an operator. Their sessions end at once. The last operator who can sign in stays.", Example: "  mailgrant operator delete anna",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Remove the operator %s? Their sessions end at once.", plain(args[0]))); err != nil {
				return err
			}
			if err := c.DeleteOperator(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The operator %s was removed; their sessions have ended.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return c
}

func (s *shell) operatorSessions() *cobra.Command {
	var end string
	var endAll bool
	c := s.withJSON(&cobra.Command{
		Use: "sessions NAME", Short: "List where an operator is signed in, and end it", Args: arguments("NAME"), ValidArgsFunction: s.completeOperators,
		Long: `Lists where an operator is signed in to the pages, the session used last first.
--end ends one by its ID, --end-all ends all of them: the next request has to
sign in.`,
		Example: "  mailgrant operator sessions anna\n  mailgrant operator sessions anna --end-all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if end != "" && endAll {
				return &usageError{text: "--end-all ends every session; leave --end out."}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			switch {
			case endAll:
				err = c.EndSessions(cmd.Context(), args[0])
			case end != "":
				err = c.EndSession(cmd.Context(), args[0], end)
			}
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Sessions(cmd.Context(), args[0]), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 {
				s.remark("%s is signed in nowhere.", plain(args[0]))
				return nil
			}
			var rows [][]string
			for _, one := range all {
				rows = append(rows, []string{one.ID, s.ago(one.SignedInAt), s.ago(one.LastSeenAt), one.From, one.Browser})
			}
			s.table([]string{"ID", "SIGNED IN", "LAST SEEN", "FROM", "BROWSER"}, rows)
			return nil
		},
	})
	c.Flags().StringVar(&end, "end", "", "end the session with this `ID`")
	c.Flags().BoolVar(&endAll, "end-all", false, "end all of them")
	return c
}

func (s *shell) operatorSetup() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "setup", Short: "Print the one-time link with which an operator chooses a name and sets a password", Args: noArguments,
		Long: `Prints a one-time link with which an operator chooses a name and a password for
the pages: the first one, or one who has forgotten the password and gives the
name they have. A new link makes the one before it unusable.`,
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
			s.showSetup(l, "Open it in a browser")
			return nil
		},
	})
}
