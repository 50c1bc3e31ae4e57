package diagnose_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// site is everything a ladder needs, as a test wants it.
type site struct {
	provider.Kind // what the ladder does not ask is nil and would be seen at once

	box        mailbox.Mailbox
	grant      *mailbox.Grant
	quarantine *mailbox.Quarantine
	checkErr   error
	verifyErr  error
	lendErr    error
	token      string
	failAt     string // the step of every probe that fails
	sent       []string
	sendErr    error
	events     []event.Event
	probed     []protocol.Login
}

func (s *site) Traits() provider.Traits {
	return provider.Traits{Kind: "double", Title: "Contoso Mail"}
}
func (s *site) Check(provider.Record) error                         { return s.checkErr }
func (s *site) Verify(context.Context, provider.Registration) error { return s.verifyErr }
func (s *site) Resources(provider.Record, []provider.Use, string) ([]provider.Resource, error) {
	return []provider.Resource{{Name: provider.ResourceMail}}, nil
}

func (s *site) Get(_ context.Context, address string) (mailbox.Mailbox, error) {
	if address != s.box.Address {
		return mailbox.Mailbox{}, &fault.Error{ID: "mailbox.unknown", Kind: fault.NotFound, Text: "None."}
	}
	return s.box, nil
}

func (s *site) Endpoints(context.Context, mailbox.Mailbox) (receive, send *protocol.Endpoint, err error) {
	return &protocol.Endpoint{Protocol: protocol.IMAP, Host: "imap.example", Port: 993, Resource: provider.ResourceMail},
		&protocol.Endpoint{Protocol: protocol.SMTP, Host: "smtp.example", Port: 587, Resource: provider.ResourceMail}, nil
}

func (s *site) Registration(context.Context, string) (provider.Kind, provider.Registration, error) {
	return s, provider.Registration{Record: provider.Record{Name: "contoso", ClientID: "client-1"}}, nil
}

func (s *site) Grant(context.Context, string) (mailbox.Grant, error) {
	if s.grant == nil {
		return mailbox.Grant{}, &fault.Error{ID: "grant.none", Kind: fault.NotFound, Text: "None."}
	}
	return *s.grant, nil
}

func (s *site) QuarantineOf(context.Context, string) (*mailbox.Quarantine, error) {
	return s.quarantine, nil
}

func (s *site) Lend(context.Context, string, string, time.Duration) (seal.Secret, time.Time, error) {
	return seal.NewSecret(s.token), now.Add(time.Hour), s.lendErr
}

func (s *site) SendTest(_ context.Context, _, to string) (string, error) {
	s.sent = append(s.sent, to)
	return "250 2.0.0 queued as 4711", s.sendErr
}

func (s *site) WriteEvent(_ context.Context, e event.Event) error {
	s.events = append(s.events, e)
	return nil
}

func (s *site) Probe(_ context.Context, at protocol.Endpoint, login protocol.Login, yield func(protocol.Step)) error {
	s.probed = append(s.probed, login)
	for _, name := range []string{"dns", "tls", "auth", "open"} {
		if name == "auth" && login.AccessToken.IsZero() {
			return protocol.Climb{Yield: yield}.WithoutAccessToken(login.User)
		}
		if string(at.Protocol)+"."+name == s.failAt {
			err := &fault.Error{ID: "test.refused", Kind: fault.Refused, Text: "AUTHENTICATE failed.", Who: []fault.Who{fault.MailAdmin}, Remedy: "Switch it on.", Detail: fault.Detail{Reply: "NO AUTHENTICATE failed."}}
			yield(protocol.Step{Name: name, Title: "Step " + name, Err: err})
			return err
		}
		yield(protocol.Step{Name: name, Title: "Step " + name, OK: true, Observed: "fine"})
	}
	return nil
}

func newSite(t *testing.T) *site {
	t.Helper()
	return &site{
		box: mailbox.Mailbox{
			ID: "m1", Address: "servicedesk@vbcpn.example", Provider: "contoso", ActsAs: "owner",
			Receive: &mailbox.Receive{Protocol: protocol.IMAP}, Send: &mailbox.Send{Protocol: protocol.SMTP},
		},
		grant: &mailbox.Grant{
			MailboxID: "m1", State: mailbox.GrantActive, Verdict: mailbox.VerdictMatch, Display: "servicedesk@vbcpn.example",
			Subject: provider.Subject{TenantID: "tenant-1", ObjectID: "object-1"}, ConnectedAt: now.Add(-48 * time.Hour),
		},
		token: jwt(t, good(nil)),
	}
}

