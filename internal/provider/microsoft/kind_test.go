package microsoft_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
)

var _ interface {
	provider.Kind
	provider.SignOut
	provider.AuthorizationRefusals
	provider.Audiences
} = (*microsoft.Kind)(nil)

func record() provider.Record {
	return provider.Record{Name: "contoso", Kind: microsoft.Name, Tenant: domain, ClientID: clientID}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	for name, c := range map[string]struct {
		change func(*provider.Record)
		field  string
	}{
		"a good record":  {func(*provider.Record) {}, ""},
		"a tenant by ID": {func(r *provider.Record) { r.Tenant = home }, ""},
		"common":         {func(r *provider.Record) { r.Tenant = "common" }, ""},
		"a private authority": {func(r *provider.Record) {
			r.Endpoints = map[string]string{"authority": "http://127.0.0.1:9", "imap": "127.0.0.1:1143", "smtp": "smtps://localhost:1465"}
		}, ""},
		"a profile of full scopes": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"https://outlook.office365.com/IMAP.AccessAsUser.All", "offline_access"}}}
		}, ""},
		"no tenant":                   {func(r *provider.Record) { r.Tenant = "" }, "tenant"},
		"a tenant that is a sentence": {func(r *provider.Record) { r.Tenant = "our tenant" }, "tenant"},
		"a tenant that is a path":     {func(r *provider.Record) { r.Tenant = "../x" }, "tenant"},
		"no client ID":                {func(r *provider.Record) { r.ClientID = "" }, "client_id"},
		"the app's name":              {func(r *provider.Record) { r.ClientID = "Mail connector" }, "client_id"},
		"an issuer":                   {func(r *provider.Record) { r.Issuer = "https://as.example" }, "issuer"},
		"an identity claim":           {func(r *provider.Record) { r.IdentityClaim = "mail" }, "identity_claim"},
		"an unknown cloud":            {func(r *provider.Record) { r.Cloud = "moon" }, "cloud"},
		"prompt consent":              {func(r *provider.Record) { r.Prompt = "consent" }, "authorize.prompt"},
		"an unknown endpoint":         {func(r *provider.Record) { r.Endpoints = map[string]string{"token": "https://x.example"} }, "endpoints.token"},
		"an authority without TLS":    {func(r *provider.Record) { r.Endpoints = map[string]string{"authority": "http://login.example"} }, "endpoints.authority"},
		"an authority with a path":    {func(r *provider.Record) { r.Endpoints = map[string]string{"authority": "https://login.example/common"} }, "endpoints.authority"},
		"a mail host without port":    {func(r *provider.Record) { r.Endpoints = map[string]string{"imap": "mail.example"} }, "endpoints.imap"},
		"a mail host of http":         {func(r *provider.Record) { r.Endpoints = map[string]string{"smtp": "http://mail.example:25"} }, "endpoints.smtp"},
		"a redirect URI without TLS":  {func(r *provider.Record) { r.RedirectURI = "http://me.example/cb" }, "redirect_uri"},
		"a scope of no known form, which a mailbox may be refused": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"...", "IMAP.AccessAsUser.All"}}}
		}, ""},
		"a scope with a space": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"openid", "a b"}}}
		}, "profiles[0].scopes[1]"},
		"a profile twice": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"openid"}}, {Name: "p", Scopes: []string{"openid"}}}
		}, "profiles[1].name"},
		"a profile without a name": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Scopes: []string{"openid"}}}
		}, "profiles[0].name"},
		"client credentials": {func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", GrantType: "client_credentials", Scopes: []string{"https://outlook.office.com/SMTP.Send"}}}
		}, "profiles[0].grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record()
			c.change(&r)
			err := k.Check(r)
			if c.field == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f := fault.Of(err)
			if f.Kind != fault.Invalid || f.Field != c.field || f.Text == "" || f.Remedy == "" {
				t.Fatalf("%+v, want a refusal of %s", f, c.field)
			}
		})
	}
}

