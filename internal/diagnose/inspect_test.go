package diagnose_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

const signature = "c2lnbmF0dXJlLW1hcmtlcg"

func inspector() diagnose.Inspector {
	return diagnose.Inspector{
		Now: func() time.Time { return now },
		Audiences: []provider.Audience{
			{Value: "https://mail.example", Title: "the mail server of Contoso", Resource: provider.ResourceMail},
			{Value: "00000003-0000", Title: "the directory of Contoso", Resource: provider.ResourceGraph},
		},
	}
}

func jwt(t testing.TB, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(claims) + "." + signature
}

// good is an access token for the mail server.
func good(change map[string]any) map[string]any {
	c := map[string]any{
		"aud": "https://mail.example/", "iss": "https://idp.example/tenant/", "tid": "tenant-1", "oid": "object-1",
		"upn": "servicedesk@vbcpn.example", "name": "Service Desk", "appid": "client-1", "scp": "IMAP.Read SMTP.Send",
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func want() diagnose.Expectation {
	return diagnose.Expectation{
		Mailbox: "servicedesk@vbcpn.example", Resource: provider.ResourceMail, ClientID: "client-1", TenantID: "tenant-1",
		Scopes: []string{"https://mail.example/IMAP.Read", "https://mail.example/SMTP.Send", "offline_access"},
	}
}

func TestInspect_Findings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change map[string]any
		want   func(*diagnose.Expectation)
		ids    []string
		says   string
	}{
		{"nothing wrong", nil, nil, nil, ""},
		{"for another resource", map[string]any{"aud": "00000003-0000", "scp": "User.Read"}, nil, []string{"inspect.wrong_audience"}, "the directory of Contoso"},
		{"expired", map[string]any{"exp": now.Add(-3 * time.Hour).Unix()}, nil, []string{"inspect.expired"}, "3 hours ago"},
		{"expired this second", map[string]any{"exp": now.Unix()}, nil, []string{"inspect.expired"}, "0 seconds"},
		{"not valid yet", map[string]any{"nbf": now.Add(time.Hour).Unix()}, nil, []string{"inspect.not_yet_valid"}, "60 minutes"},
		{"a clock a little off", map[string]any{"nbf": now.Add(time.Minute).Unix()}, nil, nil, ""},
		{"a scope too few", map[string]any{"scp": "IMAP.Read"}, nil, []string{"inspect.missing_scope"}, "SMTP.Send"},
		{"another person", map[string]any{"upn": "AdeleV@vbcpn.example"}, nil, []string{"inspect.other_person"}, "AdeleV@vbcpn.example"},
		{"the declared delegate", map[string]any{"upn": "AdeleV@vbcpn.example"}, func(e *diagnose.Expectation) { e.Principal = "adelev@vbcpn.example" }, nil, ""},
		{"another address of the same user", map[string]any{"upn": "desk.user@vbcpn.example"}, func(e *diagnose.Expectation) { e.ObjectID = "OBJECT-1" }, nil, ""},
		{"the same address of another user", nil, func(e *diagnose.Expectation) { e.ObjectID = "object-2" }, []string{"inspect.other_person"}, "another user"},
		{"another organisation", map[string]any{"tid": "tenant-2"}, nil, []string{"inspect.other_tenant"}, "tenant-2"},
		{"another application", map[string]any{"appid": "client-2"}, nil, []string{"inspect.other_client"}, "client-2"},
		{"no person", map[string]any{"upn": nil, "name": nil, "scp": nil, "roles": []string{"IMAP.Read", "SMTP.Send"}}, nil, []string{"inspect.no_person"}, "client-1"},
		{"an ID token", map[string]any{"scp": nil, "appid": nil, "nonce": "n", "aud": "client-1"}, nil, []string{"inspect.id_token"}, "opens nothing"},
		{"an unknown audience is not guessed at", map[string]any{"aud": "https://else.example"}, nil, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := want()
			if tt.want != nil {
				tt.want(&e)
			}
			r, err := inspector().Inspect(seal.NewSecret(jwt(t, good(tt.change))), e)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			words := ""
			for _, f := range r.Findings {
				ids = append(ids, f.ID)
				words += f.Text
				if f.Remedy == "" || len(f.Who) == 0 {
					t.Errorf("%s does not say who acts and how", f.ID)
				}
			}
			if !slices.Equal(ids, tt.ids) || !strings.Contains(words, tt.says) {
				t.Errorf("findings %v: %s", ids, words)
			}
			if r.OK() != (len(tt.ids) == 0) {
				t.Errorf("OK is %v", r.OK())
			}
		})
	}
}

