package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

// pollEvery is how often a link's outcome is asked for.
const pollEvery = time.Second

func (s *shell) authorize() *cobra.Command {
	var noWait bool
	var expiresIn, allowSubject string
	c := s.withJSON(&cobra.Command{
		Use: "authorize ADDRESS", Short: "Make the one-time link by which the owner lets Mailgrant in, and wait", Args: arguments("ADDRESS"),
		ValidArgsFunction: s.completeAddresses,
		Long: `Makes a one-time link for the mailbox's owner, prints it (with a QR code on a
terminal), and waits until they have signed in. The owner opens it anywhere and
needs no login to Mailgrant. Whoever signs in, the mailbox is connected only
when it is the right person and the mailbox opens.

Interrupting the wait leaves the link valid. Exit code 0 when the mailbox is
authorised, 1 when the link was refused, expired or was cancelled, or when the
right person signed in but the mailbox could not be opened yet ("quarantined" in
JSON). With --json one object a line is printed: the link, then the outcome.`,
		Example: `  mailgrant authorize servicedesk@contoso.example
  mailgrant authorize servicedesk@contoso.example --no-wait --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.LinkRequest{AllowSubject: allowSubject}
			if expiresIn != "" {
				d, err := duration("expires-in", expiresIn)
				if err != nil {
					return err
				}
				r.ExpiresIn = d.String()
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			l, err := c.CreateLink(cmd.Context(), args[0], r)
			if err != nil {
				return err
			}
			if err := s.showLink(args[0], l); err != nil || noWait {
				return err
			}
			return s.await(cmd.Context(), c, args[0], l)
		},
	})
	f := c.Flags()
	f.BoolVar(&noWait, "no-wait", false, "print the link and do not wait for the outcome")
	f.StringVar(&expiresIn, "expires-in", "", "how long the link is good, as `DURATION` such as 24h or 7d")
	f.StringVar(&allowSubject, "allow-subject", "", "the `IDENTITY` that may take the present one's place, as a refusal named it")
	return s.asking(c)
}

func (s *shell) showLink(address string, l client.Link) error {
	if s.json {
		return s.line(l)
	}
	s.say("%s", plain(l.URL))
	if s.outTerminal {
		if code := drawQR(l.URL); code != "" {
			s.say("\n%s", code)
		}
	}
	s.remark("Send it to the owner of %s. It is good until %s and can be used once.", plain(address), exact(l.ExpiresAt))
	return nil
}

// await asks until the link is settled. A server that cannot be reached for a
// while is asked again; the link does not depend on this command.
func (s *shell) await(ctx context.Context, c *client.Client, address string, l client.Link) error {
	if !s.json {
		s.remark("Waiting for the sign-in; Ctrl-C stops waiting and leaves the link valid.")
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	told, lost := "", false
	for {
		a, err := c.Authorization(ctx, address, l.ID)
		var gone *client.Unreachable
		switch {
		case ctx.Err() != nil:
			s.remark("No longer waiting. The link stays valid until %s; “mailgrant mailbox show %s” tells how it went.", exact(l.ExpiresAt), plain(address))
			return errReported
		case errors.As(err, &gone):
			if !lost {
				s.remark("The server does not answer just now; asking again.")
			}
			lost = true
		case err != nil:
			return err
		case a.State != client.LinkPending:
			return s.outcome(address, a)
		default:
			lost = false
			if t := a.LastAttempt; t != nil && t.AttemptID != told && !s.json {
				told = t.AttemptID
				s.remark("%s", s.paint(bad, "An attempt was refused: "+plain(t.Text)))
				s.said(t.Reply)
				if t.Remedy != "" {
					s.remark("  What to do: %s", plain(t.Remedy))
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// settledLink is an outcome as --json gives it.
type settledLink struct {
	client.Authorization
	Quarantined bool `json:"quarantined,omitempty"`
}

// outcome tells how it ended; anything but a connected mailbox is a failure.
func (s *shell) outcome(address string, a client.Authorization) error {
	if s.json {
		if err := s.line(settledLink{a, a.Quarantined()}); err != nil {
			return err
		}
	} else {
		s.tellOutcome(address, a)
	}
	if a.State != client.LinkGranted || a.Quarantined() {
		return errReported
	}
	return nil
}

// tellQuarantine tells of a sign-in that was right, and a mailbox that could not
// be opened yet.
func (s *shell) tellQuarantine(address string, last client.Attempt) {
	// The server's text begins with who signed in, too; once is enough.
	why := strings.TrimPrefix(last.Text, last.SignedIn+" signed in, as expected. ")
	s.remark("%s", s.paint(bad, fmt.Sprintf("%s signed in, as expected, but the mailbox is not connected yet: %s", plain(last.SignedIn), plain(why))))
	s.said(last.Reply)
	if last.Remedy != "" {
		s.remark("  What to do: %s", plain(last.Remedy))
	}
	s.remark("  Mailgrant keeps trying for up to 24 hours; “mailgrant mailbox show %s” says how it stands.", plain(address))
}

// said prints the error as a server outside gave it, where it gave one.
func (s *shell) said(reply string) {
	if reply != "" {
		s.remark("  The server outside said: %s", plain(reply))
	}
}

func (s *shell) tellOutcome(address string, a client.Authorization) {
	last := client.Attempt{}
	if a.LastAttempt != nil {
		last = *a.LastAttempt
	}
	if a.Quarantined() {
		s.tellQuarantine(address, last)
		return
	}
	switch a.State {
	case client.LinkGranted:
		s.say("%s", s.paint(good, fmt.Sprintf("%s is authorised; signed in: %s (%s).", plain(address), plain(last.SignedIn), orElse(last.Verdict, "match"))))
		return
	case client.LinkRefused:
		s.remark("The link's attempts are used up, and none was accepted.")
	case client.LinkExpired:
		s.remark("The link expired without having been used.")
	case client.LinkCancelled:
		s.remark("The link was cancelled; perhaps a newer one was made.")
	default:
		s.remark("The link ended as “%s”.", plain(a.State))
	}
	if last.Text != "" {
		s.remark("  The last attempt: %s", plain(last.Text))
	}
	s.said(last.Reply)
	if last.Subject != "" {
		s.remark("  If this person is right after all: mailgrant authorize %s --allow-subject %s", plain(address), plain(last.Subject))
	}
	if last.Remedy != "" {
		s.remark("  What to do: %s", plain(last.Remedy))
	}
}

func (s *shell) revoke() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "revoke ADDRESS", Short: "End a mailbox's grant and forget its tokens", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long: `Ends the grant of a mailbox and forgets its tokens. The mailbox stays, and can be
authorised again. What the provider itself knows of the consent is not changed.`,
		Example: "  mailgrant revoke desk@example.org --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("End the grant of %s and forget its tokens?", plain(args[0]))); err != nil {
				return err
			}
			if err := c.RevokeGrant(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The grant of %s was ended; its tokens are forgotten.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return s.asking(c)
}

func (s *shell) pause() *cobra.Command {
	return s.asking(&cobra.Command{
		Use: "pause ADDRESS", Short: "Stop receiving and sending; the grant is kept alive", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long:    "Stops receiving and sending for a mailbox. Its grant is kept alive, and messages that wait to be sent go on waiting.",
		Example: "  mailgrant pause desk@example.org",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := c.PauseMailbox(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("%s is paused; “mailgrant resume” goes on with it.", plain(args[0]))
			return nil
		},
	})
}

func (s *shell) resume() *cobra.Command {
	return s.asking(&cobra.Command{
		Use: "resume ADDRESS", Short: "Go on with a paused mailbox", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long:    "Goes on receiving and sending where it was left.",
		Example: "  mailgrant resume desk@example.org",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := c.ResumeMailbox(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("%s goes on.", plain(args[0]))
			return nil
		},
	})
}