func TestResources_RefuseScopesThatMicrosoftWouldTakeForOthers(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	for outcome, scope := range map[string]string{
		"a scope without its resource": "IMAP.AccessAsUser.All",
		"a scope of another cloud":     "https://outlook.office365.us/SMTP.Send", ".default": "https://outlook.office.com/.default",
	} {
		t.Run(outcome, func(t *testing.T) {
			r := record()
			r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{scope}}}
			_, err := k.Resources(r, []provider.Use{provider.UseIMAP}, "p")
			if f := fault.Of(err); f == nil || f.Kind != fault.Invalid || f.Field != "profile" || !strings.Contains(f.Text, scope) || f.Remedy == "" {
				t.Errorf("%v", err)
			}
			if _, err := k.Resources(r, []provider.Use{provider.UseIMAP}, ""); err != nil {
				t.Errorf("a mailbox without the profile is refused: %v", err)
			}
		})
	}
}

func TestAuthorizationURL_DecidesOnPrompt(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	for _, c := range []struct {
		name                 string
		record, force        provider.Prompt
		wantPrompt, wantHint string
		refused              bool
	}{
		{"by default login with the hint", "", "", "login", desk, false},
		{"login with the hint", provider.PromptLogin, "", "login", desk, false},
		{"select_account without the hint, which Entra refuses beside it", provider.PromptSelectAccount, "", "select_account", "", false},
		{"omit leaves both out: single sign-on chooses", provider.PromptOmit, "", "", "", false},
		{"a guided retry overrides the record", provider.PromptOmit, provider.PromptSelectAccount, "select_account", "", false},
		{"an unknown prompt is refused", "consent", "", "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := provider.Registration{Record: record(), RedirectURI: "http://localhost:8025/oauth/callback"}
			reg.Prompt = c.record
			raw, err := k.AuthorizationURL(t.Context(), reg, provider.AuthorizationRequest{
				State: "s", Nonce: "n", CodeChallenge: "c", LoginHint: desk, Force: c.force,
				Uses: []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseIdentity},
			})
			if c.refused {
				if !fault.Has(err, "provider.invalid") {
					t.Fatalf("%s, %v", raw, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(raw)
			q := u.Query()
			if q.Get("prompt") != c.wantPrompt || q.Get("login_hint") != c.wantHint || q.Has("prompt") != (c.wantPrompt != "") {
				t.Errorf("prompt %q, hint %q", q["prompt"], q["login_hint"])
			}
			if u.Host != "login.microsoftonline.com" || u.Path != "/"+domain+"/oauth2/v2.0/authorize" {
				t.Errorf("%s", u)
			}
			want := []string{
				"openid", "profile", "email", "offline_access", "https://outlook.office.com/IMAP.AccessAsUser.All",
				"https://outlook.office.com/SMTP.Send", "https://graph.microsoft.com/User.Read",
			}
			if got := strings.Fields(q.Get("scope")); !slices.Equal(got, want) {
				t.Errorf("scope %v", got)
			}
		})
	}
}

func TestMail_FollowsCloudAndOverrides(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	r := record()
	at := k.Mail(r, protocol.IMAP)
	if at.Host != "outlook.office365.com" || at.Port != 993 || at.TLS != protocol.TLSImplicit || at.Resource != "mail" || !slices.Equal(at.Mechanisms, []protocol.Mechanism{protocol.XOAUTH2}) {
		t.Errorf("%+v", at)
	}
	if at := k.Mail(r, protocol.SMTP); at.Host != "smtp.office365.com" || at.Port != 587 || at.TLS != protocol.TLSStart {
		t.Errorf("%+v", at)
	}
	if at := k.Mail(r, protocol.Graph); at.Host != "graph.microsoft.com" || at.Port != 443 || at.TLS != protocol.TLSImplicit || at.Resource != provider.ResourceGraph {
		t.Errorf("%+v", at)
	}
	r.Endpoints = map[string]string{"graph": "http://127.0.0.1:8080"}
	if at := k.Mail(r, protocol.Graph); at.Host != "127.0.0.1" || at.Port != 8080 || at.TLS != protocol.TLSNone {
		t.Errorf("%+v", at)
	}
	r.Endpoints = nil
	r.Cloud = "china"
	if at := k.Mail(r, protocol.POP3); at.Host != "partner.outlook.cn" || at.Port != 995 {
		t.Errorf("%+v", at)
	}
	r.Endpoints = map[string]string{"imap": "imap://[::1]:1143", "smtp": "127.0.0.1:1587"}
	if at := k.Mail(r, protocol.IMAP); at.Host != "::1" || at.Port != 1143 || at.TLS != protocol.TLSStart {
		t.Errorf("%+v", at)
	}
	if at := k.Mail(r, protocol.SMTP); at.Host != "127.0.0.1" || at.Port != 1587 || at.TLS != protocol.TLSStart {
		t.Errorf("%+v", at)
	}
}

func TestResources_FollowCloudAndProfile(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	r := record()
	r.Cloud = "us-gov-high"
	got, err := k.Resources(r, []provider.Use{provider.UsePOP3, provider.UseIdentity}, "")
	if err != nil || len(got) != 2 || got[0].Scopes[0] != "https://outlook.office365.us/POP.AccessAsUser.All" || got[1].Scopes[0] != "https://graph.microsoft.us/User.Read" {
		t.Fatalf("%+v, %v", got, err)
	}
	r = record()
	r.Profiles = []provider.Profile{{Name: "wide", Scopes: []string{"openid", "https://outlook.office365.com/IMAP.AccessAsUser.All", "https://graph.microsoft.com/Mail.Read"}}}
	got, err = k.Resources(r, []provider.Use{provider.UseIMAP, provider.UseIdentity}, "wide")
	if err != nil || len(got) != 2 || len(got[0].Scopes) != 1 || len(got[1].Scopes) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	// A profile may add to what is derived.
	r.Profiles = []provider.Profile{{Name: "more", Scopes: []string{provider.DerivedScopes, "https://graph.microsoft.com/Mail.Read"}}}
	if err := k.Check(r); err != nil {
		t.Fatal(err)
	}
	got, err = k.Resources(r, []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseGraphSend, provider.UseIdentity}, "more")
	if err != nil || len(got) != 2 || len(got[0].Scopes) != 2 || !slices.Equal(got[1].Scopes, []string{
		"https://graph.microsoft.com/Mail.Send", "https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/Mail.Read",
	}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := k.Resources(r, nil, "narrow"); fault.Of(err).Field != "profile" {
		t.Fatalf("%v", err)
	}
	if _, err := k.Resources(r, []provider.Use{"fax"}, ""); fault.KindOf(err) != fault.Invalid {
		t.Fatalf("%v", err)
	}
}

func TestCatalogue_IsWholeAndUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for _, f := range microsoft.Catalogue() {
		if len(f.Codes) == 0 || !strings.HasSuffix(f.Cause, ".") || !strings.HasSuffix(f.Remedy, ".") || len(f.Who) == 0 || f.Class == "" {
			t.Errorf("a line without words: %+v", f)
		}
		for _, c := range f.Codes {
			if seen[c] {
				t.Errorf("AADSTS%d is listed twice", c)
			}
			seen[c] = true
		}
	}
	for _, code := range []int{
		16000, 50011, 50020, 50034, 50053, 50055, 50144, 50056, 50057, 50058, 50059, 90002, 50072, 50074, 50076, 50078, 50079, 50089, 50097, 53000, 53001,
		53002, 530003, 50105, 501051, 50126, 50131, 53003, 530032, 530035, 53004, 50132, 50133, 50173, 50158, 50194, 50196, 500011, 7000229, 500021, 500022,
		500212, 500213, 500113, 500208, 51004, 50147, 501481, 501491, 54005, 700005, 65001, 65004, 65002, 65005, 650056, 650057, 650052, 70000, 70008, 700082,
		70043, 700084, 70001, 700011, 700016, 7000112, 70007, 70011, 700022, 700023, 70016, 70018, 70019, 700024, 700025, 700027, 700030, 70002, 7000215,
		7000218, 7000222, 700054, 90005, 90006, 90012, 90024, 90033, 90014, 900144, 90013, 9002313, 90019, 9001023, 90038, 900439, 90055, 90056, 900561, 90072,
		90094, 90095, 901002, 9002332, 135010,
	} {
		if !seen[code] {
			t.Errorf("AADSTS%d is missing", code)
		}
	}
}

