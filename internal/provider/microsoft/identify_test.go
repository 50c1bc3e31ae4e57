package microsoft_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestRedeem_BelievesOnlyTheTenantItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		tenant string
		claims func(e *entra) map[string]any
		id     string // of the fault; empty: accepted
	}{
		{"the right tenant by domain", domain, nil, ""},
		{"the right tenant by ID", home, nil, ""},
		{"the right tenant under common", "common", nil, ""},
		{"a foreign tenant under common is read, to be judged by Identify", "common", func(e *entra) map[string]any {
			return map[string]any{"iss": e.URL + "/" + elsewhere + "/v2.0", "tid": elsewhere}
		}, ""},
		{"a foreign tenant under the domain", domain, func(e *entra) map[string]any {
			return map[string]any{"iss": e.URL + "/" + elsewhere + "/v2.0", "tid": elsewhere}
		}, "oauth.bad_id_token"},
		{"tid and issuer of two tenants", "common", func(e *entra) map[string]any {
			return map[string]any{"iss": e.URL + "/" + elsewhere + "/v2.0"}
		}, "oauth.bad_id_token"},
		{"the placeholder as issuer", "common", func(e *entra) map[string]any {
			return map[string]any{"iss": e.URL + "/{tenantid}/v2.0"}
		}, "oauth.bad_id_token"},
		{"a tid that is a path", "common", func(*entra) map[string]any { return map[string]any{"tid": "../" + home} }, "oauth.bad_id_token"},
		{"a tid that is common", "common", func(*entra) map[string]any { return map[string]any{"tid": "common"} }, "oauth.bad_id_token"},
		{"an unknown tid", "common", func(*entra) map[string]any { return map[string]any{"tid": strangerID} }, "oauth.unknown_tenant"},
		{"no tid", domain, func(*entra) map[string]any { return map[string]any{"tid": nil} }, "oauth.bad_id_token"},
		{"no oid", domain, func(*entra) map[string]any { return map[string]any{"oid": nil} }, "oauth.bad_id_token"},
		{"another nonce", domain, func(*entra) map[string]any { return map[string]any{"nonce": "n-2"} }, "oauth.bad_id_token"},
		{"another client", domain, func(*entra) map[string]any { return map[string]any{"aud": strangerID} }, "oauth.bad_id_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startEntra(t)
			e.reg.Tenant = c.tenant
			if c.claims != nil {
				e.claims = c.claims(e)
			}
			tokens, err := e.redeem(t)
			if c.id != "" {
				if !fault.Has(err, c.id) || !tokens.AccessToken.IsZero() || !tokens.RefreshToken.IsZero() {
					t.Fatalf("%+v, %v; want %s", tokens, err, c.id)
				}
				if strings.Contains(fmt.Sprint(err), marker) {
					t.Fatalf("a secret shows: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tokens.Resource != provider.ResourceMail || tokens.RefreshToken.Reveal() != marker+"-refresh-2" || tokens.Subject.ObjectID != person || tokens.Subject.Name != "Service Desk" {
				t.Fatalf("%+v", tokens)
			}
			asked := strings.Fields(e.asked[0].Get("scope"))
			for _, scope := range asked {
				if strings.Contains(scope, "graph") {
					t.Errorf("a token request names two resources: %v", asked)
				}
			}
			if !slices.Contains(asked, "openid") || !slices.Contains(asked, "offline_access") || !slices.Contains(asked, "https://outlook.office.com/SMTP.Send") {
				t.Errorf("scopes asked: %v", asked)
			}
		})
	}
}

