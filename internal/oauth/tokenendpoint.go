package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// largestBody bounds every JSON answer that is read, in bytes.
const largestBody = 1 << 20

// ClientAuth is how the client says who it is at the token endpoint (OpenID
// Connect Core, 9).
type ClientAuth string

// The ways. Without any client secret the client is public and sends its
// client_id alone, whatever the way.
const (
	ClientSecretPost  ClientAuth = "client_secret_post"
	ClientSecretBasic ClientAuth = "client_secret_basic"
)

// TokenEndpoint is one authorization server's token endpoint and who calls it.
type TokenEndpoint struct {
	URL      string
	ClientID string
	// Secrets are tried in order: the next one only after invalid_client, so
	// that a client secret can be replaced without an outage.
	Secrets []seal.Secret
	Auth    ClientAuth
	HTTP    *http.Client
}

// Redeem exchanges an authorization code (RFC 6749, 4.1.3; RFC 7636, 4.5).
func (t TokenEndpoint) Redeem(ctx context.Context, code, codeVerifier seal.Secret, redirectURI string, scopes []string) (TokenResponse, error) {
	return t.call(ctx, LegRedemption, url.Values{
		"grant_type": {"authorization_code"}, "code": {code.Reveal()},
		"code_verifier": {codeVerifier.Reveal()}, "redirect_uri": {redirectURI}, "scope": {strings.Join(scopes, " ")},
	}, code, codeVerifier)
}

// Refresh asks for a fresh access token (RFC 6749, 6). Scopes may narrow what
// was granted, and choose the resource where the server goes by scope; none
// asks for all.
//
// Where the server's answer holds a refresh token but is otherwise no good, the
// response comes back with that refresh token beside the error: the old one
// may be void by then, so the new one has to be kept.
func (t TokenEndpoint) Refresh(ctx context.Context, refreshToken seal.Secret, scopes []string) (TokenResponse, error) {
	return t.call(ctx, LegToken, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken.Reveal()}, "scope": {strings.Join(scopes, " ")},
	}, refreshToken)
}

// ClientCredentials asks for an access token for the client itself (RFC 6749,
// 4.4). Beside its proper end it tells whether a client secret is accepted.
func (t TokenEndpoint) ClientCredentials(ctx context.Context, scopes []string) (TokenResponse, error) {
	return t.call(ctx, LegToken, url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(scopes, " ")}})
}

// call tries the client secrets in order. Every call carries a context with a
// deadline or the HTTP client's own.
func (t TokenEndpoint) call(ctx context.Context, leg Leg, form url.Values, hide ...seal.Secret) (TokenResponse, error) {
	if form.Get("scope") == "" {
		form.Del("scope") // an empty parameter is as bad as a wrong one for some servers
	}
	secrets := t.Secrets
	if len(secrets) == 0 {
		secrets = []seal.Secret{{}}
	}
	var out TokenResponse
	var err error
	for i, s := range secrets {
		out, err = t.post(ctx, leg, form, s, append(hide[:len(hide):len(hide)], t.Secrets...))
		out.SecretIndex = i
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != "invalid_client" {
			break
		}
	}
	return out, err
}

func (t TokenEndpoint) post(ctx context.Context, leg Leg, form url.Values, secret seal.Secret, hide []seal.Secret) (TokenResponse, error) {
	body := make(url.Values, len(form)+2)
	for k, v := range form {
		body[k] = v
	}
	basic := t.Auth == ClientSecretBasic && !secret.IsZero()
	if !basic {
		body.Set("client_id", t.ClientID)
		if !secret.IsZero() {
			body.Set("client_secret", secret.Reveal())
		}
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// From here on bytes may have left, even where the write then fails.
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, t.URL, strings.NewReader(body.Encode()))
	if err != nil {
		return TokenResponse{}, errors.New("build the token request: the token endpoint is not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if basic { // RFC 6749, 2.3.1: both parts form-encoded first
		req.SetBasicAuth(url.QueryEscape(t.ClientID), url.QueryEscape(secret.Reveal()))
	}
	resp, err := withoutRedirects(t.HTTP).Do(req)
	if err != nil {
		if connected.Load() {
			return TokenResponse{}, &NoAnswerError{Endpoint: hostOf(t.URL), Err: withoutURL(err)}
		}
		return TokenResponse{}, fmt.Errorf("call the token endpoint: %w", withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := readLimited(resp.Body)
	if err != nil {
		return TokenResponse{}, &NoAnswerError{Endpoint: hostOf(t.URL), Status: resp.StatusCode, Err: err}
	}
	return t.judge(leg, resp, raw, hide)
}

// judge tells a token response, a definite refusal, and an answer that decides
// nothing apart.
func (t TokenEndpoint) judge(leg Leg, resp *http.Response, raw []byte, hide []seal.Secret) (TokenResponse, error) {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		out, err := parseTokenResponse(raw)
		if err == nil {
			return out, nil
		}
		if refused := parseError(leg, t.URL, t.ClientID, resp.StatusCode, resp.Header, raw, hide...); refused.Code != "" {
			return out, refused // some servers refuse with status 200
		}
		return out, &NoAnswerError{Endpoint: hostOf(t.URL), Status: resp.StatusCode, Err: err}
	}
	refused := parseError(leg, t.URL, t.ClientID, resp.StatusCode, resp.Header, raw, hide...)
	if resp.StatusCode >= 500 && refused.Code == "" {
		// A gateway speaks here, and what stands behind it may have done its work.
		return TokenResponse{}, &NoAnswerError{Endpoint: hostOf(t.URL), Status: resp.StatusCode, Err: refused}
	}
	return TokenResponse{}, refused
}

// withoutRedirects gives a client that sends a form with secrets to nobody but
// the endpoint itself.
func withoutRedirects(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", largestBody)

func readLimited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, largestBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(b) > largestBody {
		return nil, errTooLong
	}
	return b, nil
}

// TokenResponse is a successful answer (RFC 6749, 5.1).
type TokenResponse struct {
	AccessToken  seal.Secret
	RefreshToken seal.Secret // empty: the one used goes on
	IDToken      seal.Secret
	ExpiresIn    time.Duration // zero: the server did not say
	Scopes       []string      // nil: the server did not say, so as asked
	SecretIndex  int           // which of the client secrets was accepted
}
