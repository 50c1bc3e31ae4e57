package oauth

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestParseTokenResponse(t *testing.T) {
	t.Parallel()
	const bearer = `"access_token":"a","token_type":"Bearer"`
	for name, c := range map[string]struct {
		body string
		life time.Duration
		ok   bool
	}{
		"a number":                 {`{` + bearer + `,"expires_in":3600}`, time.Hour, true},
		"a string":                 {`{` + bearer + `,"expires_in":"3600"}`, time.Hour, true},
		"a fraction":               {`{` + bearer + `,"expires_in":59.9}`, 59 * time.Second, true},
		"an exponent beyond years": {`{` + bearer + `,"expires_in":1e30}`, longestLife, true},
		"no life":                  {`{` + bearer + `}`, 0, true},
		"null life":                {`{` + bearer + `,"expires_in":null}`, 0, true},
		"scope as a list":          {`{` + bearer + `,"scope":["x"]}`, 0, true},
		"type without case":        {`{"access_token":"a","token_type":"bEaReR"}`, 0, true},
		"no type":                  {`{"access_token":"a"}`, 0, true},
		"a negative life":          {`{` + bearer + `,"expires_in":-1}`, 0, false},
		"a life in words":          {`{` + bearer + `,"expires_in":"soon"}`, 0, false},
		"another type":             {`{"access_token":"a","token_type":"DPoP"}`, 0, false},
		"no access token":          {`{"token_type":"Bearer"}`, 0, false},
		"an access token number":   {`{"access_token":1,"token_type":"Bearer"}`, 0, false},
		"scope as a number":        {`{` + bearer + `,"scope":1}`, 0, false},
		"a list":                   {`[]`, 0, false},
		"null":                     {`null`, 0, false},
		"nothing":                  {``, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseTokenResponse([]byte(c.body))
			if (err == nil) != c.ok || c.ok && (got.ExpiresIn != c.life || got.AccessToken.Reveal() != "a") || !c.ok && !got.AccessToken.IsZero() {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzParseTokenResponse(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer","expires_in":3599,"scope":"x y","refresh_token":"r","id_token":"i"}`))
	f.Add([]byte(`{"access_token":"a","expires_in":"1e9","scope":["x"]}`))
	f.Add([]byte(`{"access_token":"a","expires_in":"NaN"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseTokenResponse(b)
		if got.AccessToken.IsZero() != (err != nil) || got.ExpiresIn < 0 || got.ExpiresIn > longestLife {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte(`{"error":"invalid_grant","error_description":"AADSTS70008: x Trace ID: 1","error_codes":[70008],"suberror":"bad_token"}`), "")
	f.Add([]byte(`{"error":{"code":"InvalidAuthenticationToken","message":"expired"}}`), "")
	f.Add([]byte(`<html><title>502 Bad Gateway</title>`), `Bearer error="invalid_token", error_description="x"`)
	f.Fuzz(func(t *testing.T, b []byte, challenge string) {
		e := parseError(LegToken, "https://as.example/token", "c", 400, http.Header{"Www-Authenticate": {challenge}}, b, seal.NewSecret("secret"))
		if len(e.Description) > longestText+3 || len(e.Code) > 103 || strings.Contains(e.Error(), "\n") {
			t.Fatalf("%+v", e)
		}
		if f := Fault(e); f == nil || f.Text == "" || f.Remedy == "" {
			t.Fatalf("no words for %+v", e)
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","jwks_uri":"https://as.example/k"}`))
	f.Add([]byte(`{"issuer":"http://as.example"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, reason := parseMetadata(b)
		if reason == "" && (CheckURL(m.TokenEndpoint) != "" || CheckURL(m.JWKSURI) != "" || CheckURL(m.Issuer) != "") {
			t.Fatalf("accepted %+v", m)
		}
	})
}
