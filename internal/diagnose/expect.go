package diagnose

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Expect says what an access token for this mailbox's mail server has to be.
func (l *Ladder) Expect(ctx context.Context, m mailbox.Mailbox) (Expectation, error) {
	want := Expectation{Mailbox: m.Address, Principal: m.Principal(), Resource: provider.ResourceMail}
	kind, reg, err := l.Directory.Registration(ctx, m.Provider)
	if err != nil {
		return want, err
	}
	want.ClientID = reg.ClientID
	resources, err := kind.Resources(reg.Record, m.Uses(), m.Profile)
	if err != nil {
		return want, err
	}
	for _, r := range resources {
		if r.Name == want.Resource {
			want.Scopes = r.Scopes
		}
	}
	g, err := l.Grants.Grant(ctx, m.ID)
	if err != nil && !fault.Has(err, "grant.none") {
		return want, err
	}
	want.TenantID, want.ObjectID = g.Subject.TenantID, g.Subject.ObjectID
	return want, nil
}