func TestInspect_Reads(t *testing.T) {
	t.Parallel()
	r, err := inspector().Inspect(seal.NewSecret(jwt(t, good(nil))), diagnose.Expectation{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Form != diagnose.FormJWT || r.Kind != "access token" || r.Who != "servicedesk@vbcpn.example (Service Desk)." || r.ObjectID != "object-1" ||
		r.AudienceTitle != "the mail server of Contoso" || r.Expiry != "It is good for 60 minutes more, until 24 November 2026 10:00 UTC." ||
		!strings.Contains(r.Notice, "signature was not checked") {
		t.Errorf("report %+v", r)
	}
}

func TestInspect_Pasted(t *testing.T) {
	t.Parallel()
	token := jwt(t, good(nil))
	response := "user=servicedesk@vbcpn.example\x01auth=Bearer " + token + "\x01\x01"
	bearer := "n,a=servicedesk@vbcpn.example,\x01host=mail.example\x01port=993\x01auth=Bearer " + token + "\x01\x01"
	encoded := base64.StdEncoding.EncodeToString([]byte(response))
	answer, err := json.Marshal(map[string]any{"access_token": token, "expires_in": 3600})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text, user string }{
		{"bare", token, ""},
		{"with space around", " \n" + token + "\r\n", ""},
		{"in quotes", `"` + token + `"`, ""},
		{"wrapped over lines", token[:40] + "\n" + token[40:], ""},
		{"Bearer", "Bearer " + token, ""},
		{"header", "Authorization: bearer " + token, ""},
		{"XOAUTH2 in base64", encoded, "servicedesk@vbcpn.example"},
		{"XOAUTH2 command", "A1 AUTHENTICATE XOAUTH2 " + encoded, "servicedesk@vbcpn.example"},
		{"XOAUTH2 decoded", response, "servicedesk@vbcpn.example"},
		{"OAUTHBEARER", base64.StdEncoding.EncodeToString([]byte(bearer)), "servicedesk@vbcpn.example"},
		{"answer of a token endpoint", string(answer), ""},
		{"answer with a line break in it", string(answer[:60]) + "\r\n" + string(answer[60:]), ""},
		{"answer as a query", "access_token=" + token + "&token_type=Bearer", ""},
		{"answer in a fragment", "https://app.example/cb#access_token=" + token + "&expires_in=3600", ""},
		{"header wrapped over lines", "Authorization: Bearer " + token[:40] + "\n  " + token[40:90] + "\n" + token[90:], ""},
		{"command line", `curl -s -H "Authorization: Bearer ` + token + `" https://mail.example/me`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := inspector().Inspect(seal.NewSecret(tt.text), want())
			if err != nil {
				t.Fatal(err)
			}
			if r.Form != diagnose.FormJWT || r.SASLUser != tt.user || !r.OK() {
				t.Errorf("report %+v", r)
			}
		})
	}
	t.Run("a response for another mailbox", func(t *testing.T) {
		t.Parallel()
		e := want()
		e.Mailbox = "desk@vbcpn.example"
		e.Principal = "servicedesk@vbcpn.example"
		r, err := inspector().Inspect(seal.NewSecret(encoded), e)
		if err != nil || len(r.Findings) != 1 || r.Findings[0].ID != "inspect.other_mailbox" {
			t.Errorf("%+v, %v", r.Findings, err)
		}
	})
}

func TestInspect_NeverShowsARefreshToken(t *testing.T) {
	t.Parallel()
	const marker = "marker-refresh-token"
	text := `{"token_type":"Bearer","access_token":"` + jwt(t, good(nil)) + `","refresh_token":"` + marker + `"}`
	r, err := inspector().Inspect(seal.NewSecret(text), want())
	if err != nil || !r.OK() || !strings.Contains(r.Beside, "refresh token") {
		t.Fatalf("%+v, %v", r, err)
	}
	shown, err := json.Marshal(r)
	if err != nil || strings.Contains(string(shown), marker) {
		t.Errorf("the report shows it: %s (%v)", shown, err)
	}
	_, err = inspector().Inspect(seal.NewSecret(`{"refresh_token":"`+marker+`"}`), want())
	if !fault.Has(err, "inspect.no_token") || strings.Contains(err.Error(), marker) {
		t.Errorf("alone: %v", err)
	}
}

func TestInspect_Opaque(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"opaque": "EwBIA8l6BAAU", "two dots that are no JWT": "a.b.c", "a claim that is a list": jwt(t, nil)[:10],
	} {
		r, err := inspector().Inspect(seal.NewSecret(text), want())
		if err != nil || r.Form != diagnose.FormOpaque || !r.OK() {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	jwe := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)) + ".a.b.c.d"
	if r, err := inspector().Inspect(seal.NewSecret(jwe), want()); err != nil || r.Form != diagnose.FormEncrypted {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInspect_Refuses(t *testing.T) {
	t.Parallel()
	for id, text := range map[string]string{
		"inspect.empty": " \n", "inspect.too_long": strings.Repeat("a", 64<<10+1), "inspect.no_token": "AADSTS50011: the redirect URI is wrong",
	} {
		if _, err := inspector().Inspect(seal.NewSecret(text), want()); !fault.Has(err, id) {
			t.Errorf("%s: got %v", id, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	token := jwt(f, good(nil))
	f.Add(token)
	f.Add("Bearer " + token)
	f.Add(base64.StdEncoding.EncodeToString([]byte("user=a@b.example\x01auth=Bearer " + token + "\x01\x01")))
	f.Add(`{"access_token":"` + token + `"}`)
	f.Add(jwt(f, map[string]any{"exp": 1e300, "aud": []any{1, "x"}, "scp": []any{nil}, "oid": 7}))
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := inspector().Inspect(seal.NewSecret(text), want())
		if err != nil {
			return
		}
		shown, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(shown), signature) && strings.HasSuffix(text, "."+signature) {
			t.Fatalf("the report shows the signature: %s", shown)
		}
	})
}