func (s *site) climb(t *testing.T, o diagnose.TestOptions) (rungs map[string]diagnose.Rung, err error) {
	t.Helper()
	l := &diagnose.Ladder{
		Mailboxes: s, Directory: s, Grants: s, Lender: s, Courier: s, Events: s, Audiences: inspector().Audiences,
		Probes: func(protocol.Name) protocol.Prober { return s }, Now: func() time.Time { return now },
	}
	rungs = map[string]diagnose.Rung{}
	err = l.Test(t.Context(), "servicedesk@vbcpn.example", o, func(r diagnose.Rung) {
		if _, twice := rungs[r.Name]; twice {
			t.Errorf("the rung %s came twice", r.Name)
		}
		if r.Title == "" {
			t.Errorf("the rung %s has no title", r.Name)
		}
		if r.OK && (r.Observed == "" || r.Skipped) {
			t.Errorf("the rung %s does not say what was observed: %+v", r.Name, r)
		}
		if !r.OK && !r.Skipped && (r.Cause == "" || r.Remedy == "" || len(r.Who) == 0 || r.ID == "") {
			t.Errorf("the rung %s failed without cause, who and remedy: %+v", r.Name, r)
		}
		rungs[r.Name] = r
	})
	if len(s.events) != 1 || s.events[0].Kind != event.MailboxTested || s.events[0].Text == "" {
		t.Errorf("events %+v", s.events)
	}
	return rungs, err
}

