package entra

import (
	"net/http"
	"net/url"
	"strings"
)

// serveDiscovery answers with the metadata of OpenID Connect Discovery. Under `common` and `organizations` the issuer holds a
// placeholder for the tenant.
func (s *Server) serveDiscovery(x *exchange) {
	segment := x.request.PathValue("tenant")
	tenant, refusal := s.tenantOf(segment)
	if refusal != nil {
		s.answerErrorJSON(x, refusal)
		return
	}
	here := base(x.request) + "/" + url.PathEscape(strings.ToLower(segment))
	tenantID := tenant.ID
	if tenantID == "" {
		tenantID = "{tenantid}"
	}
	answerJSON(x, http.StatusOK, map[string]any{
		"issuer":                                issuerOf(x.request, tenantID),
		"authorization_endpoint":                here + "/oauth2/v2.0/authorize",
		"token_endpoint":                        here + "/oauth2/v2.0/token",
		"end_session_endpoint":                  here + "/oauth2/v2.0/logout",
		"jwks_uri":                              here + "/discovery/v2.0/keys",
		"userinfo_endpoint":                     base(x.request) + "/oidc/userinfo",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token", "client_credentials"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"plain", "S256"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "oid", "ver", "email"},
		"request_uri_parameter_supported":       false,
		"tenant_region_scope":                   "SANDBOX",
		"cloud_instance_name":                   x.request.Host,
		"msgraph_host":                          x.request.Host,
	})
}

// serveKeys publishes the signing keys. Each names the issuer it is for, as Entra's do.
func (s *Server) serveKeys(x *exchange) {
	tenant, refusal := s.tenantOf(x.request.PathValue("tenant"))
	if refusal != nil {
		s.answerErrorJSON(x, refusal)
		return
	}
	tenantID := tenant.ID
	if tenantID == "" {
		tenantID = "{tenantid}"
	}
	document, err := s.keys.published(issuerOf(x.request, tenantID))
	if err != nil {
		s.answerErrorJSON(x, refuse(90033))
		return
	}
	answerJSON(x, http.StatusOK, document)
}

// serveInstance answers Microsoft's libraries, which ask whether a host is a cloud of Microsoft's: here, this host is.
func (s *Server) serveInstance(x *exchange) {
	answerJSON(x, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": base(x.request) + "/common/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []map[string]any{{
			"preferred_network": x.request.Host, "preferred_cache": x.request.Host, "aliases": []string{x.request.Host},
		}},
	})
}

// serveLogout signs everybody out of the browser. It goes on to post_logout_redirect_uri only if an app registered that.
func (s *Server) serveLogout(x *exchange) {
	if x.request.Method != http.MethodGet && x.request.Method != http.MethodPost {
		s.showError(x, refuse(900561, "GET", x.request.Method))
		return
	}
	if cookie, err := x.request.Cookie(s.cookieName); err == nil {
		s.forget(cookie.Value)
	}
	x.call.Outcome = "signed out"
	target := x.request.Form.Get("post_logout_redirect_uri")
	for _, app := range s.world.Registrations() {
		for _, registered := range app.RedirectURIs {
			if target != "" && target == registered {
				http.Redirect(x, x.request, target, http.StatusFound)
				return
			}
		}
	}
	s.showSignedOut(x)
}
