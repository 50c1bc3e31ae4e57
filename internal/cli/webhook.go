package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) webhooks() *cobra.Command {
	return s.asking(group("webhook", "Where events and mail are delivered",
		`A webhook is a URL to which events are delivered: at least once, in order for
each mailbox, signed as the Standard Webhooks specification says. What fails is
tried again for a day and then parked; the rest goes on.`,
		s.webhookList(), s.webhookShow(), s.webhookCreate(), s.webhookUpdate(), s.webhookDelete(), s.webhookDeliveries(), s.webhookReplay(),
		s.webhookTest(), s.webhookEnable(), s.webhookDisable(), s.webhookSecret()))
}

func (s *shell) webhookList() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "list", Short: "List the webhooks", Args: noArguments, Example: "  mailgrant webhook list",
		Long: "Lists the webhooks and what each is told.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Collect(c.Webhooks(cmd.Context()), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 {
				s.remark("There is no webhook yet; “mailgrant webhook create --help” says how to add one.")
				return nil
			}
			var rows [][]string
			for _, w := range all {
				rows = append(rows, []string{w.Name, w.URL, strings.Join(w.Events, ","), orElse(strings.Join(w.Mailboxes, ","), "all"), webhookState(w), strconv.Itoa(w.Waiting), strconv.Itoa(w.Parked), s.ago(w.LastDeliveredAt)})
			}
			s.table([]string{"NAME", "URL", "EVENTS", "MAILBOXES", "STATE", "WAITING", "PARKED", "DELIVERED"}, rows)
			return nil
		},
	})
}

func (s *shell) webhookShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show NAME", Short: "Show one webhook", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: "Shows one webhook; its signing secret is never shown.", Example: "  mailgrant webhook show desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err := c.Webhook(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			s.pairs(pair{"Name", w.Name}, pair{"URL", w.URL}, pair{"Events", strings.Join(w.Events, ", ")},
				pair{"Mailboxes", orElse(strings.Join(w.Mailboxes, ", "), "all")}, pair{"State", webhookState(w)}, pair{"Off because", w.Disabled}, pair{"Off since", s.when(w.DisabledAt)},
				pair{"Waiting", s.waiting(w)}, pair{"Parked", strconv.Itoa(w.Parked)}, pair{"Last delivered", s.when(w.LastDeliveredAt)},
				pair{"Signed with both secrets until", s.when(w.SignedWithBothUntil)}, pair{"Added", s.when(w.CreatedAt)}, pair{"Changed", s.when(w.UpdatedAt)})
			return nil
		},
	})
}

// webhookState is on or off, in a word.
func webhookState(w client.Webhook) string {
	if w.Disabled == "" {
		return "on"
	}
	return "off"
}

func (s *shell) waiting(w client.Webhook) string {
	if w.Waiting == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, the longest since %s", w.Waiting, s.ago(w.WaitingSince))
}

// webhookFlags are a webhook's settings on the command line.
type webhookFlags struct {
	url, secretFile, caFile string
	events, mailboxes       []string
}

func (f *webhookFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.url, "url", "", "`URL` that events are posted to")
	flags.StringArrayVar(&f.events, "event", nil, "`KIND` of event, such as message.received, a family such as submission.*, or *; may be repeated")
	flags.StringArrayVar(&f.mailboxes, "mailbox", nil, "`ADDRESS` whose events are delivered; may be repeated; default: all")
	flags.StringVar(&f.secretFile, "secret-file", "", "`FILE` with the signing secret, - for the standard input; default: one is made, and shown once")
	flags.StringVar(&f.caFile, "ca-file", "", "`FILE` with a CA in PEM that is trusted for this URL")
}

func (f *webhookFlags) apply(s *shell, cmd *cobra.Command, w *client.Webhook) error {
	changed := cmd.Flags().Changed
	if changed("url") {
		w.URL = f.url
	}
	if changed("event") {
		w.Events = f.events
	}
	if changed("mailbox") {
		if w.Mailboxes = f.mailboxes; len(f.mailboxes) == 1 && f.mailboxes[0] == "" {
			w.Mailboxes = nil
		}
	}
	var err error
	if changed("secret-file") {
		if w.Secret, err = s.readSecret(f.secretFile); err != nil {
			return err
		}
	}
	if changed("ca-file") {
		w.CAPEM, err = s.readPEM(f.caFile)
	}
	return err
}

func (s *shell) webhookCreate() *cobra.Command {
	var f webhookFlags
	c := s.withJSON(&cobra.Command{
		Use: "create NAME", Short: "Add a webhook", Args: arguments("NAME"),
		Long: `Adds a webhook. Without --secret-file a signing secret is made and shown this
once: give it to the receiver, which checks signatures with it.`,
		Example: `  mailgrant webhook create desk --url https://desk.example/hook --event message.received --event 'submission.*'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.url == "" {
				return missing("url", "a webhook needs to know where to deliver.")
			}
			if len(f.events) == 0 {
				return missing("event", "name what is to be delivered, for example message.received.")
			}
			w := client.Webhook{Name: args[0]}
			if err := f.apply(s, cmd, &w); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err = c.CreateWebhook(cmd.Context(), w)
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			s.say("The webhook %s was added.", plain(w.Name))
			if w.Secret != "" {
				s.say("Its signing secret, shown this once:\n\n  %s\n", plain(w.Secret))
			}
			return nil
		},
	})
	f.add(c)
	return c
}

func (s *shell) webhookUpdate() *cobra.Command {
	var f webhookFlags
	c := s.withJSON(&cobra.Command{
		Use: "update NAME", Short: "Change a webhook", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: `Changes what is given and leaves the rest. A webhook that is switched off stays so
until “mailgrant webhook enable”, unless its receiver was gone (410) and it now
has another URL.`,
		Example: "  mailgrant webhook update desk --url https://desk.example/mail",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err := c.Webhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := f.apply(s, cmd, &w); err != nil {
				return err
			}
			w, err = c.PutWebhook(cmd.Context(), args[0], w)
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			s.say("The webhook %s was changed.", plain(w.Name))
			return nil
		},
	})
	f.add(c)
	return c
}

func (s *shell) webhookDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Remove a webhook and what waits for it", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: "Removes a webhook with the deliveries that wait for it.", Example: "  mailgrant webhook delete desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Remove the webhook %s and what waits for it?", plain(args[0]))); err != nil {
				return err
			}
			if err := c.DeleteWebhook(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The webhook %s was removed.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return c
}
