package protocol

import "slices"

// Traits is what is known of a protocol beforehand. Whoever asks what a mailbox
// may do with one, or where its servers usually listen, asks here: beyond its
// member no room tells protocols apart.
type Traits struct {
	Title    string // for people
	Receives bool   // a member reads mail by it
	Sends    bool   // a member submits mail by it
	// Implicit and StartTLS are the usual ports of the two TLS modes (RFC 8314
	// section 3); zero where none is known. TLS is the usual mode.
	Implicit, StartTLS int
	TLS                TLSMode
	// Services are the SRV names under which a domain publishes servers, with
	// implicit TLS and with STARTTLS (RFC 6186, RFC 8314 section 5).
	Services [2]string

	// Of receiving: whether there are folders beside INBOX, whether the server
	// tells of new mail, and what may follow a hand-over (Dispose constants).
	Folders      bool
	Push         bool
	AfterReceive []string
}

// table lists the protocols, the preferred ones first.
var table = []struct {
	name Name
	Traits
}{
	{IMAP, Traits{
		Title: "IMAP", Receives: true, Implicit: 993, StartTLS: 143, TLS: TLSImplicit, Services: [2]string{"imaps", "imap"},
		Folders: true, Push: true, AfterReceive: []string{DisposeKeep, DisposeMarkSeen, DisposeMove, DisposeDelete},
	}},
	{POP3, Traits{
		Title: "POP3", Receives: true, Implicit: 995, StartTLS: 110, TLS: TLSImplicit, Services: [2]string{"pop3s", "pop3"},
		AfterReceive: []string{DisposeKeep, DisposeDelete},
	}},
	{SMTP, Traits{Title: "SMTP", Sends: true, Implicit: 465, StartTLS: 587, TLS: TLSStart, Services: [2]string{"submissions", "submission"}}},
	{Graph, Traits{Title: "Graph"}},
}

// TraitsOf gives a protocol's traits; the zero Traits for one that is not known.
func TraitsOf(name Name) Traits {
	for _, p := range table {
		if p.name == name {
			return p.Traits
		}
	}
	return Traits{}
}

// Receivers lists the protocols by which mail is received, the preferred one first.
func Receivers() []Name { return having(func(t Traits) bool { return t.Receives }) }

// Senders lists the protocols by which mail is sent, the preferred one first.
func Senders() []Name { return having(func(t Traits) bool { return t.Sends }) }

func having(power func(Traits) bool) []Name {
	var names []Name
	for _, p := range table {
		if power(p.Traits) {
			names = append(names, p.name)
		}
	}
	return names
}

// May reports whether act may follow receiving by this protocol.
func (t Traits) May(act string) bool { return slices.Contains(t.AfterReceive, act) }

// UsualPort gives the port of a TLS mode; zero where none is known.
func (t Traits) UsualPort(mode TLSMode) int {
	if mode == TLSImplicit {
		return t.Implicit
	}
	return t.StartTLS
}
