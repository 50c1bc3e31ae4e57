package connect_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestFinish_AdoptsTheRightPerson(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, id := b.link(connect.LinkOptions{})
	cb := b.start(secret)
	r, err := b.Links.Finish(b.ctx, cb)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.Verdict != mailbox.VerdictMatch || r.SignedIn != desk || r.LinkState != connect.LinkGranted || r.RetryAllowed {
		t.Errorf("result %+v", r)
	}
	g, refreshToken, ok := b.grant()
	if !ok || g.State != mailbox.GrantActive || g.Verdict != mailbox.VerdictMatch || refreshToken != "refresh-1" || g.ConnectedBy != "olga" {
		t.Errorf("grant %+v, refresh token right: %v", g, refreshToken == "refresh-1")
	}
	if !g.NextRefreshAt.After(b.now) || !g.NextRefreshAt.Before(b.now.Add(time.Hour)) {
		t.Errorf("next refresh at %v", g.NextRefreshAt)
	}
	access, err := b.store.AccessTokens(b.ctx, b.box.ID)
	if err != nil || len(access) != 1 {
		t.Fatalf("access tokens: %d, %v", len(access), err)
	}
	if s, err := b.keys.Unseal(access[0].Sealed, seal.Where("access_token", b.box.ID, "mail")); err != nil || s.Reveal() != "access-mail" {
		t.Errorf("the access token does not open in its place: %v", err)
	}
	if !slices.Equal(b.adopted, []string{b.box.ID}) {
		t.Errorf("adopted %v", b.adopted)
	}
	if len(b.server.logins) != 1 || b.server.logins[0].User != desk || b.server.logins[0].AccessToken.Reveal() != "access-mail" {
		t.Error("the mailbox was not probed with its own name and the access token")
	}
	ask, red := b.idp.asked[0], b.idp.redeemed[0]
	if ask.LoginHint != desk || ask.Nonce == "" || ask.Nonce != red.Nonce || ask.CodeChallenge != oauth.CodeChallenge(red.CodeVerifier) || len(ask.State) < 43 {
		t.Error("state, nonce, PKCE or login_hint do not belong together")
	}
	want := []event.Kind{event.MailboxCreated, event.LinkCreated, event.AttemptStarted, event.AttemptGranted, event.GrantCreated}
	if got := b.kinds(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	link, _, err := b.Links.Status(b.ctx, id)
	if err != nil || link.State != connect.LinkGranted || link.LastAttempt == nil || !link.LastAttempt.OK {
		t.Errorf("link %+v, %v", link, err)
	}
	if _, err := b.Links.Start(b.ctx, secret, connect.Choice{}); !fault.Has(err, "link.granted") {
		t.Errorf("a spent link starts again: %v", err)
	}
	_, err = b.Links.Finish(b.ctx, cb)
	wantFault(t, err, "attempt.used")
}

func TestFinish_AliasAndDelegate(t *testing.T) {
	t.Parallel()
	t.Run("alias", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		if r, err := b.authorise(person("desk.user@vbcpn.example", own("desk.user@vbcpn.example"), aliasOf(desk)), connect.LinkOptions{}); err != nil || r.Verdict != mailbox.VerdictAlias {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("declared delegate", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		m := servicedesk()
		m.ActsAs = "delegate: AdeleV@vbcpn.example"
		b.save(m)
		r, err := b.authorise(person(adele, own(adele)), connect.LinkOptions{})
		if err != nil || r.Verdict != mailbox.VerdictDelegate {
			t.Fatalf("%+v, %v", r, err)
		}
		if b.idp.asked[0].LoginHint != adele {
			t.Errorf("login_hint %q, want the delegate's", b.idp.asked[0].LoginHint)
		}
		if b.server.logins[0].User != desk {
			t.Errorf("the probe opened %q, want the mailbox", b.server.logins[0].User)
		}
	})
}

// Everything that must store nothing, with its own name each.
func TestFinish_Refusals(t *testing.T) {
	t.Parallel()
	foreign := person(desk, own(desk))
	foreign.Foreign = "their tenant is another one."
	unproven := person("somebody")
	refused := &protocol.Step{Name: "auth", Title: "Sign in", Err: &fault.Error{ID: "imap.auth_refused", Kind: fault.Refused, Text: "AUTHENTICATE failed.", Remedy: "Switch on IMAP.", Who: []fault.Who{fault.MailAdmin}}}
	later := func(d time.Duration) func(*bench, *connect.Callback) {
		return func(b *bench, _ *connect.Callback) { b.now = b.now.Add(d) }
	}
	tests := []struct {
		name    string
		arrange func(*bench, *connect.Callback)
		cause   string
		probed  bool
	}{
		{"forged state", func(_ *bench, cb *connect.Callback) { cb.State = "forged" }, "attempt.unknown", false},
		{"no state", func(_ *bench, cb *connect.Callback) { cb.State = "" }, "attempt.state_missing", false},
		{"expired state", later(31 * time.Minute), "attempt.expired", false},
		{"expired link", later(73 * time.Hour), "link.expired", false},
		{"foreign browser", func(_ *bench, cb *connect.Callback) { cb.Binding = seal.NewSecret("another") }, "attempt.foreign_browser", false},
		{"browser without cookie", func(_ *bench, cb *connect.Callback) { cb.Binding = seal.Secret{} }, "attempt.foreign_browser", false},
		{"declined consent", func(_ *bench, cb *connect.Callback) {
			cb.Error, cb.ErrorDescription, cb.Code = "access_denied", "AADSTS65004: declined", seal.Secret{}
		}, "oauth.access_denied", false},
		{"other error of the provider", func(_ *bench, cb *connect.Callback) { cb.Error = "server_error" }, "oauth.temporarily_unavailable", false},
		{"neither code nor error", func(_ *bench, cb *connect.Callback) { cb.Code = seal.Secret{} }, "attempt.no_code", false},
		{"code refused", func(b *bench, _ *connect.Callback) {
			b.idp.redeemErr = &fault.Error{ID: "oauth.code_refused", Kind: fault.Refused, Text: "The code was used.", Remedy: "Start again.", Who: []fault.Who{fault.MailboxOwner}}
		}, "oauth.code_refused", false},
		{"bad ID token", func(b *bench, _ *connect.Callback) {
			b.idp.redeemErr = &fault.Error{ID: "oauth.bad_id_token", Kind: fault.Refused, Text: "The ID token is bad.", Remedy: "Start again.", Who: []fault.Who{fault.Operator}}
		}, "oauth.bad_id_token", false},
		{"identity not to be had", func(b *bench, _ *connect.Callback) {
			b.idp.identifyErr = &fault.Error{ID: "net.timeout", Kind: fault.Temporary, Text: "No answer.", Remedy: "Start again.", Who: []fault.Who{fault.Provider}}
		}, "net.timeout", false},
		{"wrong person", func(b *bench, _ *connect.Callback) { b.idp.who = person(adele, own(adele)) }, "connect.wrong_person", false},
		{"foreign organisation", func(b *bench, _ *connect.Callback) { b.idp.who = foreign }, "connect.identity_foreign", false},
		{"nothing proved", func(b *bench, _ *connect.Callback) { b.idp.who = unproven }, "connect.identity_unverifiable", false},
		{"no refresh token", func(b *bench, _ *connect.Callback) { b.idp.tokens.RefreshToken = seal.Secret{} }, "connect.no_refresh_token", false},
		{"mailbox does not open", func(b *bench, _ *connect.Callback) { b.server.fail = refused }, "connect.mailbox_does_not_open", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			secret, id := b.link(connect.LinkOptions{})
			cb := b.start(secret)
			tt.arrange(b, &cb)
			r, err := b.Links.Finish(b.ctx, cb)
			wantFault(t, err, tt.cause)
			if r.OK || r.Cause != tt.cause || r.Text == "" || r.Remedy == "" {
				t.Errorf("result %+v", r)
			}
			b.nothingStored()
			if probed := b.server.asked() > 0; probed != tt.probed {
				t.Errorf("the mail server was asked: %v", probed)
			}
			if len(b.idp.refreshed) > 0 {
				t.Error("a refused refresh token was used")
			}
			if r.LinkID == "" {
				return
			}
			link, _, err := b.Links.Status(b.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if link.State == connect.LinkPending && (link.LastAttempt == nil || link.LastAttempt.Cause != tt.cause || !r.RetryAllowed) {
				t.Errorf("the link does not keep how the attempt ended: %+v", link.LastAttempt)
			}
			if got := b.kinds(); got[len(got)-1] != event.AttemptRefused {
				t.Errorf("events %v", got)
			}
		})
	}
}

func TestFinish_WrongPersonIsNamedAndShownTheWayOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r, err := b.authorise(person(adele, own(adele)), connect.LinkOptions{})
	wantFault(t, err, "connect.wrong_person")
	if !strings.Contains(r.Text, desk) || !strings.Contains(r.Text, adele) || r.SignedIn != adele || r.Expected != desk {
		t.Errorf("the page does not name both: %+v", r)
	}
	if !strings.HasPrefix(r.SignOutURL, "https://idp.example/logout") || !r.RetryAllowed || r.AttemptsLeft != connect.MaxAttempts-1 {
		t.Errorf("no way out: %+v", r)
	}
}

func TestFinish_WorkingGrantSurvivesWrongAttempts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	before, _, _ := b.grant()
	b.idp.tokens.RefreshToken = seal.NewSecret("refresh-of-somebody")
	undecided := &protocol.Step{Name: "tcp", Err: &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No connection.", Retry: true}}
	made := person(desk, own(desk))
	made.Subject.Subject = "made-anew"
	for _, try := range []struct {
		name string
		who  provider.Identity
		fail *protocol.Step
		ok   bool
	}{
		{"wrong person", person(adele, own(adele)), nil, false},
		{"another user with the right address", made, nil, false},
		{"undecided probe", person(desk, own(desk)), undecided, true},
	} {
		b.server.fail = try.fail
		if _, err := b.authorise(try.who, connect.LinkOptions{}); (err == nil) != try.ok {
			t.Errorf("%s: %v", try.name, err)
		}
		after, refreshToken, _ := b.grant()
		if after.State != mailbox.GrantActive || refreshToken != "refresh-1" || after.SecretsVersion != before.SecretsVersion {
			t.Fatalf("%s touched the working grant: %+v", try.name, after)
		}
	}
}

func TestFinish_AnotherSubjectNeedsAnOperatorsYes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	made := person(desk, own(desk))
	made.Subject.Subject = "made-anew"
	r, err := b.authorise(made, connect.LinkOptions{})
	wantFault(t, err, "connect.other_person")
	if r.Outcome.Subject != made.Key() {
		t.Fatalf("the outcome does not name whom to allow: %+v", r)
	}
	if _, err := b.authorise(made, connect.LinkOptions{AllowSubject: "https://idp.example#yet-another"}); !fault.Has(err, "connect.other_person") {
		t.Fatalf("a yes to somebody else counted: %v", err)
	}
	b.idp.tokens.RefreshToken = seal.NewSecret("refresh-2")
	if _, err := b.authorise(made, connect.LinkOptions{AllowSubject: r.Outcome.Subject}); err != nil {
		t.Fatal(err)
	}
	if g, refreshToken, _ := b.grant(); g.Subject.Subject != "made-anew" || refreshToken != "refresh-2" {
		t.Errorf("grant %+v", g)
	}
	if got := b.kinds(); got[len(got)-1] != event.GrantReplaced && got[len(got)-2] != event.GrantReplaced {
		t.Errorf("events %v", got)
	}
}

