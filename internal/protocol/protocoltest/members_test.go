package protocoltest_test

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/pop3"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
)

func TestExchange(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	t.Run("receive", func(t *testing.T) { protocoltest.TestReader(t, x.Bench, imap.New()) })
	t.Run("send", func(t *testing.T) { protocoltest.TestSender(t, x.Bench, smtp.New(), imap.New()) })
}

// byPOP3 reads a bench's mailboxes by POP3.
func byPOP3(b protocoltest.Bench) (protocoltest.Bench, *pop3.Client) {
	b.Receive = b.ByPOP3
	return b, &pop3.Client{PollEvery: 100 * time.Millisecond}
}

func TestExchange_POP3(t *testing.T) {
	t.Parallel()
	b, member := byPOP3(protocoltest.StartExchange(t).Bench)
	t.Run("receive", func(t *testing.T) { protocoltest.TestReader(t, b, member) })
	t.Run("snapshot", func(t *testing.T) { protocoltest.TestSnapshot(t, b, member) })
}

func TestDovecot_POP3(t *testing.T) {
	t.Parallel()
	d := protocoltest.StartDebian(t, false)
	b, member := byPOP3(d.Bench)
	t.Run("receive", func(t *testing.T) { protocoltest.TestReader(t, b, member) })
	t.Run("snapshot", func(t *testing.T) { protocoltest.TestSnapshot(t, b, member) })
	for _, m := range []protocol.Mechanism{protocol.XOAUTH2, protocol.OAUTHBEARER} {
		for mode, port := range map[protocol.TLSMode]int{protocol.TLSImplicit: d.Dovecot.POP3S, protocol.TLSStart: d.Dovecot.POP3} {
			t.Run(string(m)+" "+string(mode), func(t *testing.T) {
				at := b.Receive
				at.Mechanisms, at.Port, at.TLS = []protocol.Mechanism{m}, port, mode
				if rungs, err := protocoltest.Rungs(protocoltest.Context(t), member, at, protocoltest.Owner(protocoltest.Adele)); err != nil {
					t.Fatalf("%s: %v", rungs, err)
				}
			})
		}
	}
}

func TestProbe_WithoutAccessTokenStopsBeforeSigningIn(t *testing.T) {
	t.Parallel()
	x := protocoltest.StartExchange(t)
	for name, c := range map[string]struct {
		prober protocol.Prober
		at     protocol.Endpoint
	}{"imap": {imap.New(), x.Receive}, "pop3": {pop3.New(), x.ByPOP3}, "smtp": {smtp.New(), x.Submit}} {
		t.Run(name, func(t *testing.T) {
			var last, before protocol.Step
			err := c.prober.Probe(protocoltest.Context(t), c.at, protocol.Login{User: protocoltest.Adele}, func(s protocol.Step) { before, last = last, s })
			if !fault.Has(err, "protocol.no_access_token") {
				t.Errorf("got %v", err)
			}
			if before.Name != "capability" || !before.OK || last.Name != "auth" || !last.Skipped || last.Observed == "" {
				t.Errorf("the last rungs are %+v and %+v", before, last)
			}
		})
	}
}

func TestDovecotAndPostfix(t *testing.T) {
	t.Parallel()
	d := protocoltest.StartDebian(t, true)
	t.Run("receive", func(t *testing.T) { protocoltest.TestReader(t, d.Bench, imap.New()) })
	t.Run("send", func(t *testing.T) { protocoltest.TestSender(t, d.Bench, smtp.New(), imap.New()) })
	for _, m := range []protocol.Mechanism{protocol.XOAUTH2, protocol.OAUTHBEARER} {
		for mode, port := range map[protocol.TLSMode]int{protocol.TLSImplicit: d.Dovecot.IMAPS, protocol.TLSStart: d.Dovecot.IMAP} {
			t.Run("imap "+string(m)+" "+string(mode), func(t *testing.T) {
				at := d.Receive
				at.Mechanisms, at.Port, at.TLS = []protocol.Mechanism{m}, port, mode
				if rungs, err := protocoltest.Rungs(protocoltest.Context(t), imap.New(), at, protocoltest.Owner(protocoltest.Adele)); err != nil {
					t.Fatalf("%s: %v", rungs, err)
				}
			})
		}
		for mode, port := range map[protocol.TLSMode]int{protocol.TLSImplicit: d.Postfix.Submissions, protocol.TLSStart: d.Postfix.Submission} {
			t.Run("smtp "+string(m)+" "+string(mode), func(t *testing.T) {
				at := d.Submit
				at.Mechanisms, at.Port, at.TLS = []protocol.Mechanism{m}, port, mode
				if rungs, err := protocoltest.Rungs(protocoltest.Context(t), smtp.New(), at, protocoltest.Owner(protocoltest.Adele)); err != nil {
					t.Fatalf("%s: %v", rungs, err)
				}
			})
		}
	}
}
