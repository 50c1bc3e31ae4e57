package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

// rangeFlags are a span of time.
type rangeFlags struct{ since, until string }

func (f *rangeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.since, "since", "", "only those of this `TIME` and later: 2027-05-01, 2027-05-01T12:00:00Z, or 24h and 7d ago")
	c.Flags().StringVar(&f.until, "until", "", "only those of before this `TIME`")
}

func (f rangeFlags) times(now time.Time) (since, until time.Time, err error) {
	for _, one := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", f.since, &since}, {"until", f.until, &until}} {
		if one.text == "" {
			continue
		}
		if d, err := duration(one.flag, one.text); err == nil {
			*one.into = now.Add(-d)
		} else if *one.into, err = moment(one.flag, one.text); err != nil {
			return since, until, err
		}
	}
	return since, until, nil
}

// mailFlags select messages or submissions.
type mailFlags struct {
	mailbox, text string
	states        []string
	limit         int
	rangeFlags
}

func (f *mailFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.mailbox, "mailbox", "", "only those of the mailbox of this `ADDRESS`")
	c.Flags().StringVar(&f.text, "text", "", "only those with this `TEXT` in what the list shows, in capitals or not")
	c.Flags().IntVar(&f.limit, "limit", 20, "at most `N`, the newest; 0: all")
	f.rangeFlags.add(c)
}

func (f *mailFlags) filter(now time.Time) (client.MailFilter, error) {
	if f.limit < 0 {
		return client.MailFilter{}, &usageError{text: "--limit cannot be negative; 0 stands for all."}
	}
	since, until, err := f.times(now)
	return client.MailFilter{Mailbox: f.mailbox, Text: f.text, States: f.states, Since: since, Until: until, PageSize: f.limit}, err
}

func (s *shell) messages() *cobra.Command {
	return s.asking(group("messages", "Received messages", "Messages that were received, as long as they are kept.",
		s.messageList(), s.messageShow(), s.messageRaw(), s.messageAttachment()))
}

func (s *shell) messageList() *cobra.Command {
	var f mailFlags
	c := s.withJSON(&cobra.Command{
		Use: "list", Short: "List received messages, newest first", Args: noArguments,
		Long: "Lists received messages, newest first.", Example: "  mailgrant messages list --mailbox desk@example.org --limit 5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(s.now())
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Messages(cmd.Context(), filter), f.limit)
			if err != nil || s.json {
				return s.printIf(err, all)
			}
			if len(all) == 0 {
				s.remark("%s", none(filter, "No message has been received."))
				return nil
			}
			var rows [][]string
			for _, m := range all {
				rows = append(rows, []string{m.ID, s.ago(m.ReceivedAt), m.Mailbox, shorten(people(m.Parsed.From), 40), shorten(m.Parsed.Subject, 60)})
			}
			s.table([]string{"ID", "RECEIVED", "MAILBOX", "FROM", "SUBJECT"}, rows)
			return nil
		},
	})
	f.add(c)
	return c
}

// none says why a list is empty.
func none(f client.MailFilter, otherwise string) string {
	if f.Mailbox == "" && f.Text == "" && len(f.States) == 0 && f.Since.IsZero() && f.Until.IsZero() {
		return otherwise
	}
	return "Nothing is like this. Ask for less, or for a longer time."
}

func people(all []client.Party) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

func (s *shell) messageShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show ID", Short: "Show one message in its readable form", Args: arguments("ID"),
		Long:    "Shows one message: who wrote it, its text and its attachments. “messages raw” gives it as it arrived.",
		Example: "  mailgrant messages show 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			m, err := c.Message(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, m)
			}
			p := m.Parsed
			s.pairs(pair{"From", people(p.From)}, pair{"To", people(p.To)}, pair{"Cc", people(p.CC)}, pair{"Subject", p.Subject},
				pair{"Date", exactOrNone(p.Date.IsZero(), exact(p.Date))}, pair{"Received", s.when(m.ReceivedAt)},
				pair{"Mailbox", m.Mailbox + ", " + m.Folder}, pair{"Message-ID", p.MessageID}, pair{"Size", size(m.Size)}, pair{"Kept until", exact(m.ExpiresAt)},
				pair{"At the server", m.AfterReceive})
			for _, part := range p.Parts {
				s.say("Attachment %d: %s, %s, %s", part.Index, plain(orElse(part.Filename, "without a name")), plain(part.ContentType), size(part.Size))
			}
			for _, r := range p.Remarks {
				s.say("Remark: %s", plain(r))
			}
			switch {
			case p.Text != "":
				s.say("\n%s", strings.TrimRight(plainLines(p.Text), "\n"))
			case p.HTML != "":
				s.say("\nThe message has its text as HTML only; --json or “messages raw” gives it.")
			}
			return nil
		},
	})
}

func exactOrNone(none bool, text string) string {
	if none {
		return ""
	}
	return text
}

func (s *shell) messageRaw() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "raw ID", Short: "Give a message as it arrived", Args: arguments("ID"),
		Long:    "Gives a message as it arrived, byte for byte (message/rfc822).",
		Example: "  mailgrant messages raw 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f > message.eml",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			return s.download(output, func(w io.Writer) error { return c.RawMessage(cmd.Context(), args[0], w) })
		},
	}
	addOutput(c, &output)
	return c
}

func (s *shell) messageAttachment() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "attachment ID N", Short: "Give one attachment, decoded", Args: arguments("ID", "N"),
		Long:    "Gives one attachment of a message, decoded. “messages show” numbers them.",
		Example: "  mailgrant messages attachment 0197c9a2-5d0c-7c40-8000-3b7f1c2d4e5f 0 --output invoice.pdf",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 {
				return &usageError{text: fmt.Sprintf("“%s” is not the number of an attachment; they are counted from 0.", shorten(args[1], 20))}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			return s.download(output, func(w io.Writer) error { return c.Attachment(cmd.Context(), args[0], n, w) })
		},
	}
	addOutput(c, &output)
	return c
}

func addOutput(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "", "write to this `FILE`, which must not exist yet, in place of the standard output")
}

// download writes foreign bytes to a new file or the standard output. A terminal
// gets them without control characters, which could do things to it.
func (s *shell) download(output string, fetch func(io.Writer) error) error {
	if output == "" {
		if !s.outTerminal {
			return fetch(s.out)
		}
		var b bytes.Buffer
		if err := fetch(&b); err != nil {
			return err
		}
		_, err := io.WriteString(s.out, plainLines(b.String()))
		return err
	}
	f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return wrong("cli.file", "", fmt.Sprintf("The file %s cannot be made.", output), "Name one that does not exist yet, in a folder you may write to.", cause(err))
	}
	if err := errors.Join(fetch(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(output))
	}
	return nil
}
