package app_test

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const deskAddress = "servicedesk@vbcpn.example"

// desk is an authorised mailbox that sends.
type desk struct{ mailbox.Mailbox }

// furnish stores a provider at an authority, and a mailbox with a grant that is
// due at an instant.
func furnish(t *testing.T, s *server, authority string, due time.Time) desk {
	t.Helper()
	now := time.Now()
	p, _, err := s.Connect.Providers.Save(t.Context(), connect.ProviderSettings{
		Record: provider.Record{
			Name: "contoso", Kind: "microsoft", Tenant: "vbcpn.example", ClientID: "11111111-2222-3333-4444-555555555555",
			Endpoints: map[string]string{"authority": authority},
		},
		Secrets: []connect.SecretInput{{Value: seal.NewSecret("client-secret-1")}},
	}, byOperator)
	must(t, err)
	m := mailbox.Mailbox{
		ID: event.NewID(), Address: deskAddress, Provider: p.Name, GrantType: "authorization_code", ActsAs: "owner",
		Send: &mailbox.Send{Protocol: protocol.SMTP}, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	must(t, s.Store.SaveMailbox(t.Context(), connect.SaveMailbox{Mailbox: m, Events: []event.Event{
		event.New(now, event.MailboxCreated, byOperator, "The mailbox was added.").About(m.ID, m.Address),
	}}))
	refresh, err := s.Keys.Seal(seal.NewSecret("refresh-1"), seal.Where("grant", m.ID, "refresh_token"))
	must(t, err)
	access, err := s.Keys.Seal(seal.NewSecret("access-1"), seal.Where("access_token", m.ID, provider.ResourceMail))
	must(t, err)
	must(t, s.Store.Adopt(t.Context(), connect.Adoption{
		Grant: mailbox.Grant{
			MailboxID: m.ID, State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Subject: provider.Subject{Issuer: "https://issuer", Subject: "s-1"},
			ConnectedAt: now, ConnectedBy: "anna", RefreshToken: refresh, NextRefreshAt: due,
		},
		Access:           []mailbox.AccessToken{{MailboxID: m.ID, Resource: provider.ResourceMail, Sealed: access, ObtainedAt: now, ExpiresAt: now.Add(time.Hour)}},
		IfMailboxVersion: 1, IfProviderVersion: p.Version, Now: now,
		Events: []event.Event{event.New(now, event.GrantCreated, byOperator, "The mailbox has its first grant.").About(m.ID, m.Address)},
	}))
	return desk{m}
}

// sealed is the stored refresh token.
func (d desk) sealed(t *testing.T, s *server) seal.Sealed {
	t.Helper()
	g, err := s.Store.Grant(t.Context(), d.ID)
	must(t, err)
	return g.RefreshToken
}
