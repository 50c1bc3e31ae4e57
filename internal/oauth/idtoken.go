package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// leeway is the clock difference that is forgiven in exp, iat and nbf.
const leeway = 2 * time.Minute

// algorithms lists the signatures accepted: asymmetric ones only. HS256 would
// make a client secret a signing key, and "none" is none.
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// Expectation is what an ID token must say.
type Expectation struct {
	Issuer   string // exactly
	ClientID string // in aud, and azp where there is one
	JWKSURI  string
	Nonce    string      // as sent; never empty for an answer to an authorization request
	Access   seal.Secret // compared with at_hash, where the ID token has one
}

// Claims are the claims of a validated ID token or of a UserInfo answer.
type Claims map[string]any

// String gives a claim that is a string, else "".
func (c Claims) String(name string) string { s, _ := c[name].(string); return s }

// Bool reports whether a claim is true; the string "true" counts, as some
// servers send it so.
func (c Claims) Bool(name string) bool {
	switch v := c[name].(type) {
	case bool:
		return v
	case string:
		return v == "true"
	}
	return false
}

// Time gives a claim that is a NumericDate; ok is false where it is none.
func (c Claims) Time(name string) (at time.Time, ok bool) {
	f, isNumber := c[name].(float64)
	if !isNumber || math.IsNaN(f) || f < 0 || f > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// IDTokenError says which rule an ID token breaks (OpenID Connect Core,
// 3.1.3.7). It holds no token; Got and Want are single claims.
type IDTokenError struct {
	Claim     string // the claim at fault, or "signature", "form"
	Want, Got string
	Err       error
}

// Error says it in one line.
func (e *IDTokenError) Error() string {
	s := "ID token: " + e.Claim
	if e.Want != "" || e.Got != "" {
		s += fmt.Sprintf(" is %q, expected %q", fault.Shorten(e.Got, 200), fault.Shorten(e.Want, 200))
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *IDTokenError) Unwrap() error { return e.Err }

// VerifyIDToken validates an ID token that came from the token endpoint, and
// gives its claims. The error is an *IDTokenError, or that of fetching the keys.
func (d *Directory) VerifyIDToken(ctx context.Context, raw seal.Secret, want Expectation) (Claims, error) {
	if raw.IsZero() {
		return nil, &IDTokenError{Claim: "form", Err: errors.New("the token endpoint sent none; is the scope openid asked for?")}
	}
	fetch := &fetchFailure{keys: d.keySet(want.JWKSURI), at: want.JWKSURI}
	verifier := oidc.NewVerifier(want.Issuer, fetch, &oidc.Config{
		// Signature and form are go-oidc's part; the claims are judged below,
		// each with words of its own.
		SkipClientIDCheck: true, SkipExpiryCheck: true, SkipIssuerCheck: true, SupportedSigningAlgs: algorithms(), Now: d.now,
	})
	token, err := verifier.Verify(ctx, raw.Reveal())
	if err != nil {
		if fetch.err != nil {
			return nil, fetch.err
		}
		return nil, &IDTokenError{Claim: "signature", Err: errors.New("it is malformed, or no key of the issuer made its signature")}
	}
	var claims Claims
	if err := token.Claims(&claims); err != nil {
		return nil, &IDTokenError{Claim: "form", Err: errors.New("its claims are not a JSON object")}
	}
	if err := judgeClaims(claims, want, d.now()); err != nil {
		return nil, err
	}
	if token.AccessTokenHash != "" && !want.Access.IsZero() {
		if err := token.VerifyAccessToken(want.Access.Reveal()); err != nil {
			return nil, &IDTokenError{Claim: "at_hash", Err: errors.New("it belongs to another access token")}
		}
	}
	return claims, nil
}

// fetchFailure tells keys that could not be had from a signature that is wrong.
type fetchFailure struct {
	keys *oidc.RemoteKeySet
	at   string
	err  error
}

// VerifySignature implements oidc.KeySet.
func (f *fetchFailure) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := f.keys.VerifySignature(ctx, jwt)
	if err == nil || !strings.Contains(err.Error(), "fetching keys") {
		return payload, err
	}
	var network *url.Error
	if f.err = fmt.Errorf("fetch the issuer's keys: %w", err); errors.As(err, &network) {
		f.err = fmt.Errorf("fetch the issuer's keys: %w", network.Err)
		return payload, err
	}
	f.err = &fault.Error{
		ID: "oauth.keys_unavailable", Kind: fault.Temporary, Retry: true, Field: "issuer", Who: []fault.Who{fault.Provider, fault.Operator},
		Text:   fmt.Sprintf("The keys by which ID tokens are judged could not be fetched from %s.", hostOf(f.at)),
		Remedy: "Start again in some minutes. If it lasts, check the provider's issuer and what its metadata names as jwks_uri.", Err: f.err,
	}
	return payload, err
}

func judgeClaims(c Claims, want Expectation, now time.Time) error {
	if got := c.String("iss"); got != want.Issuer {
		return &IDTokenError{Claim: "iss", Want: want.Issuer, Got: got}
	}
	if c.String("sub") == "" || len(c.String("sub")) > 255 {
		return &IDTokenError{Claim: "sub", Err: errors.New("it is missing or too long")}
	}
	audience := audiences(c["aud"])
	if !slices.Contains(audience, want.ClientID) {
		return &IDTokenError{Claim: "aud", Want: want.ClientID, Got: strings.Join(audience, " ")}
	}
	azp, present := c["azp"]
	if present && azp != want.ClientID {
		return &IDTokenError{Claim: "azp", Want: want.ClientID, Got: c.String("azp")}
	}
	if len(audience) > 1 && !present {
		return &IDTokenError{Claim: "azp", Err: errors.New("it is missing although the ID token is for several clients")}
	}
	if got := c.String("nonce"); got == "" || got != want.Nonce {
		return &IDTokenError{Claim: "nonce", Err: errors.New("it is not the one that was sent; the answer belongs to another request")}
	}
	expires, ok := c.Time("exp")
	if !ok || !now.Before(expires.Add(leeway)) {
		return &IDTokenError{Claim: "exp", Err: fmt.Errorf("it is missing or past; this machine's clock says %s", now.UTC().Format(time.RFC3339))}
	}
	issued, ok := c.Time("iat")
	if !ok || issued.After(now.Add(leeway)) {
		return &IDTokenError{Claim: "iat", Err: fmt.Errorf("it is missing or in the future; this machine's clock says %s", now.UTC().Format(time.RFC3339))}
	}
	if from, ok := c.Time("nbf"); ok && from.After(now.Add(leeway)) {
		return &IDTokenError{Claim: "nbf", Err: fmt.Errorf("it is in the future; this machine's clock says %s", now.UTC().Format(time.RFC3339))}
	}
	return nil
}

// audiences reads aud, a string or a list of strings (RFC 7519, 4.1.3).
func audiences(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// PeekIDToken reads the claims of an ID token WITHOUT validating it. It serves
// one end: to learn which issuer's metadata to fetch, where an authorization
// server speaks for many. What it gives is not to be believed.
func PeekIDToken(raw seal.Secret) (Claims, error) {
	payload, err := jwtPayload(raw.Reveal())
	if err != nil {
		return nil, &IDTokenError{Claim: "form", Err: err}
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return nil, &IDTokenError{Claim: "form", Err: errors.New("its claims are not a JSON object")}
	}
	return c, nil
}
