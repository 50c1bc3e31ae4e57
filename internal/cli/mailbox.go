package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

func (s *shell) mailboxes() *cobra.Command {
	return s.asking(group("mailbox", "Mailboxes to be let into, and where each stands",
		`A mailbox is one address with how its mail is received and sent. Its owner lets
Mailgrant in by a link: see “mailgrant authorize”.`,
		s.mailboxList(), s.mailboxShow(), s.mailboxCreate(), s.mailboxUpdate(), s.mailboxDelete()))
}

func (s *shell) mailboxList() *cobra.Command {
	var f client.MailboxFilter
	c := s.withJSON(&cobra.Command{
		Use: "list", Short: "List the mailboxes with their state", Args: noArguments,
		Example: `  mailgrant mailbox list --json
  mailgrant mailbox list --state dead
  mailgrant mailbox list --like desk --provider contoso`,
		Long: "Lists the mailboxes with who authorised each, when mail came last, and when its access token is renewed next.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if f.State != "" && !slices.Contains(mailboxStates(), f.State) {
				return &usageError{text: fmt.Sprintf("--state: “%s” is no state; it is %s.", shorten(f.State, 40), orList(mailboxStates()))}
			}
			all, err := client.Collect(c.MailboxesLike(cmd.Context(), f), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(all)
			}
			if len(all) == 0 && f != (client.MailboxFilter{}) {
				s.remark("There is no such mailbox.")
				return nil
			}
			if len(all) == 0 {
				s.remark("There is no mailbox yet; “mailgrant mailbox create --help” says how to add one.")
				return nil
			}
			var rows [][]string
			for _, m := range all {
				st := client.MailboxStatus{}
				if m.Status != nil {
					st = *m.Status
				}
				rows = append(rows, []string{m.Address, m.Provider, stateInWords(m.Paused, st), st.SignedIn, s.ago(st.LastMailAt), s.ago(st.NextRefreshAt)})
			}
			s.table([]string{"ADDRESS", "PROVIDER", "STATE", "SIGNED IN", "LAST MAIL", "NEXT RENEWAL"}, rows)
			return nil
		},
	})
	c.Flags().StringVar(&f.Part, "like", "", "only those with this `PART` in their address")
	c.Flags().StringVar(&f.State, "state", "", "only those in this `STATE`: "+orList(mailboxStates()))
	c.Flags().StringVar(&f.Provider, "provider", "", "only those of this `PROVIDER`")
	return c
}

// stateInWords says where a mailbox stands.
func stateInWords(paused bool, st client.MailboxStatus) string {
	words := standingInWords(st.State, st.Failures)
	if paused && st.State != "paused" {
		words += ", paused"
	}
	return words
}

// shownMailbox is a mailbox with its grant, as show gives it.
type shownMailbox struct {
	client.Mailbox
	Grant client.Grant `json:"grant"`
}

func (s *shell) mailboxShow() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "show ADDRESS", Short: "Show one mailbox with its grant", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long: `Shows one mailbox: its settings, who authorised it for what and until when, and
what happened to its grant lately. No secret is shown.`,
		Example: "  mailgrant mailbox show servicedesk@contoso.example",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			m, err := c.Mailbox(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			g, err := c.Grant(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if s.json {
				return s.print(shownMailbox{m, g})
			}
			s.showMailbox(m, g)
			return nil
		},
	})
}

func (s *shell) showMailbox(m client.Mailbox, g client.Grant) {
	st := client.MailboxStatus{}
	if m.Status != nil {
		st = *m.Status
	}
	lines := []pair{
		{"Address", m.Address},
		{"State", stateInWords(m.Paused, st)},
		{"Provider", m.Provider},
		{"Profile", m.Profile},
		{"Acts as", m.ActsAs},
		{"Sender", m.From},
	}
	if r := m.Receive; r != nil {
		how := r.Protocol + ", " + r.Mode
		if r.Every != "" {
			how += " every " + r.Every
		}
		lines = append(lines, pair{"Receives", how + at(r.MailServer)}, pair{"Folders", strings.Join(r.Folders, ", ")}, pair{"After receiving", m.AfterReceive})
	}
	if o := st.ReceivingStopped; o != nil {
		lines = append(lines, pair{"Receiving stopped", s.when(o.Since) + ": " + o.Text}, pair{"Who acts", whoActs(o.Who)}, pair{"What to do", o.Remedy})
	}
	if d := m.Send; d != nil {
		lines = append(lines, pair{"Sends", d.Protocol + at(d.MailServer)})
	}
	if g.State != "none" && g.State != "" {
		next := ""
		if g.State == "active" {
			next = s.when(g.NextRefreshAt)
		}
		lines = append(lines, pair{"Signed in", g.SignedIn}, pair{"Verdict", g.Verdict}, pair{"Identity", identity(g.Identity)},
			pair{"Scopes", strings.Join(g.Scopes, " ")}, pair{"Authorised", s.when(g.ConnectedAt)}, pair{"Last renewal", s.when(g.LastRefreshAt)},
			pair{"Next renewal", next})
		for _, t := range g.AccessTokens {
			lines = append(lines, pair{"Access token, " + t.Resource, "ends " + s.when(t.ExpiresAt)})
		}
		lines = append(lines, pair{"What is wrong", g.Text}, pair{"What to do", g.Remedy})
	}
	if q := g.Quarantine; q != nil {
		lines = append(lines, pair{"In quarantine", fmt.Sprintf("an authorisation by %s, until %s: %s", q.SignedIn, exact(q.ExpiresAt), q.Text)}, pair{"Tried next", s.when(q.NextTryAt)})
	}
	s.pairs(lines...)
	if len(g.History) > 0 {
		s.say("\nLately:")
		for _, e := range g.History[:min(len(g.History), 5)] {
			s.say("  %s  %s", exact(e.At), plain(e.Text))
		}
	}
	if g.State != "active" && g.Quarantine == nil {
		s.say("\nNext: mailgrant authorize %s", plain(m.Address))
	}
}

