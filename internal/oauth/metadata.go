package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Metadata is what an authorization server says of itself (RFC 8414, 2; OpenID
// Connect Discovery, 3). Endpoints are absolute https URLs, http on loopback
// only; those not offered are empty.
type Metadata struct {
	Issuer                   string   `json:"issuer"`
	AuthorizationEndpoint    string   `json:"authorization_endpoint"`
	TokenEndpoint            string   `json:"token_endpoint"`
	UserInfoEndpoint         string   `json:"userinfo_endpoint"`
	JWKSURI                  string   `json:"jwks_uri"`
	EndSessionEndpoint       string   `json:"end_session_endpoint"`
	RevocationEndpoint       string   `json:"revocation_endpoint"`
	ScopesSupported          []string `json:"scopes_supported"`
	TokenEndpointAuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	PromptValues             []string `json:"prompt_values_supported"`
	AuthorizationResponseIss bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// MetadataError says that a server's metadata could not be had or used.
type MetadataError struct {
	URL    string // where it was looked for
	Status int    // HTTP status, where one came
	Reason string // half a sentence: "names another issuer, https://…"
	// Refusal is the server's own error where it sent one.
	Refusal *Error
}

// Error says it in one line.
func (e *MetadataError) Error() string {
	s := fmt.Sprintf("metadata at %s %s", e.URL, e.Reason)
	if e.Refusal != nil {
		s += ": " + e.Refusal.Error()
	}
	return s
}

// MetadataURLs lists where the metadata of an issuer may be: OpenID Connect
// Discovery 4, then RFC 8414, 3.1.
func MetadataURLs(issuer string) []string {
	trimmed := strings.TrimSuffix(issuer, "/")
	urls := []string{trimmed + "/.well-known/openid-configuration"}
	if u, err := url.Parse(trimmed); err == nil {
		path := u.EscapedPath()
		u.Path, u.RawPath = "", ""
		urls = append(urls, u.String()+"/.well-known/oauth-authorization-server"+path)
	}
	return urls
}

// fetchMetadata reads one metadata document and checks its endpoints, not its
// issuer.
func fetchMetadata(ctx context.Context, client *http.Client, at string) (Metadata, error) {
	raw, resp, err := getJSON(ctx, client, at, "")
	if err != nil {
		return Metadata{}, fmt.Errorf("fetch metadata: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return Metadata{}, &MetadataError{
			URL: at, Status: resp.StatusCode, Reason: fmt.Sprintf("cannot be read (HTTP status %d)", resp.StatusCode),
			Refusal: parseError(LegMetadata, at, "", resp.StatusCode, resp.Header, raw),
		}
	}
	m, reason := parseMetadata(raw)
	if reason != "" {
		return Metadata{}, &MetadataError{URL: at, Status: resp.StatusCode, Reason: reason}
	}
	return m, nil
}

// parseMetadata reads a metadata document; reason says what is wrong with it.
func parseMetadata(raw []byte) (m Metadata, reason string) {
	if err := json.Unmarshal(raw, &m); err != nil {
		return Metadata{}, "is not the JSON document that OpenID Connect Discovery asks for"
	}
	if m.Issuer == "" {
		return Metadata{}, "does not name an issuer"
	}
	for _, e := range []struct {
		name, value string
		needed      bool
	}{
		{"issuer", m.Issuer, true},
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"jwks_uri", m.JWKSURI, true},
		{"userinfo_endpoint", m.UserInfoEndpoint, false},
		{"end_session_endpoint", m.EndSessionEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
	} {
		if e.value == "" && !e.needed {
			continue
		}
		if e.value == "" {
			return Metadata{}, "does not name the " + e.name
		}
		if why := CheckURL(e.value); why != "" {
			return Metadata{}, fmt.Sprintf("names as %s %s, which %s", e.name, fault.Shorten(e.value, 100), why)
		}
	}
	return m, ""
}

// getJSON calls an endpoint with GET and reads the answer within limits.
func getJSON(ctx context.Context, client *http.Client, at, authorization string) ([]byte, *http.Response, error) {
	if why := CheckURL(at); why != "" {
		return nil, nil, &MetadataError{URL: fault.Shorten(at, 200), Reason: "cannot be fetched: the address " + why}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, &MetadataError{URL: fault.Shorten(at, 200), Reason: "cannot be fetched: the address is not a URL"}
	}
	req.Header.Set("Accept", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := withoutRedirects(client).Do(req)
	if err != nil {
		return nil, nil, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := readLimited(resp.Body)
	if errors.Is(err, errTooLong) {
		return nil, nil, &MetadataError{URL: at, Status: resp.StatusCode, Reason: "is too long to be such a document"}
	}
	return raw, resp, err
}
