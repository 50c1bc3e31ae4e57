package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// longestToken bounds what inspect reads.
const longestToken = 64 << 10

func (s *shell) inspect() *cobra.Command {
	var address string
	c := s.withJSON(&cobra.Command{
		Use: "inspect [TOKEN|-]", Short: "Say whose token this is, for what, until when, and what is wrong with it",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return &usageError{text: "One token at a time; give it as - on the standard input."}
			case len(args) == 0 && address == "":
				return &usageError{text: "TOKEN is missing: give - and the token on the standard input, or name a --mailbox."}
			}
			return nil
		},
		Long: `Reads an access token or ID token and says whose it is, for what, until when, and
what is wrong with it. It takes the bare token, a Bearer header, an XOAUTH2 or
OAUTHBEARER response, or a token endpoint's answer. Nothing secret is printed, and
without --mailbox nobody is asked: it works offline.

With --mailbox the token is compared with what that mailbox needs; without a
token, the mailbox's own access token is looked at. Exit code 1 when something is
wrong with it.`,
		Example: `  pbpaste | mailgrant inspect -
  mailgrant inspect --mailbox servicedesk@contoso.example`,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := s.tokenToInspect(args)
			if err != nil {
				return err
			}
			report, err := s.inspection(cmd.Context(), text, address)
			if err != nil {
				return err
			}
			if s.json {
				err = s.print(report)
			} else {
				s.tellInspection(report)
			}
			if err == nil && len(report.Findings) > 0 {
				return errReported
			}
			return err
		},
	})
	c.Flags().StringVar(&address, "mailbox", "", "compare with what the mailbox of this `ADDRESS` needs")
	return s.asking(c)
}

func (s *shell) tokenToInspect(args []string) (string, error) {
	switch {
	case len(args) == 0:
		return "", nil
	case args[0] != "-":
		s.remark("Note: a token among the arguments stays in the shell's history and is seen by everybody who lists processes. Give it as “mailgrant inspect -” on the standard input.")
		return args[0], nil
	}
	b, err := s.readFile("-", longestToken)
	return string(b), err
}

// inspection asks the server where a mailbox is to be compared with, and nobody
// else.
func (s *shell) inspection(ctx context.Context, text, address string) (client.Inspection, error) {
	if address == "" {
		return s.inspectHere(text)
	}
	c, err := s.client()
	if err != nil {
		return client.Inspection{}, err
	}
	if text == "" {
		// Any lifetime will do: the token is looked at, not used.
		t, err := c.Token(ctx, address, client.TokenRequest{MinTTL: "0s"})
		if err != nil {
			return client.Inspection{}, err
		}
		text = t.AccessToken
	}
	return c.Inspect(ctx, client.InspectRequest{Token: text, Mailbox: address})
}

// inspectHere reads the token in this process. The report has one form, the
// API's, wherever it was made.
func (s *shell) inspectHere(text string) (client.Inspection, error) {
	report, err := diagnose.Inspector{Now: s.now}.Inspect(seal.NewSecret(text), diagnose.Expectation{})
	if err != nil {
		return client.Inspection{}, err
	}
	b, err := json.Marshal(report)
	if err != nil {
		return client.Inspection{}, fmt.Errorf("write down what the token says: %w", err)
	}
	var out client.Inspection
	if err := json.Unmarshal(b, &out); err != nil {
		return client.Inspection{}, fmt.Errorf("write down what the token says: %w", err)
	}
	return out, nil
}

func (s *shell) tellInspection(r client.Inspection) {
	kind := r.Kind
	switch r.Form {
	case "encrypted":
		kind += ", encrypted"
	case "opaque":
		kind += ", opaque"
	}
	if r.From != "" {
		kind += ", found in " + r.From
	}
	audience := strings.Join(r.Audience, ", ")
	if r.AudienceTitle != "" {
		audience = r.AudienceTitle + " (" + audience + ")"
	}
	s.pairs(
		pair{"This is", kind}, pair{"Whose", r.Who}, pair{"Addresses", strings.Join(r.Addresses, ", ")}, pair{"Asks for mailbox", r.SASLUser},
		pair{"For", audience}, pair{"Scopes", strings.Join(r.Scopes, " ")}, pair{"Application permissions", strings.Join(r.Roles, " ")},
		pair{"Until", r.Expiry}, pair{"Issued", s.when(r.IssuedAt)}, pair{"Issuer", r.Issuer}, pair{"Tenant", r.TenantID},
		pair{"Object", r.ObjectID}, pair{"Subject", r.Subject}, pair{"Client ID", r.ClientID},
	)
	s.say("\n%s", plain(r.Notice))
	if r.Beside != "" {
		s.say("%s", plain(r.Beside))
	}
	if len(r.Findings) == 0 {
		return
	}
	s.say("\nWrong with it:")
	for _, f := range r.Findings {
		s.say("- %s", s.paint(bad, plain(f.Text)))
		if who := whoActs(f.Who); who != "" {
			s.say("  Who acts: %s", who)
		}
		if f.Remedy != "" {
			s.say("  What to do: %s", plain(f.Remedy))
		}
	}
}

func (s *shell) token() *cobra.Command {
	var resource, minTTL string
	c := s.withJSON(&cobra.Command{
		Use: "token ADDRESS", Short: "Print an access token, for mutt, mbsync, msmtp, curl", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long: `Prints an access token of a mailbox and nothing else, renewed first where that is
needed: made to be the password command of a mail program. Whoever has it can do
everything the mailbox's owner agreed to, until it ends.`,
		Example: `  mailgrant token desk@example.org
  # ~/.mbsyncrc:  PassCmd "mailgrant token desk@example.org"
  # ~/.msmtprc:   passwordeval mailgrant token desk@example.org`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.TokenRequest{Resource: resource}
			if minTTL != "" {
				d, err := duration("min-ttl", minTTL)
				if err != nil {
					return err
				}
				r.MinTTL = d.String()
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			t, err := c.Token(cmd.Context(), args[0], r)
			if err != nil || s.json {
				return s.printIf(err, t)
			}
			s.say("%s", t.AccessToken)
			return nil
		},
	})
	c.Flags().StringVar(&resource, "resource", "", "what it is for: `mail` (the default) or graph")
	c.Flags().StringVar(&minTTL, "min-ttl", "", "how long it has to be good at least, as `DURATION`; default 5m")
	return s.asking(c)
}
