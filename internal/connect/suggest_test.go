package connect_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

// zone answers SRV look-ups from a list; a service that is not in it does not
// exist.
type zone map[string][]*net.SRV

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	found, ok := z["_"+service+"._"+proto+"."+name]
	if !ok {
		return "", nil, errors.New("no such host")
	}
	return "", found, nil
}

// published is the zone of a bench.
type published struct{ *bench }

func (p published) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return p.zone.LookupSRV(ctx, service, proto, name)
}

func TestSuggestServers_AreWhatTheDomainPublishes(t *testing.T) {
	t.Parallel()
	at := func(host string, port uint16) []*net.SRV { return []*net.SRV{{Target: host, Port: port}} }
	for name, c := range map[string]struct {
		zone          zone
		receive, send mailbox.Server
	}{
		"nothing is published": {zone{}, mailbox.Server{}, mailbox.Server{}},
		"TLS from the first byte is preferred": {
			zone{"_imaps._tcp.example.org": at("imap.example.org.", 993), "_imap._tcp.example.org": at("old.example.org.", 143), "_submissions._tcp.example.org": at("smtp.example.org.", 465)},
			mailbox.Server{Host: "imap.example.org", Port: 993, TLS: protocol.TLSImplicit},
			mailbox.Server{Host: "smtp.example.org", Port: 465, TLS: protocol.TLSImplicit},
		},
		"a service that is decidedly not there is passed over (RFC 2782)": {
			zone{"_imaps._tcp.example.org": at(".", 0), "_imap._tcp.example.org": at("imap.example.org.", 143), "_submission._tcp.example.org": at("smtp.example.org.", 587)},
			mailbox.Server{Host: "imap.example.org", Port: 143, TLS: protocol.TLSStart},
			mailbox.Server{Host: "smtp.example.org", Port: 587, TLS: protocol.TLSStart},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.zone = c.zone
			receive, send := b.Mailboxes.SuggestServers(t.Context(), "example.org")
			if receive != c.receive || send != c.send {
				t.Errorf("suggested %+v and %+v, want %+v and %+v", receive, send, c.receive, c.send)
			}
		})
	}
}

func TestSuggestProvider_SaysWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	suggests := func(address, name, why string) {
		t.Helper()
		got, err := b.Mailboxes.SuggestProvider(b.ctx, address)
		if err != nil || got != (connect.Suggestion{Provider: name, Why: why}) {
			t.Errorf("for %s: %+v, %v", address, got, err)
		}
	}
	suggests("new@anywhere.example", "contoso", "it is the only provider")
	for name, change := range map[string]func(*connect.ProviderSettings){
		"fabrikam": func(s *connect.ProviderSettings) { s.Record.Tenant = "fabrikam.example" },
		"idp": func(s *connect.ProviderSettings) {
			s.Record.Tenant, s.Record.Issuer = "", "https://login.adatum.example/realms/main"
		},
	} {
		s := contoso()
		s.Record.Name = name
		change(&s)
		if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
			t.Fatal(err)
		}
	}
	suggests("new@vbcpn.example", "contoso", "other mailboxes of vbcpn.example use it")
	suggests("new@fabrikam.example", "fabrikam", "its tenant is fabrikam.example")
	suggests("new@adatum.example", "idp", "its issuer is of adatum.example")
	suggests("new@anywhere.example", "", "")
}

func TestCheck_SaysWhatAChangeSuspends(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.box
	m.ActsAs = "delegate: adele@vbcpn.example"
	d, err := b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator)
	if err != nil || d.Suspends != "who acts for it changed" {
		t.Errorf("%q, %v", d.Suspends, err)
	}
	if d.Consequence != "" {
		t.Errorf("nobody has authorised it, and still: %q", d.Consequence)
	}
	if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	if d, err = b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator); err != nil || !strings.Contains(d.Consequence, "the authorisation of "+desk+" is suspended: mail stops") {
		t.Errorf("%q, %v", d.Consequence, err)
	}
	m = b.box
	m.AfterReceive = "mark_seen"
	if d, err = b.Mailboxes.Check(b.ctx, connect.MailboxSettings{Mailbox: m}, operator); err != nil || d.Suspends != "" {
		t.Errorf("%q, %v", d.Suspends, err)
	}
	s := contoso()
	s.Record.ClientID = "client-2"
	p, err := b.Providers.Check(b.ctx, s, operator)
	if err != nil || p.Suspends == "" {
		t.Errorf("%q, %v", p.Suspends, err)
	}
}
