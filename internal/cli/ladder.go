package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) test() *cobra.Command {
	var sendTo string
	c := s.withJSON(&cobra.Command{
		Use: "test ADDRESS", Short: "Climb from the settings to the opened mailbox, step by step", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long: `Tests a mailbox step by step: the settings, the provider, the grant, an access
token, whose it is; then for receiving and for sending the name, the port, TLS,
the greeting, the sign-in, and that the mailbox opens. The step that fails says
why, who has to act, and what they should do. Exit code 1 when a step failed.`,
		Example: `  mailgrant test servicedesk@contoso.example
  mailgrant test servicedesk@contoso.example --send-to me@example.org`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			tell := s.rung
			if s.json {
				tell = nil
			}
			result, err := c.Test(cmd.Context(), args[0], client.TestRequest{SendTo: sendTo}, tell)
			if err != nil {
				return err
			}
			if s.json {
				err = s.print(result)
			}
			switch {
			case err != nil:
				return err
			case !result.OK:
				return errReported
			case !s.json:
				s.say("%s", s.paint(good, "Everything works."))
			}
			return nil
		},
	})
	c.Flags().StringVar(&sendTo, "send-to", "", "send one real message to this `ADDRESS` at the end")
	return s.asking(c)
}

// rung prints one step of a test.
func (s *shell) rung(r client.Rung) {
	title := fmt.Sprintf("%-44s", plain(r.Title))
	switch {
	case r.Skipped:
		s.say("%s %s", s.paint(dim, "skipped  "+title), plain(r.Observed))
		return
	case r.OK:
		s.say("%s  %s %s", s.paint(good, "ok     "), title, plain(r.Observed))
		return
	}
	s.say("%s  %s %s", s.paint(bad, "FAILED "), title, plain(r.Observed))
	if r.Cause != "" && r.Cause != r.Observed {
		s.say("         %s", plain(r.Cause))
	}
	if said := outside(r.Detail); said != "" {
		s.say("         The server said: %s", plain(said))
	}
	if who := whoActs(r.Who); who != "" {
		s.say("         Who acts: %s", who)
	}
	if r.Remedy != "" {
		s.say("         What to do: %s", plain(r.Remedy))
	}
}
