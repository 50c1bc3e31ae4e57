package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestOverview looks at everything, then as a key that is bound to one mailbox.
func TestOverview(t *testing.T) {
	t.Parallel()
	s := open(t)
	desk, adele := directory.StoryDesk, strings.ToLower(directory.StoryAdele)
	s.furnish(t, desk, adele)
	c, bound := s.client(t, s.key), s.client(t, s.newKey(t, "adele", []access.Right{access.Read}, adele))
	db, _ := s.Store.Database()
	m, err := s.Connect.Mailboxes.Get(t.Context(), desk)
	must(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO grants (mailbox_id, state, verdict, subject, display, scopes, connected_at, connected_by, lease_owner, lease_fence,
		lease_until, intent_fence, intent_resource, intent_at, next_refresh_at, last_refresh_at, failures, cause, cause_text, remedy, secrets_version)
		VALUES ($1, 'dead', 'match', '{}', 'desk', '[]', 1, '', '', 1, 0, 0, '', 0, 0, 0, 1, 'oauth.invalid_grant', 'The session was revoked.', 'Make a link.', 1)`, m.ID)
	must(t, err)

	o, err := c.Overview(t.Context())
	must(t, err)
	if o.Mailboxes != 2 || o.States["dead"] != 1 || o.States["unauthorised"] != 1 || len(o.Hours) != 24 {
		t.Errorf("%+v", o)
	}
	if len(o.Attention) != 1 || o.Attention[0].Kind != "dead" || o.Attention[0].Mailbox != desk || o.Attention[0].Text != "The session was revoked." || len(o.Attention[0].Who) == 0 {
		t.Errorf("needs attention: %+v", o.Attention)
	}
	if o, err = bound.Overview(t.Context()); err != nil || o.Mailboxes != 1 || len(o.Attention) != 0 || !o.LastRunAt.IsZero() {
		t.Errorf("a bound key sees %+v, %v", o, err)
	}
	for name, one := range map[string]struct {
		c    *client.Client
		f    client.MailboxFilter
		want []string
	}{
		"by a part":        {c, client.MailboxFilter{Part: "DELEV"}, []string{adele}},
		"by state":         {c, client.MailboxFilter{State: "dead"}, []string{desk}},
		"by provider":      {c, client.MailboxFilter{Provider: "nobody"}, nil},
		"bound, all":       {bound, client.MailboxFilter{}, []string{adele}},
		"bound, by state":  {bound, client.MailboxFilter{State: "dead"}, nil},
		"by several":       {c, client.MailboxFilter{Part: "desk", State: "dead", Provider: "contoso"}, []string{desk}},
		"none is like it":  {c, client.MailboxFilter{Part: "%"}, nil},
		"a state and part": {c, client.MailboxFilter{Part: "adele", State: "dead"}, nil},
	} {
		all, err := client.Collect(one.c.MailboxesLike(t.Context(), one.f), 0)
		must(t, err)
		var got []string
		for _, m := range all {
			got = append(got, m.Address)
		}
		if strings.Join(got, " ") != strings.Join(one.want, " ") {
			t.Errorf("%s: %v, want %v", name, got, one.want)
		}
	}
	s.do(t, s.key, "GET", "/v1/mailboxes?state=asleep", nil).refused(t, 422, "api.invalid_request")
	_, err = db.ExecContext(t.Context(), "UPDATE grants SET state = 'active', failures = 0")
	must(t, err)
	_, err = db.ExecContext(t.Context(), `UPDATE watches SET stopped_at = $2, stop_cause = 'net.refused', stop_text = 'Nothing listens.', stop_remedy = 'Start it.', stop_who = '["mail_admin"]' WHERE mailbox_id = $1`,
		m.ID, time.Now().Add(-time.Hour).UnixMicro())
	must(t, err)
	one, err := c.Mailbox(t.Context(), desk)
	must(t, err)
	if st := one.Status; st == nil || st.State != "stopped" || st.ReceivingStopped == nil || st.ReceivingStopped.Text != "Nothing listens." || st.ReceivingStopped.Who[0] != "mail_admin" {
		t.Errorf("the status is %+v", one.Status)
	}
}
