package microsoft_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/oauth/oauthtest"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const (
	marker     = "marker-3e7a"
	home       = "5a2b1c00-7e57-4000-8000-76626370006e"
	elsewhere  = "fab00000-7e57-4000-8000-0000000000ff"
	person     = "de5c0000-7e57-4000-8000-000000000002"
	domain     = "vbcpn.onmicrosoft.com"
	desk       = "servicedesk@" + domain
	clientID   = "11111111-2222-3333-4444-555555555555"
	strangerID = "ade1e000-7e57-4000-8000-000000000001"
)

// entra answers as its script says, also what the real one never would.
type entra struct {
	*oauthtest.Issuer
	kind *microsoft.Kind
	reg  provider.Registration
	// claims are laid over those of a good ID token; me is Graph's answer.
	claims map[string]any
	status int
	me     any
	graph  func(form url.Values) (int, any) // the second access token; nil: granted
	asked  []url.Values
	meHits int
}

func startEntra(t *testing.T) *entra {
	t.Helper()
	e := &entra{Issuer: oauthtest.Start(t), kind: microsoft.New(microsoft.Options{}), status: 200}
	e.reg = provider.Registration{
		Record: provider.Record{
			Name: "contoso", Kind: microsoft.Name, Tenant: domain, ClientID: clientID,
			Endpoints: map[string]string{"authority": e.URL, "graph": e.URL},
		},
		ClientSecrets: []seal.Secret{seal.NewSecret(marker + "-secret")}, RedirectURI: "http://localhost:8025/oauth/callback",
	}
	tenants := map[string]string{
		domain: home, home: home, "fabrikam-sandbox.example": elsewhere, elsewhere: elsewhere, "common": "{tenantid}", "organizations": "{tenantid}",
	}
	e.Mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		id, ok := tenants[r.PathValue("tenant")]
		if !ok {
			oauthtest.Reply(w, 400, map[string]any{"error": "invalid_tenant", "error_description": "AADSTS90002: Tenant not found."})
			return
		}
		oauthtest.Reply(w, 200, map[string]any{
			"issuer": e.URL + "/" + id + "/v2.0", "authorization_endpoint": e.URL + "/a", "token_endpoint": e.URL + "/t", "jwks_uri": e.URL + "/keys",
		})
	})
	e.Mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		e.asked = append(e.asked, r.PostForm)
		if strings.Contains(r.PostForm.Get("scope"), "User.Read") && r.PostForm.Get("grant_type") == "refresh_token" && e.graph != nil {
			status, body := e.graph(r.PostForm)
			oauthtest.Reply(w, status, body)
			return
		}
		claims := e.Claims(clientID, "n-1", map[string]any{
			"iss": e.URL + "/" + home + "/v2.0", "tid": home, "oid": person, "preferred_username": desk, "name": "Service Desk",
		})
		maps.Copy(claims, e.claims)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		oauthtest.Reply(w, e.status, map[string]any{
			"access_token": marker + "-access", "token_type": "Bearer", "expires_in": 3600,
			"refresh_token": marker + "-refresh-2", "id_token": e.Sign(t, claims).Reveal(),
		})
	})
	e.Mux.HandleFunc("GET /v1.0/me", func(w http.ResponseWriter, r *http.Request) {
		e.meHits++
		status, body := 200, e.me
		if n, ok := e.me.(int); ok {
			status, body = n, map[string]any{"error": map[string]any{"code": "Nope", "message": "no"}}
		}
		if r.Header.Get("Authorization") != "Bearer "+marker+"-access" || r.URL.Query().Get("$select") != "id,userPrincipalName,proxyAddresses" {
			status, body = 400, "the test's Graph was asked wrongly"
		}
		oauthtest.Reply(w, status, body)
	})
	return e
}

func (e *entra) redeem(t *testing.T) (provider.Tokens, error) {
	t.Helper()
	return e.redeemFrom(t, "")
}

// redeemFrom redeems an answer that names its issuer.
func (e *entra) redeemFrom(t *testing.T, iss string) (provider.Tokens, error) {
	t.Helper()
	return e.kind.Redeem(t.Context(), e.reg, provider.Redemption{
		Code: seal.NewSecret(marker + "-code"), CodeVerifier: seal.NewSecret(marker + "-verifier"), Nonce: "n-1", Issuer: iss,
		Uses: []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseIdentity},
	})
}