func TestAuthorizationRefused_PutsBetterWords(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	reg := provider.Registration{Record: record()}
	for name, c := range map[string]struct{ code, description, id, words string }{
		"declined":            {"access_denied", "AADSTS65004: User declined to consent.", "oauth.access_denied", "declined"},
		"an admin is needed":  {"access_denied", "AADSTS90094: x", "oauth.access_denied", clientID},
		"a session is needed": {"login_required", "AADSTS50058: x", "oauth.login_required", "signed in"},
		"a number that is unknown keeps the standard's words": {"access_denied", "AADSTS987654: x", "oauth.access_denied", "declined"},
		"no number": {"odd_error", "", "oauth.refused", "odd_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, err := oauth.ParseAuthorizationResponse(url.Values{"error": {c.code}, "error_description": {c.description}})
			if err != nil {
				t.Fatal(err)
			}
			why := oauth.Fault(response.Refusal)
			f := k.AuthorizationRefused(reg, why)
			if f.ID != c.id || f.Kind != why.Kind || f.Kind == fault.Dead || !strings.Contains(f.Text, c.words) || strings.Contains(f.Text+f.Remedy, "{") {
				t.Fatalf("%+v", f)
			}
		})
	}
}

func TestAuthorizationRefused_KeepsTheIDsForSupport(t *testing.T) {
	t.Parallel()
	response, err := oauth.ParseAuthorizationResponse(url.Values{"error": {"access_denied"}, "error_description": {
		"AADSTS65004: User declined. Trace ID: 0f0e6a52-0000-4000-8000-0123456789ab Correlation ID: 1f0e6a52-0000-4000-8000-0123456789ab Timestamp: 2026-11-24 12:00:00Z",
	}})
	if err != nil {
		t.Fatal(err)
	}
	d := microsoft.New(microsoft.Options{}).AuthorizationRefused(provider.Registration{Record: record()}, oauth.Fault(response.Refusal)).Detail
	if d.TraceID != "0f0e6a52-0000-4000-8000-0123456789ab" || d.CorrelationID != "1f0e6a52-0000-4000-8000-0123456789ab" || d.Timestamp != "2026-11-24 12:00:00Z" || d.Subcode != "AADSTS65004" {
		t.Fatalf("%+v", d)
	}
}

