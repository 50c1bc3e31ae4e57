package cli

import (
	"context"
	"crypto/rand"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) submissions() *cobra.Command {
	return s.asking(group("submissions", "Messages handed over for sending", "Messages that were handed over for sending, and where each stands.",
		s.submissionList(), s.submissionShow(), s.submissionRaw(), s.submissionRetry(), s.submissionCancel(), s.submissionAgain()))
}

func (s *shell) submissionList() *cobra.Command {
	var f mailFlags
	c := s.withJSON(&cobra.Command{
		Use: "list", Short: "List submissions, newest first", Args: noArguments,
		Long:    "Lists submissions, newest first, with where each stands.",
		Example: "  mailgrant submissions list --limit 5\n  mailgrant submissions list --state failed --state expired --since 7d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(s.now())
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Submissions(cmd.Context(), filter), f.limit)
			if err != nil || s.json {
				return s.printIf(err, all)
			}
			if len(all) == 0 {
				s.remark("%s", none(filter, "Nothing has been handed over for sending."))
				return nil
			}
			var rows [][]string
			for _, sub := range all {
				rows = append(rows, []string{sub.ID, s.ago(sub.CreatedAt), sub.Mailbox, sub.State, shorten(strings.Join(sub.Envelope.ForwardPaths, ", "), 40), shorten(sub.Subject, 50)})
			}
			s.table([]string{"ID", "ACCEPTED", "MAILBOX", "STATE", "TO", "SUBJECT"}, rows)
			return nil
		},
	})
	f.add(c)
	c.Flags().StringArrayVar(&f.states, "state", nil, "only those in this `STATE`: queued, sending, sent, failed or expired; may be repeated")
	return c
}

func (s *shell) submissionShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show ID", Short: "Show where a submission stands", Args: arguments("ID"),
		Long: "Shows where a submission stands, what the mail server answered, and what to do.", Example: "  mailgrant submissions show 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			sub, err := c.Submission(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, sub)
			}
			s.showSubmission(sub)
			return nil
		},
	})
}

func (s *shell) showSubmission(sub client.Submission) {
	doubled := ""
	if sub.PossiblyDuplicated {
		doubled = "yes: the line broke before the server's answer, and it may have been sent twice"
	}
	next := s.when(sub.NextAttemptAt)
	if sub.Settled() {
		next = ""
	}
	s.pairs(pair{"ID", sub.ID}, pair{"State", sub.State}, pair{"Mailbox", sub.Mailbox}, pair{"To", strings.Join(sub.Envelope.ForwardPaths, ", ")},
		pair{"Subject", sub.Subject}, pair{"Message-ID", sub.MessageID}, pair{"Size", size(sub.Size)}, pair{"Accepted", s.when(sub.CreatedAt)},
		pair{"Attempts", strconv.Itoa(sub.Attempts)}, pair{"Next attempt", next}, pair{"Settled", s.when(sub.SettledAt)},
		pair{"Server's reply", sub.Reply}, pair{"What is wrong", sub.Text}, pair{"What to do", sub.Remedy}, pair{"Possibly twice", doubled})
}

func (s *shell) submissionRaw() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "raw ID", Short: "Give the message of a submission as it is sent", Args: arguments("ID"),
		Long:    "Gives the message of a submission as it is sent, byte for byte (message/rfc822).",
		Example: "  mailgrant submissions raw 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f > message.eml",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			return s.download(output, func(w io.Writer) error { return c.RawSubmission(cmd.Context(), args[0], w) })
		},
	}
	addOutput(c, &output)
	return c
}

// actOn is a command that does something to one submission and tells how it stands.
func (s *shell) actOn(use, short, long string, act func(context.Context, *client.Client, string) (client.Submission, error), said string) *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: use + " ID", Short: short, Long: long, Args: arguments("ID"),
		Example: "  mailgrant submissions " + use + " 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			sub, err := act(cmd.Context(), c, args[0])
			if err != nil || s.json {
				return s.printIf(err, sub)
			}
			s.remark("%s", said)
			s.showSubmission(sub)
			return nil
		},
	})
}

func (s *shell) submissionRetry() *cobra.Command {
	return s.actOn("retry", "Try a waiting submission at once", `Makes a submission that waits due at once, whatever it waits for, except for a
wait that the provider asked for. One that has ended is sent again with
“submissions again”.`, func(ctx context.Context, c *client.Client, id string) (client.Submission, error) {
		return c.RetrySubmission(ctx, id)
	}, "It is tried at once.")
}

func (s *shell) submissionCancel() *cobra.Command {
	return s.actOn("cancel", "Call off a waiting submission", `Calls a submission off that waits: it fails with the cause submission.cancelled and
is not sent. One that is being sent right now cannot be called off.`, func(ctx context.Context, c *client.Client, id string) (client.Submission, error) {
		return c.CancelSubmission(ctx, id)
	}, "It is called off and will not be sent.")
}

func (s *shell) submissionAgain() *cobra.Command {
	return s.actOn("again", "Send a failed or expired submission again", `Sends the message of a submission that failed or expired again, to the same
recipients, as a new submission.`, func(ctx context.Context, c *client.Client, id string) (client.Submission, error) {
		return c.SendAgain(ctx, rand.Text(), id)
	}, "It is handed over again, as a new submission:")
}
