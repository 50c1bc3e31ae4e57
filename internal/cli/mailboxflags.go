package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
)

// mailboxFlags are a mailbox's settings on the command line.
type mailboxFlags struct {
	address, provider, profile, actsAs, from, afterReceive string
	allowUnverifiable                                      bool

	receive, mode, every string
	folders              []string
	send, fallback       string
	receiveAt, sendAt    serverFlags
}

// serverFlags say where a protocol is spoken.
type serverFlags struct {
	host, tls, user, caFile string
	port                    int
}

func (f *mailboxFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.provider, "provider", "", "`NAME` of the provider it belongs to")
	flags.StringVar(&f.profile, "profile", "", "`NAME` of one of the provider's profiles; default: scopes are derived")
	flags.StringVar(&f.actsAs, "acts-as", "", "whose sign-in opens it: owner, or `'delegate: ADDRESS'`")
	flags.StringVar(&f.from, "from", "", "sender `ADDRESS`, where it is not the mailbox's own")
	flags.BoolVar(&f.allowUnverifiable, "allow-unverifiable", false, "accept an authorisation whose identity the provider cannot prove")
	flags.StringVar(&f.receive, "receive", "", "`PROTOCOL` by which mail is received: imap, pop3 or none")
	flags.StringArrayVar(&f.folders, "folder", nil, "`FOLDER` to receive from; may be repeated; default INBOX")
	flags.StringVar(&f.mode, "mode", "", "`MODE`: push, told of new mail at once, or poll, look every so often")
	flags.StringVar(&f.every, "every", "", "how often to look, with --mode poll: a `DURATION` such as 60s")
	flags.StringVar(&f.afterReceive, "after-receive", "", "what happens to a received message, the `ACT`: keep, mark_seen, 'move: Folder' or delete; with pop3 keep or delete")
	f.receiveAt.add(c, "receive", "receiving")
	flags.StringVar(&f.send, "send", "", "`PROTOCOL` by which mail is sent: smtp or none")
	flags.StringVar(&f.fallback, "send-fallback", "", "`PROTOCOL` by which it is sent while that is shut: graph or none")
	f.sendAt.add(c, "send", "sending")
}

func (f *serverFlags) add(c *cobra.Command, prefix, doing string) {
	flags := c.Flags()
	flags.StringVar(&f.host, prefix+"-host", "", "`HOST` for "+doing+", where the provider's own does not fit")
	flags.IntVar(&f.port, prefix+"-port", 0, "`PORT` for "+doing)
	flags.StringVar(&f.tls, prefix+"-tls", "", "encryption for "+doing+", the `MODE`: implicit or starttls; none on this host only")
	flags.StringVar(&f.user, prefix+"-user", "", "`USER` to name to the server when "+doing+", where it is not the address")
	flags.StringVar(&f.caFile, prefix+"-ca-file", "", "`FILE` with a CA in PEM that is trusted when "+doing)
}

// assume gives a new mailbox what nobody says: it receives and sends, unless
// only one of the two is spoken of.
func (f *mailboxFlags) assume(cmd *cobra.Command, m *client.Mailbox) {
	given := func(names ...string) bool { return slices.ContainsFunc(names, cmd.Flags().Changed) }
	receives, sends := given(f.receiving()...), given(f.sending()...)
	if receives || !cmd.Flags().Changed("send") {
		m.Receive = &client.Receive{Protocol: "imap"}
	}
	if sends || !cmd.Flags().Changed("receive") {
		m.Send = &client.Send{Protocol: "smtp"}
	}
}

// receiving and sending are the flags that mean nothing without --receive, and
// without --send.
func (f *mailboxFlags) receiving() []string {
	return append(f.receiveAt.names("receive"), "folder", "mode", "every")
}

func (f *mailboxFlags) sending() []string { return append(f.sendAt.names("send"), "send-fallback") }

