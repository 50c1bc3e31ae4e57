// Package oauth is the client side of OAuth 2.0 and OpenID Connect, for any
// authorization server: authorization request and response (RFC 6749, 7636,
// 9207), token endpoint, metadata (RFC 8414, OpenID Connect Discovery), ID
// tokens and UserInfo. It knows no provider.
//
// # What a failed call leaves open
//
// A refresh request may rotate the refresh token, so it matters how a call
// failed. OutcomeOf tells three cases apart: the request never left this
// machine; it may have been processed but no usable answer came back; or the
// server answered with a definite no, an *Error. Only the last says anything
// about the grant.
//
// Secrets travel as seal.Secret and appear in no error of this package; a
// server's text that echoes one is scrubbed.
package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// random gives 32 bytes from the system's generator in base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails; it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewState makes the state parameter of an authorization request: 256 random bits.
func NewState() string { return random() }

// NewNonce makes the nonce of an authentication request: 256 random bits.
func NewNonce() string { return random() }

// NewCodeVerifier makes a PKCE code verifier (RFC 7636, 4.1): 256 random bits,
// 43 characters.
func NewCodeVerifier() seal.Secret { return seal.NewSecret(random()) }

// CodeChallenge derives the S256 challenge of a verifier (RFC 7636, 4.2).
func CodeChallenge(verifier seal.Secret) string {
	sum := sha256.Sum256([]byte(verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CheckURL reports, as half a sentence, what keeps a URL from being an
// endpoint: it must be absolute and https (http towards loopback only), without
// user information and fragment. Empty means that it may be one.
func CheckURL(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Host == "" || u.Hostname() == "":
		return "is not an absolute URL such as https://login.example.com"
	case u.User != nil:
		return "must not hold a user name or password"
	case u.Fragment != "":
		return "must not have a fragment (#…)"
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return ""
	case u.Scheme == "http":
		return "must begin with https:// (http is possible towards this machine itself only)"
	}
	return "must begin with https://"
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// hostOf names a URL's host for a sentence.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "the authorization server"
	}
	if h, p, err := net.SplitHostPort(u.Host); err == nil && (p == "443" || p == "80") {
		return h
	}
	return u.Host
}
