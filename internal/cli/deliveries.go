package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) webhookDeliveries() *cobra.Command {
	var f client.DeliveryFilter
	var limit int
	c := s.withJSON(&cobra.Command{
		Use: "deliveries NAME [ID]", Short: "List what is delivered, or show one delivery", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: s.completeWebhooks,
		Long: `Lists the deliveries of a webhook, the newest first: which event, how often it was
tried, what the receiver answered, and when it is tried next. With an ID it shows
that delivery: its headers and its body as they are sent, and every attempt.

pending deliveries wait for their turn or for the next attempt; parked ones
failed for a day and wait for “mailgrant webhook replay”.`,
		Example: `  mailgrant webhook deliveries desk --state parked
  mailgrant webhook deliveries desk 0195b2c4-7f7e-7000-8000-000000000000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return &usageError{text: "--limit cannot be negative; 0 stands for all."}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				d, err := c.Delivery(cmd.Context(), args[0], args[1])
				if err != nil || s.json {
					return s.printIf(err, d)
				}
				s.tellDelivery(d)
				return nil
			}
			f.PageSize = limit
			all, err := client.Collect(c.Deliveries(cmd.Context(), args[0], f), limit)
			if err != nil || s.json {
				return s.printIf(err, all)
			}
			if len(all) == 0 {
				s.remark("There is no such delivery.")
				return nil
			}
			var rows [][]string
			for _, d := range all {
				rows = append(rows, []string{d.ID, d.Kind, d.Mailbox, s.deliveryState(d), strconv.Itoa(d.Attempts), answered(d), s.ago(d.CreatedAt)})
			}
			s.table([]string{"ID", "EVENT", "MAILBOX", "STATE", "ATTEMPTS", "ANSWER", "HAPPENED"}, rows)
			return nil
		},
	})
	flags := c.Flags()
	flags.StringVar(&f.State, "state", "", "only those in this `STATE`: pending, delivered or parked")
	flags.StringVar(&f.Mailbox, "mailbox", "", "only those of the mailbox of this `ADDRESS`")
	flags.IntVar(&limit, "limit", 20, "at most `N`; 0: all")
	return c
}

// deliveryState says where a delivery stands, and when it is tried next.
func (s *shell) deliveryState(d client.Delivery) string {
	switch {
	case d.State != "pending":
		return d.State
	case d.Attempts == 0:
		return "waits for its turn"
	case d.NextAttemptAt.After(s.now()):
		return "tried " + s.ago(d.NextAttemptAt)
	}
	return "tried next"
}

// answered says what the receiver did last.
func answered(d client.Delivery) string {
	if d.LastStatus != 0 {
		return strconv.Itoa(d.LastStatus)
	}
	return shorten(d.LastError, 60)
}

func (s *shell) tellDelivery(d client.Delivery) {
	s.pairs(pair{"Delivery", d.ID}, pair{"Event", d.Kind}, pair{"Mailbox", d.Mailbox}, pair{"What happened", d.Text},
		pair{"State", s.deliveryState(d)}, pair{"Since", s.when(d.Since)}, pair{"Attempts", strconv.Itoa(d.Attempts)}, pair{"Happened", s.when(d.CreatedAt)})
	for _, t := range d.Tries {
		s.say("\n%s  %s", exact(t.At), s.attempt(t))
	}
	s.say("\nHeaders, beside the signature:")
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		s.say("  %s: %s", plain(name), plain(d.Headers[name]))
	}
	s.say("\nBody:")
	s.tellBody(d.Body)
}

// attempt says what came of one attempt, and below it what to do.
func (s *shell) attempt(t client.DeliveryAttempt) string {
	took := time.Duration(t.TookMS) * time.Millisecond
	if t.Error == "" {
		return fmt.Sprintf("%s after %s", s.paint(good, fmt.Sprintf("taken: %d", t.Status)), took)
	}
	text := fmt.Sprintf("%s (after %s)", s.paint(bad, plain(t.Error)), took)
	if t.Answer != "" {
		text += "\n    It said: " + plain(shorten(t.Answer, 300))
	}
	if t.Remedy != "" {
		text += "\n    What to do: " + plain(t.Remedy)
	}
	return text
}

// tellBody prints a body as it is sent, set out for reading.
func (s *shell) tellBody(body json.RawMessage) {
	var b bytes.Buffer
	if json.Indent(&b, body, "  ", "  ") != nil {
		b.Write(body)
	}
	s.say("  %s", plainLines(b.String()))
}

func (s *shell) webhookReplay() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "replay NAME [ID]", Short: "Make parked deliveries again", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: s.completeWebhooks,
		Long: `Makes every parked delivery of a webhook again, in order and before what waits.
With an ID it makes that delivery again, whether it was parked or delivered; one
that waits for its next attempt is tried at once. The webhook-id stays the same,
so that a receiver can drop what it has had.`,
		Example: "  mailgrant webhook replay desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				d, err := c.ReplayDelivery(cmd.Context(), args[0], args[1])
				if err != nil || s.json {
					return s.printIf(err, d)
				}
				s.say("The delivery %s is made again.", plain(d.ID))
				return nil
			}
			r, err := c.ReplayWebhook(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, r)
			}
			if r.Replayed == 0 {
				s.say("Nothing was parked for the webhook %s.", plain(args[0]))
			} else {
				s.say("What was parked for the webhook %s is made again, in order: %s.", plain(args[0]), inAll(r.Replayed))
			}
			if r.Replayed > 0 && r.Disabled != "" {
				s.remark("They wait until the webhook is on: mailgrant webhook enable " + plain(args[0]))
			}
			return nil
		},
	})
}

// inAll counts deliveries.
func inAll(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}

func (s *shell) webhookEnable() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "enable NAME", Short: "Switch a webhook on", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: `Switches a webhook on again. What waited for it is tried at once, in order. What
happened while it was off was not queued for it; the timeline has it.`,
		Example: "  mailgrant webhook enable desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err := c.EnableWebhook(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			if w.Waiting == 0 {
				s.say("The webhook %s is on.", plain(w.Name))
			} else {
				s.say("The webhook %s is on; what waited for it, %s, is tried now.", plain(w.Name), inAll(w.Waiting))
			}
			if w.Parked > 0 {
				s.remark(fmt.Sprintf("Parked, and not tried by itself: %s. See mailgrant webhook replay %s", inAll(w.Parked), plain(w.Name)))
			}
			return nil
		},
	})
}

func (s *shell) webhookDisable() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "disable NAME", Short: "Switch a webhook off", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: `Switches a webhook off. What waits for it stays until it is on again; what happens
from now on is not queued for it.`,
		Example: "  mailgrant webhook disable desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err := c.DisableWebhook(cmd.Context(), args[0])
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			s.say("The webhook %s is off: %s", plain(w.Name), plain(w.Disabled))
			return nil
		},
	})
}

func (s *shell) webhookTest() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "test NAME", Short: "Post a test event and say what the receiver answers", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: `Posts an event of the kind webhook.ping to the receiver at once, signed as every
delivery is, and says what it answered. It is tried once, stands in no queue, and
works while the webhook is off too. Exit code 1 when it was not taken.`,
		Example: "  mailgrant webhook test desk",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			r, err := c.TestWebhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if s.json {
				err = s.print(r)
			} else {
				s.say("%s", s.attempt(r.DeliveryAttempt))
			}
			if err == nil && !r.Delivered {
				return errReported
			}
			return err
		},
	})
}

func (s *shell) webhookSecret() *cobra.Command {
	var secretFile, overlap string
	c := s.withJSON(&cobra.Command{
		Use: "secret NAME", Short: "Give a webhook a new signing secret", Args: arguments("NAME"), ValidArgsFunction: s.completeWebhooks,
		Long: `Gives a webhook a new signing secret. Without --secret-file one is made and shown
this once. For a day, or as long as --overlap says, deliveries are signed with the
previous secret too: give the receiver the new one meanwhile, and none is refused.
With --overlap 0s the previous secret ends at once, as it must when it leaked.`,
		Example: `  mailgrant webhook secret desk
  mailgrant webhook secret desk --overlap 0s`,
		RunE: func(cmd *cobra.Command, args []string) error {
			n := client.NewSecret{Overlap: overlap}
			var err error
			if secretFile != "" {
				if n.Secret, err = s.readSecret(secretFile); err != nil {
					return err
				}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			w, err := c.RotateWebhookSecret(cmd.Context(), args[0], n)
			if err != nil || s.json {
				return s.printIf(err, w)
			}
			s.say("The webhook %s has a new signing secret.", plain(w.Name))
			if w.Secret != "" {
				s.say("It is shown this once:\n\n  %s\n", plain(w.Secret))
			}
			if w.SignedWithBothUntil.IsZero() {
				s.say("The previous one has ended.")
			} else {
				s.say("Deliveries are signed with the previous one too until %s.", exact(w.SignedWithBothUntil))
			}
			return nil
		},
	})
	c.Flags().StringVar(&secretFile, "secret-file", "", "`FILE` with the new secret, - for the standard input; default: one is made")
	c.Flags().StringVar(&overlap, "overlap", "", "how `LONG` the previous secret is used too, such as 24h; at most 168h; 0s: it ends at once; default: 24h")
	return c
}
