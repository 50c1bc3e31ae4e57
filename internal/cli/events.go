package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) events() *cobra.Command {
	var mailbox string
	var kinds, actors []string
	var text string
	var limit int
	var follow, attention bool
	var span rangeFlags
	c := s.withJSON(&cobra.Command{
		Use: "events", Short: "The timeline: what happened, why, and through whom", Args: noArguments,
		Long: `Prints the timeline, the newest last. With --follow it goes on with what happens
from then on, until it is interrupted; with --json too, one event a line.`,
		Example: `  mailgrant events --mailbox desk@example.org --kind 'grant.*' --kind authorization.refused
  mailgrant events --attention --since 24h
  mailgrant events --by operator:anna --by api_key --limit 0
  mailgrant events --follow --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return &usageError{text: "--limit cannot be negative; 0 stands for all."}
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			f := client.EventFilter{Mailbox: mailbox, Kinds: kinds, Actors: actors, Attention: attention, Text: text, PageSize: limit}
			if f.Since, f.Until, err = span.times(s.now()); err != nil {
				return err
			}
			var past []client.Event
			if limit > 0 || !follow {
				if past, err = client.Collect(c.Events(cmd.Context(), f), limit); err != nil {
					return err
				}
				slices.Reverse(past)
			}
			if !follow {
				return s.tellEvents(past)
			}
			for _, e := range past {
				if err := s.tellEvent(e); err != nil {
					return err
				}
				f.After = e.ID
			}
			return s.followEvents(cmd.Context(), c, f)
		},
	})
	flags := c.Flags()
	flags.StringVar(&mailbox, "mailbox", "", "only those of the mailbox of this `ADDRESS`")
	flags.StringArrayVar(&kinds, "kind", nil, "only this `KIND`, or a family such as 'submission.*'; may be repeated")
	flags.StringArrayVar(&actors, "by", nil, "only what this `ACTOR` caused: operator, api_key, local, owner or system, or one by name, such as operator:anna; may be repeated")
	flags.BoolVar(&attention, "attention", false, "only what a person has to act on")
	flags.StringVar(&text, "text", "", "only those with this `TEXT` in the sentence, the cause or the details, in capitals or not")
	span.add(c)
	flags.IntVar(&limit, "limit", 20, "at most `N` of the past; 0: all, with --follow none")
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	return s.asking(c)
}

// followEvents prints events as they come, until it is interrupted.
func (s *shell) followEvents(ctx context.Context, c *client.Client, f client.EventFilter) error {
	for e, err := range c.Follow(ctx, f) {
		if errors.Is(err, context.Canceled) {
			return nil // Interrupted, which is how following ends.
		}
		if err != nil {
			return err
		}
		if err := s.tellEvent(e); err != nil {
			return err
		}
		if s.out.err != nil {
			return nil // Nobody reads any more; Run reports it.
		}
	}
	return nil
}

func (s *shell) tellEvents(all []client.Event) error {
	if s.json {
		return s.print(all)
	}
	for _, e := range all {
		if err := s.tellEvent(e); err != nil {
			return err
		}
	}
	return nil
}

// tellEvent prints one event on a line, and below it what to do, if anything is.
func (s *shell) tellEvent(e client.Event) error {
	if s.json {
		return s.line(e)
	}
	about := ""
	if e.Mailbox != "" {
		about = plain(e.Mailbox) + "  "
	}
	s.say("%s  %s  %s%s%s", s.paint(dim, exact(e.At)), plain(e.Kind), about, plain(e.Text), by(e.Actor))
	if reply := e.Data["reply"]; reply != "" && !strings.Contains(e.Text, reply) {
		s.say("    The server outside said: %s", plain(reply))
	}
	if e.Remedy != "" {
		s.say("    What to do: %s", plain(e.Remedy))
	}
	return nil
}

func by(a client.Actor) string {
	switch a.Kind {
	case "", "system":
		return ""
	case "local":
		return plain(" (" + a.Name + " on the server's host)")
	case "api_key":
		return plain(" (app " + a.Name + ")")
	case "operator":
		return plain(" (operator " + a.Name + ")")
	}
	if a.Name == "" {
		return " (somebody with the link)"
	}
	return plain(" (" + a.Name + ")")
}

func (s *shell) keys() *cobra.Command {
	rotate := s.withJSON(&cobra.Command{
		Use: "rotate", Short: "Make a new sealing key and seal every stored secret anew", Args: noArguments,
		Long: `Makes a new key in the key file and seals every stored secret anew with it. It
may be done while the server runs and be repeated at any time. Back up the key
file afterwards, apart from the database.`,
		Example: "  mailgrant keys rotate",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			r, err := c.RotateKeys(cmd.Context())
			if err != nil || s.json {
				return s.printIf(err, r)
			}
			s.say("There is a new sealing key, and %d stored secrets were sealed anew with it. Back up the key file.", r.Resealed)
			return nil
		},
	})
	return s.asking(group("keys", "The keys that seal stored secrets", "Stored secrets are sealed with the keys in the server's key file.", rotate))
}