func TestFinish_UnverifiableWhereAllowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := servicedesk()
	m.AllowUnknown = true
	b.save(m)
	r, err := b.authorise(person("somebody"), connect.LinkOptions{})
	if err != nil || r.Verdict != mailbox.VerdictUnverifiable {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestFinish_MailboxChangedWhileSigningIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, _ := b.link(connect.LinkOptions{})
	cb := b.start(secret)
	// The access token is for another resource, so that Refresh is asked in the middle of Finish.
	b.idp.tokens.Resource = provider.ResourceGraph
	b.idp.onRefresh = func() {
		m := servicedesk()
		m.From = "desk@vbcpn.example"
		b.save(m)
	}
	_, err := b.Links.Finish(b.ctx, cb)
	wantFault(t, err, "mailbox.changed")
	b.nothingStored()
}

func TestFinish_SettingsChangedWhileAtTheProvider(t *testing.T) {
	t.Parallel()
	atProvider := func(change func(*connect.ProviderSettings)) func(*bench) {
		return func(b *bench) {
			s := contoso()
			change(&s)
			if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(*bench){
		"another authorization server": atProvider(func(s *connect.ProviderSettings) { s.Record.Tenant = "other.example" }),
		"another token endpoint":       atProvider(func(s *connect.ProviderSettings) { s.Record.Endpoints["token"] = "https://idp.example/v2/token" }),
		"another redirect URI": atProvider(func(s *connect.ProviderSettings) {
			s.Record.RedirectURI = "https://mailgrant.example/oauth_redirect.do"
		}),
		"another delegate": func(b *bench) {
			m := servicedesk()
			m.ActsAs = "delegate: " + adele
			b.save(m)
		},
		"other uses": func(b *bench) {
			m := servicedesk()
			m.Send = nil
			b.save(m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			secret, _ := b.link(connect.LinkOptions{})
			cb := b.start(secret)
			change(b)
			r, err := b.Links.Finish(b.ctx, cb)
			wantFault(t, err, "mailbox.changed")
			if len(b.idp.redeemed) > 0 {
				t.Error("the code went to settings that did not ask for it")
			}
			if !r.RetryAllowed {
				t.Error("the person may not start again")
			}
			b.nothingStored()
		})
	}
}

func TestFinish_ProviderChangedWhileSigningIn(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]*protocol.Step{
		"not adopted":   nil,
		"not set aside": {Name: "tcp", Err: &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No connection.", Retry: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.server.fail = fail
			secret, _ := b.link(connect.LinkOptions{})
			cb := b.start(secret)
			b.idp.tokens.Resource = provider.ResourceGraph
			b.idp.onRefresh = func() {
				s := contoso()
				s.Record.ClientID = "client-2"
				if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
					t.Error(err)
				}
			}
			_, err := b.Links.Finish(b.ctx, cb)
			wantFault(t, err, "mailbox.changed")
			b.nothingStored()
		})
	}
}