// apply writes the flags that were given onto m.
func (f *mailboxFlags) apply(s *shell, cmd *cobra.Command, m *client.Mailbox) error {
	changed := cmd.Flags().Changed
	for _, one := range []struct {
		flag string
		from string
		into *string
	}{
		{"address", f.address, &m.Address},
		{"provider", f.provider, &m.Provider},
		{"profile", f.profile, &m.Profile},
		{"acts-as", f.actsAs, &m.ActsAs},
		{"from", f.from, &m.From},
		{"after-receive", f.afterReceive, &m.AfterReceive},
	} {
		if changed(one.flag) {
			*one.into = one.from
		}
	}
	if changed("allow-unverifiable") {
		m.AllowUnverifiable = f.allowUnverifiable
	}
	if err := f.applyReceive(s, cmd, m); err != nil {
		return err
	}
	return f.applySend(s, cmd, m)
}

const nothing = "none"

func (f *mailboxFlags) applyReceive(s *shell, cmd *cobra.Command, m *client.Mailbox) error {
	changed := cmd.Flags().Changed
	switch {
	case f.receive == nothing:
		m.Receive = nil
		if !changed("after-receive") {
			m.AfterReceive = ""
		}
	case changed("receive") && m.Receive == nil:
		m.Receive = &client.Receive{Protocol: f.receive}
	case changed("receive"):
		if m.Receive.Protocol != f.receive && m.Receive.Mode == "push" {
			m.Receive.Mode = "" // what follows from the other protocol
		}
		m.Receive.Protocol = f.receive
	}
	if m.Receive == nil {
		return refuseWithout(cmd, "receive", f.receiving())
	}
	if changed("folder") {
		m.Receive.Folders = f.folders
	}
	if changed("mode") {
		if m.Receive.Mode = f.mode; f.mode == "push" && !changed("every") {
			m.Receive.Every = ""
		}
	}
	if changed("every") {
		d, err := duration("every", f.every)
		if err != nil {
			return err
		}
		m.Receive.Every = d.String()
	}
	return f.receiveAt.apply(s, cmd, "receive", &m.Receive.MailServer)
}

func (f *mailboxFlags) applySend(s *shell, cmd *cobra.Command, m *client.Mailbox) error {
	switch {
	case f.send == nothing:
		m.Send = nil
	case cmd.Flags().Changed("send") && m.Send == nil:
		m.Send = &client.Send{Protocol: f.send}
	case cmd.Flags().Changed("send"):
		m.Send.Protocol = f.send
	}
	if m.Send == nil {
		return refuseWithout(cmd, "send", f.sending())
	}
	if cmd.Flags().Changed("send-fallback") {
		if m.Send.Fallback = f.fallback; f.fallback == nothing {
			m.Send.Fallback = ""
		}
	}
	return f.sendAt.apply(s, cmd, "send", &m.Send.MailServer)
}

func (f *serverFlags) names(prefix string) []string {
	var out []string
	for _, name := range []string{"host", "port", "tls", "user", "ca-file"} {
		out = append(out, prefix+"-"+name)
	}
	return out
}

// refuseWithout refuses flags that mean nothing because the mailbox does not
// receive, or does not send.
func refuseWithout(cmd *cobra.Command, need string, flags []string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return missing(need, "without it --"+name+" means nothing.")
		}
	}
	return nil
}

func (f *serverFlags) apply(s *shell, cmd *cobra.Command, prefix string, at *client.MailServer) error {
	changed := func(name string) bool { return cmd.Flags().Changed(prefix + "-" + name) }
	if changed("host") {
		at.Host = f.host
	}
	if changed("port") {
		at.Port = f.port
	}
	if changed("tls") {
		at.TLS = f.tls
	}
	if changed("user") {
		at.User = f.user
	}
	if changed("ca-file") {
		pem, err := s.readPEM(f.caFile)
		if err != nil {
			return err
		}
		at.CAPEM = pem
	}
	return nil
}
