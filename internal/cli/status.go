package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) status() *cobra.Command {
	return s.asking(s.withJSON(&cobra.Command{
		Use: "status", Short: "Say how everything stands and what needs attention", Args: noArguments,
		Long: `Says how many mailboxes stand where, what came, went and was renewed in the last
day, and what needs attention: for each, why, who has to act, and what to do.
Exit code 1 when something needs attention.`,
		Example: "  mailgrant status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			o, err := c.Overview(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				err = s.print(o)
			} else {
				s.showOverview(o)
			}
			if err == nil && len(o.Attention) > 0 {
				return errReported
			}
			return err
		},
	}))
}

func (s *shell) showOverview(o client.Overview) {
	var states []string
	for _, name := range mailboxStates() {
		if n := o.States[name]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, standingInWords(name, 0)))
		}
	}
	var day client.Hour
	for _, h := range o.Hours {
		day.Received, day.Sent, day.Refreshed, day.RefreshFailed = day.Received+h.Received, day.Sent+h.Sent, day.Refreshed+h.Refreshed, day.RefreshFailed+h.RefreshFailed
	}
	s.pairs(
		pair{"Mailboxes", fmt.Sprint(o.Mailboxes)},
		pair{"States", strings.Join(states, ", ")},
		pair{"In the last day", fmt.Sprintf("%d received, %d sent, %d renewals, %d renewals failed", day.Received, day.Sent, day.Refreshed, day.RefreshFailed)},
	)
	if len(o.Attention) == 0 {
		s.say("\nNothing needs attention.")
		return
	}
	for _, m := range o.Attention {
		about := m.Mailbox + m.Provider + m.Webhook + m.App
		if about != "" {
			about += ": "
		}
		s.say("\n%s", s.paint(bad, plain(about+m.Title)))
		s.say("  %s", plain(m.Text))
		if !m.Since.IsZero() {
			s.say("  Since: %s", s.when(m.Since))
		}
		if !m.Until.IsZero() {
			s.say("  Until: %s", s.when(m.Until))
		}
		if who := whoActs(m.Who); who != "" {
			s.say("  Who acts: %s", who)
		}
		s.say("  What to do: %s", plain(m.Remedy))
	}
	if o.AttentionMore > 0 {
		s.say("\n%d more mailboxes need attention; “mailgrant mailbox list --state” finds them.", o.AttentionMore)
	}
}

// mailboxStates lists the states of mailboxes, the most urgent first.
func mailboxStates() []string {
	return []string{"dead", "suspended", "quarantined", "failing", "stopped", "unauthorised", "paused", "revoked", "connected"}
}

// standingInWords says a state for people.
func standingInWords(state string, failures int) string {
	switch state {
	case "dead":
		return "must be authorised again"
	case "suspended":
		return "suspended: verify anew"
	case "quarantined":
		return "in quarantine"
	case "failing":
		if failures > 0 {
			return fmt.Sprintf("renewal failing (%d)", failures)
		}
		return "renewal failing"
	case "stopped":
		return "receiving stopped"
	case "unauthorised":
		return "not authorised yet"
	}
	return state
}