func TestFinish_AttemptsAreCountedAndTheLastMayStillSucceed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, id := b.link(connect.LinkOptions{})
	var last connect.Callback
	for range connect.MaxAttempts {
		last = b.start(secret)
	}
	_, err := b.Links.Start(b.ctx, secret, connect.Choice{})
	wantFault(t, err, "link.used_up")
	b.idp.who = person(adele, own(adele))
	r, err := b.Links.Finish(b.ctx, last)
	wantFault(t, err, "connect.wrong_person")
	if r.LinkState != connect.LinkRefused || r.RetryAllowed {
		t.Errorf("result %+v", r)
	}
	if link, _, err := b.Links.Status(b.ctx, id); err != nil || link.State != connect.LinkRefused {
		t.Errorf("link %+v, %v", link, err)
	}
}

func TestFinish_WhatOthersCausedDoesNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, id := b.link(connect.LinkOptions{})
	b.idp.redeemErr = &fault.Error{ID: "oauth.invalid_client", Kind: fault.Refused, Text: "The client secret is wrong.", Remedy: "Set it anew.", Who: []fault.Who{fault.AppOwner, fault.Operator}}
	for range connect.MaxAttempts + 1 {
		r, err := b.Links.Finish(b.ctx, b.start(secret))
		wantFault(t, err, "oauth.invalid_client")
		if !r.OthersAct() || r.AttemptsLeft != connect.MaxAttempts || !r.RetryAllowed {
			t.Fatalf("result %+v", r)
		}
	}
	b.idp.redeemErr = nil
	b.idp.who = person(adele, own(adele))
	r, err := b.Links.Finish(b.ctx, b.start(secret))
	wantFault(t, err, "connect.wrong_person")
	if r.OthersAct() || r.AttemptsLeft != connect.MaxAttempts-1 {
		t.Errorf("the wrong person's attempt: %+v", r)
	}
	if link, _, err := b.Links.Status(b.ctx, id); err != nil || link.State != connect.LinkPending || link.Attempts != 1 {
		t.Errorf("link %+v, %v", link, err)
	}
}