func TestAudiences_NameWhatScopesAskFor(t *testing.T) {
	t.Parallel()
	k := microsoft.New(microsoft.Options{})
	named := map[string]string{}
	for _, a := range k.Audiences() {
		if _, twice := named[a.Value]; twice || a.Title == "" {
			t.Errorf("%+v", a)
		}
		named[a.Value] = a.Resource
	}
	for _, cloud := range k.Traits().Clouds {
		r := record()
		r.Cloud = cloud
		resources, err := k.Resources(r, []provider.Use{provider.UseIMAP, provider.UseIdentity}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range resources {
			u, _ := url.Parse(resource.Scopes[0])
			if named["https://"+u.Host] != resource.Name {
				t.Errorf("%s: https://%s is %q, want %q", cloud, u.Host, named["https://"+u.Host], resource.Name)
			}
		}
	}
}

func FuzzAuthorizationRefused(f *testing.F) {
	f.Add("access_denied", "AADSTS65004: User declined. Trace ID: 0f0e6a52-0000-4000-8000-0123456789ab Timestamp: 2026-11-24 12:00:00Z")
	f.Add("invalid_grant", "AADSTS999999999: \x00\r\n")
	k := microsoft.New(microsoft.Options{})
	f.Fuzz(func(t *testing.T, code, description string) {
		response, err := oauth.ParseAuthorizationResponse(url.Values{"error": {code}, "error_description": {description}})
		if err != nil || response.Refusal == nil {
			return
		}
		why := oauth.Fault(response.Refusal)
		got := k.AuthorizationRefused(provider.Registration{Record: record()}, why)
		if got.Kind != why.Kind || got.ID != why.ID || got.Kind == fault.Dead || got.Text == "" || got.Remedy == "" || len(got.Detail.Reply) > 510 {
			t.Fatalf("%+v from %+v", got, why)
		}
	})
}