func TestLadder_Green(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rungs, err := s.climb(t, diagnose.TestOptions{SendTo: "adele@vbcpn.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"configuration", "provider", "grant", "access_token", "identity", "receive.open", "send.auth", "message"} {
		if !rungs[name].OK {
			t.Errorf("%s: %+v", name, rungs[name])
		}
	}
	if len(s.sent) != 1 || !strings.Contains(rungs["message"].Observed, "4711") {
		t.Errorf("sent %v: %+v", s.sent, rungs["message"])
	}
	if s.probed[0].User != s.box.Address || s.probed[0].AccessToken.Reveal() != s.token {
		t.Error("the probe did not sign in as the mailbox with the lent access token")
	}
}

func TestLadder_Failures(t *testing.T) {
	t.Parallel()
	broken := &fault.Error{ID: "provider.tenant", Kind: fault.Invalid, Text: "The tenant is missing.", Who: []fault.Who{fault.Operator}, Remedy: "Give it."}
	tests := []struct {
		name    string
		arrange func(*testing.T, *site)
		failed  string
		id      string
		skipped []string
		ok      []string
	}{
		{"settings wrong", func(_ *testing.T, s *site) { s.checkErr = broken }, "configuration", "provider.tenant", []string{"provider", "access_token", "identity"}, []string{"grant"}},
		{"provider does not know us", func(_ *testing.T, s *site) { s.verifyErr = broken }, "provider", "provider.tenant", nil, []string{"grant", "receive.open", "send.open"}},
		{"never authorised", func(_ *testing.T, s *site) { s.grant = nil }, "grant", "grant.none", []string{"access_token", "identity", "receive.auth", "send.auth", "message"}, []string{"configuration", "receive.tls", "send.tls"}},
		{"waits in quarantine", func(_ *testing.T, s *site) {
			s.grant, s.quarantine = nil, &mailbox.Quarantine{Display: "desk", CauseText: "No connection.", ExpiresAt: now.Add(time.Hour)}
		}, "grant", "grant.quarantined", []string{"receive.auth"}, []string{"receive.tls"}},
		{"grant dead", func(_ *testing.T, s *site) { s.grant.State = mailbox.GrantDead }, "grant", "grant.dead", []string{"receive.auth", "message"}, nil},
		{"grant suspended", func(_ *testing.T, s *site) { s.grant.State = mailbox.GrantSuspended }, "grant", "grant.suspended", []string{"receive.auth"}, nil},
		{"grant revoked", func(_ *testing.T, s *site) { s.grant.State = mailbox.GrantRevoked }, "grant", "grant.revoked", []string{"receive.auth"}, nil},
		{"no access token", func(_ *testing.T, s *site) { s.lendErr = broken }, "access_token", "provider.tenant", []string{"receive.auth", "send.auth", "message"}, []string{"identity", "receive.tls", "send.tls"}},
		{"access token for another resource", func(t *testing.T, s *site) {
			s.token = jwt(t, good(map[string]any{"aud": "00000003-0000"}))
		}, "identity", "inspect.wrong_audience", nil, []string{"access_token"}},
		{"access token of another user", func(t *testing.T, s *site) { s.token = jwt(t, good(map[string]any{"oid": "object-2"})) }, "identity", "inspect.other_person", nil, nil},
		{"grant of another person", func(_ *testing.T, s *site) { s.grant.Verdict = mailbox.VerdictMismatch }, "identity", "connect.wrong_person", nil, nil},
		{"unverifiable is no longer allowed", func(_ *testing.T, s *site) { s.grant.Verdict = mailbox.VerdictUnverifiable }, "identity", "connect.wrong_person", nil, nil},
		{"receiving refused", func(_ *testing.T, s *site) { s.failAt = "imap.auth" }, "receive.auth", "test.refused", nil, []string{"receive.tls", "send.open", "message"}},
		{"sending refused", func(_ *testing.T, s *site) { s.failAt = "smtp.auth" }, "send.auth", "test.refused", []string{"message"}, []string{"receive.open"}},
		{"message refused", func(_ *testing.T, s *site) { s.sendErr = broken }, "message", "provider.tenant", nil, []string{"send.open"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			tt.arrange(t, s)
			rungs, err := s.climb(t, diagnose.TestOptions{SendTo: "adele@vbcpn.example"})
			if !fault.Has(err, tt.id) || rungs[tt.failed].OK || rungs[tt.failed].ID != tt.id {
				t.Errorf("got %v at %+v", err, rungs[tt.failed])
			}
			for _, name := range tt.skipped {
				if !rungs[name].Skipped {
					t.Errorf("%s was not skipped: %+v", name, rungs[name])
				}
			}
			for _, name := range tt.ok {
				if !rungs[name].OK {
					t.Errorf("%s: %+v", name, rungs[name])
				}
			}
			if s.events[0].Cause != tt.id {
				t.Errorf("the event does not say why: %+v", s.events[0])
			}
		})
	}
}

func TestLadder_SaysWhatWaitsAndWhy(t *testing.T) {
	t.Parallel()
	t.Run("in quarantine", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.grant = nil
		q := mailbox.Quarantine{Display: "desk", Verdict: mailbox.VerdictMatch, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}.Because(&fault.Error{
			ID: "net.untrusted", Text: "The certificate is not trusted.", Field: "ca_file", Who: []fault.Who{fault.MailAdmin},
			Remedy: "Set ca_file. Mailgrant tries again by itself.",
		})
		s.quarantine = &q
		rungs, _ := s.climb(t, diagnose.TestOptions{})
		if g := rungs["grant"]; g.Who[0] != fault.MailAdmin || !strings.HasPrefix(g.Remedy, "Set ca_file. ") || strings.Count(g.Remedy, "by itself") != 1 || !strings.Contains(g.Cause, "not trusted") {
			t.Errorf("%+v", g)
		}
		if r := rungs["identity"]; !r.Skipped || !strings.Contains(r.Observed, "desk signed in") || !strings.Contains(r.Observed, "waits in quarantine") {
			t.Errorf("%+v", r)
		}
		if r := rungs["access_token"]; !r.Skipped || !strings.Contains(r.Observed, "Not used while") {
			t.Errorf("%+v", r)
		}
		if len(s.probed) != 2 || !s.probed[0].AccessToken.IsZero() {
			t.Errorf("probed %d times", len(s.probed))
		}
	})
	t.Run("suspended", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.grant.State = mailbox.GrantSuspended
		rungs, _ := s.climb(t, diagnose.TestOptions{})
		if r := rungs["identity"]; !strings.Contains(r.Observed, "servicedesk@vbcpn.example signed in") || !strings.Contains(r.Observed, "suspended") {
			t.Errorf("%+v", r)
		}
		if r := rungs["access_token"]; !strings.Contains(r.Observed, "Not used while") {
			t.Errorf("%+v", r)
		}
	})
}

func TestLadder_UnknownMailbox(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	l := &diagnose.Ladder{Mailboxes: s}
	err := l.Test(t.Context(), "nobody@vbcpn.example", diagnose.TestOptions{}, func(diagnose.Rung) { t.Error("a rung was climbed") })
	if !errors.Is(err, &fault.Error{ID: "mailbox.unknown"}) {
		t.Errorf("got %v", err)
	}
}
