package web_test

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

const box = "servicedesk@vbcpn.example"

// add stores a mailbox that nobody has authorised.
func (d *desk) add(t *testing.T) mailbox.Mailbox {
	t.Helper()
	now := time.Now()
	m := mailbox.Mailbox{ID: event.NewID(), Address: box, Provider: "contoso", ActsAs: "owner", Receive: &mailbox.Receive{Protocol: protocol.IMAP}, Version: 1}
	p := connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "contoso", Kind: "double", Version: 1},
		Event:  event.New(now, event.ProviderCreated, event.System(), "x"),
	}
	if err := d.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := d.store.SaveMailbox(t.Context(), connect.SaveMailbox{Mailbox: m}); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMailboxPage_SaysWhoEndsAQuarantine(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	m, now := d.add(t), time.Now()
	q := mailbox.Quarantine{MailboxID: m.ID, Display: box, Verdict: mailbox.VerdictMatch, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}.Because(&fault.Error{
		ID: "net.untrusted", Text: "The certificate is not trusted.", Field: "ca_file", Who: []fault.Who{fault.Operator}, Remedy: "Set ca_file.",
	})
	err := d.store.SetAside(t.Context(), connect.SetAside{Quarantine: q, IfMailboxVersion: 1, IfProviderVersion: 1, Event: event.New(now, event.GrantQuarantined, event.System(), "x")})
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, d.do(t, http.MethodGet, "/mailboxes/"+box, nil, with(d.signIn(t, "").Cookies())))
	for _, want := range []string{"The certificate is not trusted.", "<strong>Operator:</strong> Set ca_file. Mailgrant tries again by itself until"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "Nothing has to be done") {
		t.Error("the page says that nothing has to be done")
	}
}

func TestOwnersPage_SaysWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		who    fault.Who
		others bool
	}{"the registration's": {fault.AppOwner, true}, "their own": {fault.MailboxOwner, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, nil)
			m, now := d.add(t), time.Now()
			hash := sha256.Sum256([]byte("secret"))
			l := connect.Link{ID: event.NewID(), Hash: hash[:], MailboxID: m.ID, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
			if err := d.store.CreateLink(t.Context(), l, event.New(now, event.LinkCreated, event.System(), "x")); err != nil {
				t.Fatal(err)
			}
			err := d.store.RefuseAttempt(t.Context(), connect.Refusal{
				LinkID: l.ID, Event: event.New(now, event.AttemptRefused, event.System(), "x"),
				Outcome: connect.Outcome{At: now, Cause: "oauth.invalid_client", Text: "The client secret is wrong.", Remedy: "Set it anew.", Who: []string{string(tt.who)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			text := body(t, d.do(t, http.MethodGet, "/authorize/secret", nil, nil))
			if !strings.Contains(text, "The client secret is wrong.") || strings.Contains(text, "This is not your fault.") != tt.others {
				t.Error(text)
			}
		})
	}
}