// identity names the person behind a grant by what does not change.
func identity(i client.Identity) string {
	if i.ObjectID != "" {
		return fmt.Sprintf("object %s in tenant %s", i.ObjectID, i.TenantID)
	}
	if i.Subject == "" {
		return ""
	}
	return fmt.Sprintf("%s at %s", i.Subject, i.Issuer)
}

func at(server client.MailServer) string {
	if server.Host == "" {
		return ""
	}
	where := " at " + server.Host
	if server.Port != 0 {
		where += fmt.Sprintf(":%d", server.Port)
	}
	if server.TLS != "" {
		where += ", TLS " + server.TLS
	}
	return where
}

func (s *shell) mailboxCreate() *cobra.Command {
	var f mailboxFlags
	c := s.withJSON(&cobra.Command{
		Use: "create ADDRESS", Short: "Add a mailbox", Args: arguments("ADDRESS"),
		Long: `Adds a mailbox. Without --receive and --send it receives by IMAP, told of new
mail at once, and sends by SMTP, at the servers that its kind of provider is
known for; a generic provider needs the hosts. With one of the two it does that
alone, unless a flag of the other, such as --send-host, is given. What the owner will be asked to
agree to is derived from this.`,
		Example: `  mailgrant mailbox create servicedesk@contoso.example --provider contoso
  mailgrant mailbox create desk@example.org --provider example \
    --receive imap --receive-host imap.example.org --send smtp --send-host smtp.example.org
  mailgrant mailbox create shared@contoso.example --provider contoso --acts-as 'delegate: adele@contoso.example'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.provider == "" {
				return missing("provider", "a mailbox belongs to a provider; “mailgrant provider list” lists them.")
			}
			m := client.Mailbox{Address: args[0]}
			f.assume(cmd, &m)
			if err := f.apply(s, cmd, &m); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			m, err = c.CreateMailbox(cmd.Context(), m)
			if err != nil || s.json {
				return s.printIf(err, m)
			}
			s.say("The mailbox %s was added.", plain(m.Address))
			s.say("Let its owner in:  mailgrant authorize %s", plain(m.Address))
			return nil
		},
	})
	f.add(c)
	return c
}

func (s *shell) mailboxUpdate() *cobra.Command {
	var f mailboxFlags
	var yes bool
	c := s.withJSON(&cobra.Command{
		Use: "update ADDRESS", Short: "Change a mailbox", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long: `Changes what is given and leaves the rest. A change of address, provider, host
or --acts-as suspends the grant until the mailbox is verified anew; that is
asked back first.`,
		Example: `  mailgrant mailbox update desk@example.org --folder INBOX --folder INBOX/Orders --after-receive 'move: Processed'
  mailgrant mailbox update desk@example.org --send none`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			m, err := c.Mailbox(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := f.apply(s, cmd, &m); err != nil {
				return err
			}
			checked, err := c.CheckMailbox(cmd.Context(), args[0], m)
			if err != nil {
				return err
			}
			if lost := checked.Consequence; lost != "" && !yes {
				s.remark("%s", plain(lost))
				if err := s.confirm(false, "Save it?"); err != nil {
					return err
				}
			}
			m, err = c.PutMailbox(cmd.Context(), args[0], m)
			if err != nil || s.json {
				return s.printIf(err, m)
			}
			s.say("The mailbox %s was changed.", plain(m.Address))
			if m.Consequence != "" {
				s.say("Mail stops until its owner authorises it: mailgrant authorize %s", plain(m.Address))
			}
			return nil
		},
	})
	f.add(c)
	addYes(c, &yes)
	c.Flags().StringVar(&f.address, "address", "", "the mailbox's new `ADDRESS`")
	return c
}

func (s *shell) mailboxDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete ADDRESS", Short: "Remove a mailbox with its grant and its received messages", Args: arguments("ADDRESS"), ValidArgsFunction: s.completeAddresses,
		Long:    "Removes a mailbox from Mailgrant, with its grant and the messages that were received. Nothing is changed in the mailbox itself.",
		Example: "  mailgrant mailbox delete desk@example.org --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, fmt.Sprintf("Remove %s with its grant and its received messages?", plain(args[0]))); err != nil {
				return err
			}
			if err := c.DeleteMailbox(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.say("The mailbox %s was removed.", plain(args[0]))
			return nil
		},
	}
	addYes(c, &yes)
	return c
}
