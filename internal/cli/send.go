package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"mime"
	"net/mail"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

// longestMessage bounds what is read to be sent; the server's own bound is near.
const longestMessage = 36 << 20

// sendFlags are a message on the command line.
type sendFlags struct {
	mailbox, from, subject, htmlFile, raw, key string
	to, cc, bcc, replyTo, attach               []string
	wait, allowEmpty                           bool
}

func (s *shell) send() *cobra.Command {
	var f sendFlags
	c := s.withJSON(&cobra.Command{
		Use: "send", Short: "Send a message: its text on the standard input, or --raw FILE", Args: noArguments,
		Long: `Hands a message over for sending and prints the submission's id. The text comes
from the standard input; --raw takes a complete message instead. From then on
Mailgrant sends it, again and again where the server says “later”, until it is
sent, refused for good, or too old. With --wait the outcome is waited for, and the
exit code is 1 unless it was sent.`,
		Example: `  echo "The backup is done." | mailgrant send --from desk@example.org --to you@example.org --subject Backup --wait
  mailgrant send --raw report.eml --idempotency-key report-2026-11`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			sub, err := s.submit(cmd, c, f)
			if err != nil {
				return err
			}
			if f.wait {
				return s.awaitSent(cmd.Context(), c, sub)
			}
			if s.json {
				return s.print(sub)
			}
			s.say("%s", plain(sub.ID))
			return nil
		},
	})
	flags := c.Flags()
	flags.StringVar(&f.from, "from", "", "sender: `ADDRESS` or 'Name <address>'")
	flags.StringArrayVar(&f.to, "to", nil, "recipient: `ADDRESS` or 'Name <address>'; may be repeated")
	flags.StringArrayVar(&f.cc, "cc", nil, "recipient of a copy: `ADDRESS`; may be repeated")
	flags.StringArrayVar(&f.bcc, "bcc", nil, "recipient whom the others do not see: `ADDRESS`; may be repeated")
	flags.StringArrayVar(&f.replyTo, "reply-to", nil, "where answers go: `ADDRESS`; may be repeated")
	flags.StringVar(&f.subject, "subject", "", "the `SUBJECT`")
	flags.StringVar(&f.htmlFile, "html-file", "", "`FILE` with the text as HTML, beside the plain one")
	flags.StringArrayVar(&f.attach, "attach", nil, "`FILE` to send along; may be repeated")
	flags.StringVar(&f.raw, "raw", "", "`FILE` with a complete message (RFC 5322), - for the standard input")
	flags.StringVar(&f.mailbox, "mailbox", "", "`ADDRESS` of the mailbox to send with; default: the one of the sender")
	flags.StringVar(&f.key, "idempotency-key", "", "a `KEY` of your own: the same key and message are accepted once only")
	flags.BoolVar(&f.allowEmpty, "allow-empty", false, "send it although it has no text, no subject and no attachment")
	flags.BoolVar(&f.wait, "wait", false, "wait until it is sent or has failed")
	return s.asking(c)
}

func (s *shell) submit(cmd *cobra.Command, c *client.Client, f sendFlags) (client.Submission, error) {
	if f.key == "" {
		// A key of its own lets the server see a call that the network repeats.
		f.key = rand.Text()
	}
	if f.raw != "" {
		for _, name := range []string{"from", "to", "cc", "bcc", "reply-to", "subject", "html-file", "attach"} {
			if cmd.Flags().Changed(name) {
				return client.Submission{}, &usageError{text: "--raw takes a complete message; --" + name + " cannot be added to it."}
			}
		}
		message, err := s.readFile(f.raw, longestMessage)
		if err != nil {
			return client.Submission{}, err
		}
		return c.SubmitRaw(cmd.Context(), f.key, f.mailbox, message)
	}
	d, err := s.draft(f)
	if err != nil {
		return client.Submission{}, err
	}
	return c.Submit(cmd.Context(), f.key, d)
}

func (s *shell) draft(f sendFlags) (client.Draft, error) {
	d := client.Draft{Mailbox: f.mailbox, Subject: f.subject}
	if f.from == "" {
		return d, missing("from", "say who sends, or give a complete message with --raw.")
	}
	if len(f.to)+len(f.cc)+len(f.bcc) == 0 {
		return d, missing("to", "say who is to get it.")
	}
	from, err := parties("from", []string{f.from})
	if err != nil {
		return d, err
	}
	d.From = from[0]
	for _, one := range []struct {
		flag string
		from []string
		into *[]client.Party
	}{{"to", f.to, &d.To}, {"cc", f.cc, &d.CC}, {"bcc", f.bcc, &d.BCC}, {"reply-to", f.replyTo, &d.ReplyTo}} {
		if *one.into, err = parties(one.flag, one.from); err != nil {
			return d, err
		}
	}
	for _, name := range f.attach {
		content, err := s.readFile(name, longestMessage)
		if err != nil {
			return d, err
		}
		d.Attachments = append(d.Attachments, client.Attachment{Filename: filepath.Base(name), ContentType: mime.TypeByExtension(filepath.Ext(name)), Content: content})
	}
	if f.htmlFile != "" {
		html, err := s.readFile(f.htmlFile, longestMessage)
		if err != nil {
			return d, err
		}
		d.HTML = string(html)
	}
	if s.inTerminal {
		s.remark("Write the text; Ctrl-D at the beginning of a line ends it.")
	}
	text, err := s.readFile("-", longestMessage)
	if err != nil {
		return d, err
	}
	d.Text = string(text)
	if strings.TrimSpace(d.Text+d.HTML+d.Subject) == "" && len(d.Attachments) == 0 && !f.allowEmpty {
		return d, &usageError{text: "The message is empty: it has no text, no subject and no attachment. Give a text on the standard input or a --subject, or add --allow-empty."}
	}
	return d, nil
}

func parties(flag string, texts []string) ([]client.Party, error) {
	var out []client.Party
	for _, text := range texts {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return nil, &usageError{text: fmt.Sprintf("--%s: “%s” is not an address; write name@domain or 'Name <name@domain>'.", flag, shorten(text, 60))}
		}
		out = append(out, client.Party{Name: a.Name, Address: a.Address})
	}
	return out, nil
}

// awaitSent asks until the submission is settled.
func (s *shell) awaitSent(ctx context.Context, c *client.Client, sub client.Submission) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	told := 0
	for !sub.Settled() {
		if sub.Attempts > told && sub.Text != "" && sub.State == "queued" {
			told = sub.Attempts
			s.remark("Not yet: %s Tried next %s.", plain(sub.Text), s.ago(sub.NextAttemptAt))
		}
		select {
		case <-ctx.Done():
			s.remark("No longer waiting; Mailgrant goes on. “mailgrant submissions show %s” tells how it went.", plain(sub.ID))
			return errReported
		case <-tick.C:
		}
		next, err := c.Submission(ctx, sub.ID)
		switch {
		case err == nil:
			sub = next
		case ctx.Err() == nil:
			return err
		}
	}
	if s.json {
		if err := s.print(sub); err != nil {
			return err
		}
	} else {
		s.showSubmission(sub)
	}
	if sub.State != "sent" {
		return errReported
	}
	return nil
}