func TestRedeem_SendsNoCodeForAnotherServersAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		tenant string
		iss    func(e *entra) string
		sent   bool // the code may go to the token endpoint
		id     string
	}{
		{"no issuer where none is promised", domain, func(*entra) string { return "" }, true, ""},
		{"the tenant's own issuer", domain, func(e *entra) string { return e.URL + "/" + home + "/v2.0" }, true, ""},
		{"a tenant of the authority under common", "common", func(e *entra) string { return e.URL + "/" + home + "/v2.0" }, true, ""},
		{"another server", domain, func(*entra) string { return "https://evil.example" }, false, "oauth.wrong_issuer"},
		{"another server under common", "common", func(*entra) string { return "https://evil.example/" + home + "/v2.0" }, false, "oauth.wrong_issuer"},
		{"another tenant", domain, func(e *entra) string { return e.URL + "/" + elsewhere + "/v2.0" }, false, "oauth.wrong_issuer"},
		{"the placeholder where a tenant is set", domain, func(e *entra) string { return e.URL + "/{tenantid}/v2.0" }, false, "oauth.wrong_issuer"},
		{"another tenant than the ID token's, under common", "common", func(e *entra) string { return e.URL + "/" + elsewhere + "/v2.0" }, true, "oauth.wrong_issuer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startEntra(t)
			e.reg.Tenant = c.tenant
			tokens, err := e.redeemFrom(t, c.iss(e))
			if sent := len(e.asked) > 0; sent != c.sent {
				t.Errorf("the code was sent: %v", sent)
			}
			if c.id == "" && err != nil || c.id != "" && (!fault.Has(err, c.id) || !tokens.RefreshToken.IsZero()) {
				t.Errorf("%v, want %q", err, c.id)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	good := map[string]any{"id": person, "mail": "Desk@" + domain, "userPrincipalName": "sd@" + domain, "proxyAddresses": []string{"SMTP:Desk@" + domain, "smtp:help@" + domain, "X500:/o=x", "sip:x@" + domain}}
	stranger := map[string]any{"preferred_username": "AdeleV@" + domain, "oid": strangerID}
	for _, c := range []struct {
		name     string
		mailbox  string
		claims   map[string]any
		me       any
		graph    func(url.Values) (int, any)
		source   string // of the mailbox's address; empty: not proved
		alias    bool
		foreign  bool
		unproven bool
		unread   string // in the remedy; empty: all addresses were read
		id       string
		meHits   int
	}{
		{name: "the sign-in address is the mailbox's: Graph is not asked", mailbox: strings.ToUpper(desk), source: "preferred_username"},
		{name: "an alias of the directory", mailbox: "help@" + domain, me: good, source: "graph_proxy_address", alias: true, meHits: 1},
		{name: "the primary address", mailbox: "desk@" + domain, me: good, source: "graph_proxy_address", alias: true, meHits: 1},
		{name: "the attribute mail is no proof", mailbox: "desk@" + domain, claims: stranger, me: map[string]any{"id": strangerID, "mail": "desk@" + domain, "userPrincipalName": "AdeleV@" + domain, "proxyAddresses": []string{"SMTP:AdeleV@" + domain}}, meHits: 1},
		{name: "somebody else of the same tenant", mailbox: desk, claims: stranger, me: map[string]any{"id": strangerID, "mail": "AdeleV@" + domain}, meHits: 1},
		{name: "the claim email is no address", mailbox: desk, claims: map[string]any{"preferred_username": "AdeleV@" + domain, "oid": strangerID, "email": desk, "email_verified": true}, me: map[string]any{"id": strangerID}, meHits: 1},
		{name: "the name of the person is no address", mailbox: desk, claims: map[string]any{"preferred_username": "AdeleV@" + domain, "name": desk}, me: good, meHits: 1},
		{name: "Graph speaks of another person", mailbox: "help@" + domain, claims: stranger, me: good, id: "identity.other_person", meHits: 1},
		{name: "a foreign tenant: nobody is asked", mailbox: "x@fabrikam-sandbox.example", me: good, foreign: true},
		{name: "a domain of no tenant", mailbox: "x@nowhere.example", me: good, foreign: true},
		{name: "a guest by identity provider", mailbox: desk, claims: map[string]any{"idp": "https://sts.windows.net/" + elsewhere + "/"}, me: good, unproven: true},
		{name: "a guest by acct", mailbox: desk, claims: map[string]any{"acct": 1}, me: good, unproven: true},
		{name: "a guest by Graph", mailbox: "help@" + domain, me: map[string]any{"id": person, "mail": "help@" + domain, "userPrincipalName": "help_x#EXT#@" + domain}, unproven: true, meHits: 1},
		{name: "the tenant's own identity provider is no guest", mailbox: desk, claims: map[string]any{"idp": "https://sts.windows.net/" + home + "/"}, source: "preferred_username"},
		{name: "no readable name at all", mailbox: desk, claims: map[string]any{"preferred_username": "live.com#x"}, me: map[string]any{"id": person}, unproven: true, meHits: 1},
		{name: "User.Read refused", mailbox: "help@" + domain, graph: func(url.Values) (int, any) {
			return 400, map[string]any{"error": "invalid_grant", "error_description": "AADSTS65001: no"}
		}, unread: "User.Read"},
		{name: "User.Read refused and no other name", mailbox: desk, claims: map[string]any{"preferred_username": nil}, graph: func(url.Values) (int, any) {
			return 400, map[string]any{"error": "invalid_grant", "error_description": "AADSTS65001: no"}
		}, unproven: true, unread: "User.Read"},
		{name: "Entra down for the second access token", mailbox: "help@" + domain, id: "oauth.temporarily_unavailable", graph: func(url.Values) (int, any) {
			return 503, map[string]any{"error": "temporarily_unavailable"}
		}},
		{name: "no answer to the second access token", mailbox: "help@" + domain, id: "oauth.no_answer", graph: func(url.Values) (int, any) { return 0, nil }},
		{name: "Graph down", mailbox: "help@" + domain, me: 503, id: "graph.unavailable", meHits: 1},
		{name: "Graph refuses", mailbox: "help@" + domain, me: 403, meHits: 1, unread: "User.Read"},
		{name: "Graph answers nonsense", mailbox: "help@" + domain, me: "<html>", meHits: 1, unread: "endpoint graph"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startEntra(t)
			e.claims, e.me, e.graph = c.claims, c.me, c.graph
			tokens, err := e.redeem(t)
			if err != nil {
				t.Fatal(err)
			}
			who, second, err := e.kind.Identify(t.Context(), e.reg, c.mailbox, tokens)
			if e.meHits != c.meHits {
				t.Errorf("Graph was asked %d times, want %d", e.meHits, c.meHits)
			}
			if c.id != "" {
				if !fault.Has(err, c.id) || strings.Contains(fmt.Sprint(err), marker) || len(who.Addresses) != 0 {
					t.Fatalf("%+v, %v; want %s", who, err, c.id)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (who.Foreign != "") != c.foreign || (who.Unproven != "") != c.unproven {
				t.Fatalf("foreign %q, unproven %q", who.Foreign, who.Unproven)
			}
			if (who.Unread != nil) != (c.unread != "") || who.Unread != nil && !strings.Contains(who.Unread.Remedy, c.unread) {
				t.Errorf("unread: %+v", who.Unread)
			}
			if (c.foreign || c.unproven) && len(who.Addresses) != 0 {
				t.Fatalf("addresses of somebody who proves none: %+v", who.Addresses)
			}
			if who.Display == "" {
				t.Error("nobody is named")
			}
			i := slices.IndexFunc(who.Addresses, func(a provider.IdentityAddress) bool { return message.SameAddress(a.Address, c.mailbox) })
			switch {
			case c.source == "" && i >= 0:
				t.Fatalf("the mailbox's address is proved by %+v", who.Addresses[i])
			case c.source != "" && (i < 0 || who.Addresses[i].Source != c.source || who.Addresses[i].Alias != c.alias):
				t.Fatalf("addresses %+v, want the mailbox's by %s", who.Addresses, c.source)
			}
			if c.meHits > 0 && second.RefreshToken.Reveal() != marker+"-refresh-2" {
				t.Error("the rotated refresh token is lost")
			}
		})
	}
}

func TestRefresh_Classifies(t *testing.T) {
	t.Parallel()
	entraSays := func(code, description string) map[string]any {
		return map[string]any{"error": code, "error_description": description, "correlation_id": "c-1", "trace_id": "t-1"}
	}
	for _, c := range []struct {
		name   string
		status int
		body   any
		id     string
		kind   fault.Kind
		field  string
		words  string
	}{
		{"revoked sessions", 400, entraSays("invalid_grant", "AADSTS50173: x"), "oauth.invalid_grant", fault.Dead, "", "sessions were revoked"},
		{"an unknown number is judged by its error", 400, entraSays("invalid_grant", "AADSTS987654: x"), "oauth.invalid_grant", fault.Dead, "", "no longer honours"},
		{"a second factor", 400, entraSays("interaction_required", "AADSTS50076: x"), "oauth.invalid_grant", fault.Dead, "", "second factor"},
		{"the Secret ID instead of the Value", 401, entraSays("invalid_client", "AADSTS7000215: x"), "oauth.invalid_client", fault.Refused, "client_secrets", "Secret ID"},
		{"an expired secret", 401, entraSays("invalid_client", "AADSTS7000222: x"), "oauth.invalid_client", fault.Refused, "client_secrets", "expired"},
		{"a wrong client ID", 400, entraSays("unauthorized_client", "AADSTS700016: x"), "oauth.unauthorized_client", fault.Refused, "client_id", clientID},
		{"a wrong tenant", 400, entraSays("invalid_request", "AADSTS90002: x"), "oauth.invalid_request", fault.Refused, "tenant", domain},
		{"a number that means an end, with an error that does not", 503, entraSays("temporarily_unavailable", "AADSTS50173: x"), "oauth.temporarily_unavailable", fault.Temporary, "", ""},
		{"throttled", 429, entraSays("temporarily_unavailable", "AADSTS90055: x"), "oauth.rate_limited", fault.Temporary, "", "rate"},
		{"a gateway's page", 502, "<html>", "oauth.no_answer", fault.Temporary, "", ""},
		{"silence", 0, nil, "oauth.no_answer", fault.Temporary, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startEntra(t)
			e.graph = func(url.Values) (int, any) { return c.status, c.body }
			_, err := e.kind.Refresh(t.Context(), e.reg, seal.NewSecret(marker+"-refresh"), provider.Resource{Name: "graph", Scopes: []string{"https://graph.microsoft.com/User.Read"}})
			f := fault.Of(err)
			if f.ID != c.id || f.Kind != c.kind || f.Field != c.field || !strings.Contains(f.Text, c.words) || f.Remedy == "" || len(f.Who) == 0 {
				t.Fatalf("%+v\n%v", f, err)
			}
			if c.kind == fault.Temporary != f.Retry {
				t.Errorf("Retry = %v", f.Retry)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, f), marker) {
				t.Fatalf("a secret shows: %v", err)
			}
		})
	}
}

func TestRefresh_AsksForOneResourceAndTheNextRefreshToken(t *testing.T) {
	t.Parallel()
	e := startEntra(t)
	tokens, err := e.kind.Refresh(t.Context(), e.reg, seal.NewSecret(marker+"-refresh"), provider.Resource{Name: "mail", Scopes: []string{"https://outlook.office.com/SMTP.Send"}})
	if err != nil || tokens.Resource != "mail" || tokens.RefreshToken.Reveal() != marker+"-refresh-2" || tokens.ExpiresAt.IsZero() {
		t.Fatalf("%+v, %v", tokens, err)
	}
	if f := e.asked[0]; f.Get("scope") != "https://outlook.office.com/SMTP.Send offline_access" || f.Get("refresh_token") != marker+"-refresh" || f.Get("client_secret") != marker+"-secret" {
		t.Fatalf("%v", f)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	t.Run("an unknown tenant names the setting", func(t *testing.T) {
		t.Parallel()
		e := startEntra(t)
		e.reg.Tenant = "mistyped.example"
		f := fault.Of(e.kind.Verify(t.Context(), e.reg))
		if f.ID != "oauth.unknown_tenant" || f.Field != "tenant" || !strings.Contains(f.Text, "mistyped.example") {
			t.Fatalf("%+v", f)
		}
	})
	t.Run("an authority that answers for another host", func(t *testing.T) {
		t.Parallel()
		e := startEntra(t)
		e.reg.Endpoints["authority"] = strings.Replace(e.URL, "127.0.0.1", "localhost", 1)
		f := fault.Of(e.kind.Verify(t.Context(), e.reg))
		if f.ID != "oauth.bad_metadata" || f.Field != "endpoints.authority" {
			t.Fatalf("%+v", f)
		}
	})
	t.Run("nothing listens at the authority", func(t *testing.T) {
		t.Parallel()
		e := startEntra(t)
		e.reg.Endpoints["authority"] = "http://127.0.0.1:1"
		f := fault.Of(e.kind.Verify(t.Context(), e.reg))
		if f.ID != "net.refused" || f.Field != "endpoints.authority" || f.Kind != fault.Temporary {
			t.Fatalf("%+v", f)
		}
	})
}
