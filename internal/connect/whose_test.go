package connect_test

import (
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// The access tokens of a real authorization, read by the inspector: the mail
// server's is right, that of the directory is named as being for another
// resource, and both tell who signed in.
func TestAdopted_AccessTokensTellWhoseTheyAre(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	m := o.mailbox(directory.StoryDeskAlias, "owner") // an alias makes Identify fetch the directory's access token too
	if _, _, err := o.authorise(m.Address, o.browserOf(""), directory.StoryDesk, connect.Choice{}); err != nil {
		t.Fatal(err)
	}
	kind, reg, err := o.Providers.Registration(o.ctx, "contoso")
	o.must(err)
	all, err := kind.Resources(reg.Record, m.Uses(), "")
	o.must(err)
	g, err := o.store.Grant(o.ctx, m.ID)
	o.must(err)
	tokens, err := o.store.AccessTokens(o.ctx, m.ID)
	o.must(err)
	inspector := diagnose.Inspector{Audiences: microsoft.New(microsoft.Options{}).Audiences(), Now: o.World().Now}
	seen := map[string]bool{}
	for _, stored := range tokens {
		seen[stored.Resource] = true
		accessToken, err := o.keys.Unseal(stored.Sealed, seal.Where("access_token", m.ID, stored.Resource))
		o.must(err)
		want := diagnose.Expectation{
			Mailbox: m.Address, Resource: provider.ResourceMail, Scopes: all[0].Scopes,
			TenantID: g.Subject.TenantID, ObjectID: g.Subject.ObjectID, ClientID: reg.ClientID,
		}
		r, err := inspector.Inspect(accessToken, want)
		o.must(err)
		switch stored.Resource {
		case provider.ResourceMail:
			if !r.OK() || r.Resource != provider.ResourceMail || r.AudienceTitle == "" || !r.ExpiresAt.After(o.World().Now().Add(30*time.Minute)) {
				t.Errorf("the mail server's: %+v", r)
			}
		default:
			if len(r.Findings) != 1 || r.Findings[0].ID != "inspect.wrong_audience" {
				t.Errorf("the directory's: %+v", r)
			}
		}
		want.ObjectID, want.Mailbox = "", directory.StoryAdele
		if r, err := inspector.Inspect(accessToken, want); err != nil || r.Findings[len(r.Findings)-1].ID != "inspect.other_person" {
			t.Errorf("it is not told from Adele's: %+v, %v", r.Findings, err)
		}
	}
	if !seen[provider.ResourceMail] || !seen[provider.ResourceGraph] {
		t.Errorf("access tokens for %v", seen)
	}
}