func TestLinks_CancelledAndReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, id := b.link(connect.LinkOptions{})
	cb := b.start(secret)
	if err := b.Links.Cancel(b.ctx, id, operator); err != nil {
		t.Fatal(err)
	}
	_, err := b.Links.Start(b.ctx, secret, connect.Choice{})
	wantFault(t, err, "link.cancelled")
	_, err = b.Links.Finish(b.ctx, cb)
	wantFault(t, err, "link.cancelled")
	b.nothingStored()

	older, _ := b.link(connect.LinkOptions{})
	b.link(connect.LinkOptions{})
	_, err = b.Links.Start(b.ctx, older, connect.Choice{})
	wantFault(t, err, "link.cancelled")
	_, err = b.Links.Start(b.ctx, older+"x", connect.Choice{})
	wantFault(t, err, "link.unknown")
}

func TestLinks_DescribeChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, _ := b.link(connect.LinkOptions{})
	before := len(b.kinds())
	for range 10 {
		d, err := b.Links.Describe(b.ctx, secret)
		if err != nil {
			t.Fatal(err)
		}
		if d.State != connect.LinkPending || d.AttemptsLeft != connect.MaxAttempts || d.Mailbox != desk || d.Principal != desk ||
			d.ProviderTitle != "Contoso Mail" || len(d.Permissions) != 4 || !d.MaySelect {
			t.Fatalf("description %+v", d)
		}
	}
	if after := len(b.kinds()); after != before {
		t.Errorf("describing wrote %d events", after-before)
	}
	b.now = b.now.Add(73 * time.Hour)
	if d, err := b.Links.Describe(b.ctx, secret); err != nil || d.State != connect.LinkExpired {
		t.Errorf("an expired link is described as %+v, %v", d, err)
	}
}
