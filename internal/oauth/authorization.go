package oauth

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// AuthorizationRequest is a request for an authorization code (RFC 6749,
// 4.1.1, OpenID Connect Core, 3.1.2.1). State, nonce and code challenge are
// not optional here.
type AuthorizationRequest struct {
	Endpoint      string
	ClientID      string
	RedirectURI   string
	Scopes        []string
	State         string
	Nonce         string
	CodeChallenge string // S256
	Prompt        string // empty: the parameter is left out
	LoginHint     string
	Extra         url.Values // further parameters; must not repeat those above
}

// URL gives the address to send the browser to. Parameters that the endpoint
// has already are kept (RFC 6749, 3.1).
func (r AuthorizationRequest) URL() (string, error) {
	for name, value := range map[string]string{
		"client_id": r.ClientID, "redirect_uri": r.RedirectURI, "state": r.State, "nonce": r.Nonce, "code_challenge": r.CodeChallenge,
	} {
		if value == "" {
			return "", fmt.Errorf("build the authorization request: %s is missing", name)
		}
	}
	if why := CheckURL(r.Endpoint); why != "" {
		return "", &fault.Error{
			ID: "oauth.bad_endpoint", Kind: fault.Invalid, Field: "authorization_endpoint",
			Text: "The authorization endpoint " + why + ".", Who: []fault.Who{fault.Operator},
			Remedy: "Correct the provider's endpoint.",
		}
	}
	u, err := url.Parse(r.Endpoint)
	if err != nil {
		return "", fmt.Errorf("build the authorization request: %w", err)
	}
	q := u.Query()
	for k, v := range r.Extra {
		q[k] = v
	}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("response_type", "code")
	set("client_id", r.ClientID)
	set("redirect_uri", r.RedirectURI)
	set("scope", strings.Join(r.Scopes, " "))
	set("state", r.State)
	set("nonce", r.Nonce)
	set("code_challenge", r.CodeChallenge)
	set("code_challenge_method", "S256")
	set("prompt", r.Prompt)
	set("login_hint", r.LoginHint)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// AuthorizationResponse is what came back with the browser (RFC 6749, 4.1.2).
type AuthorizationResponse struct {
	State  string
	Code   seal.Secret
	Issuer string // RFC 9207; empty when absent
	// Refusal is set where the server answered with an error instead of a code.
	Refusal *Error
}

// ParseAuthorizationResponse reads the parameters of the redirect. A parameter
// that comes twice (RFC 6749, 3.1), or neither code nor error, is the fault
// oauth.bad_response.
func ParseAuthorizationResponse(q url.Values) (AuthorizationResponse, error) {
	bad := func(text string) error {
		return &fault.Error{
			ID: "oauth.bad_response", Kind: fault.Invalid, Text: text, Who: []fault.Who{fault.MailboxOwner},
			Remedy: "Open the link again and start from the beginning.",
		}
	}
	for _, name := range []string{"state", "code", "error", "error_description", "error_uri", "iss"} {
		if len(q[name]) > 1 {
			return AuthorizationResponse{}, bad("The answer that came back with the browser holds the parameter " + name + " more than once.")
		}
		if len(q.Get(name)) > 16<<10 {
			return AuthorizationResponse{}, bad("The answer that came back with the browser is too long in the parameter " + name + ".")
		}
	}
	r := AuthorizationResponse{State: q.Get("state"), Code: seal.NewSecret(q.Get("code")), Issuer: q.Get("iss")}
	switch {
	case q.Get("error") != "":
		r.Code = seal.Secret{}
		r.Refusal = &Error{
			Leg: LegAuthorization, Code: fault.Shorten(q.Get("error"), 100),
			Description: fault.Shorten(q.Get("error_description"), longestText), URI: fault.Shorten(q.Get("error_uri"), longestText),
			Suberror: fault.Shorten(q.Get("error_subcode"), 100),
		}
	case r.Code.IsZero():
		return r, bad("The answer that came back with the browser holds neither a code nor an error.")
	}
	return r, nil
}

// CheckResponseIssuer compares the iss parameter of an authorization response
// with the issuer that was asked (RFC 9207, 2.4): a difference means that the
// answer came from another server. It may be absent where the server does not
// promise it.
func CheckResponseIssuer(m Metadata, iss string) error {
	if iss == m.Issuer || iss == "" && !m.AuthorizationResponseIss {
		return nil
	}
	text := fmt.Sprintf("The answer names the issuer %s, but %s was asked.", fault.Shorten(iss, 200), m.Issuer)
	if iss == "" {
		text = fmt.Sprintf("The answer does not name its issuer, although %s always does so.", m.Issuer)
	}
	return &fault.Error{
		ID: "oauth.wrong_issuer", Kind: fault.Refused, Text: text, Who: []fault.Who{fault.MailboxOwner, fault.Operator},
		Remedy: "Start again from the link. If it happens again, somebody mixes up authorization servers: check the provider's issuer.",
	}
}
