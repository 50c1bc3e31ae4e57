package broker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// longestJWT bounds what is decoded of an access token.
const longestJWT = 64 << 10

// otherResource names an access token that is for another of the mailbox's resources
// than the one asked for: the mail server would only say that AUTHENTICATE failed. What
// the kind says counts first; else the audience of a JWT is held against the
// hosts in the scopes of the other resources. The decoding proves nothing
// and refuses nothing: a token that is opaque to us is as good as any.
func otherResource(tokens provider.Tokens, o opened) *fault.Error {
	got := tokens.Resource
	if got == "" || got == o.resource.Name {
		got = ""
		for _, aud := range audiences(tokens.AccessToken) {
			host := hostOf(aud)
			for _, r := range o.resources {
				if host != "" && r.Name != o.resource.Name && names(r, host) && !names(o.resource, host) {
					got = fmt.Sprintf("%s (audience %s)", r.Name, fault.Shorten(aud, 100))
				}
			}
		}
	}
	if got == "" {
		return nil
	}
	return &fault.Error{
		ID: "grant.wrong_audience", Kind: fault.Refused,
		Text: fmt.Sprintf("The provider was asked for an access token for %s and gave one for %s.", o.resource.Name, got),
		Who:  []fault.Who{fault.Operator, fault.AppOwner},
		Remedy: "Check the scopes of the mailbox's profile: those of one resource only may be asked for together, " +
			"and the application's permissions have to hold them.",
		Retry: true,
	}
}

func names(r provider.Resource, host string) bool {
	for _, s := range r.Scopes {
		if hostOf(s) == host {
			return true
		}
	}
	return false
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// audiences reads the aud claim of a JWT (RFC 7519, section 4.1.3), one or
// several; none where the token is anything else.
func audiences(token seal.Secret) []string {
	raw := token.Reveal()
	if len(raw) > longestJWT || strings.Count(raw, ".") != 2 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		return nil
	}
	var claims struct {
		Aud json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	var one string
	if json.Unmarshal(claims.Aud, &one) == nil {
		return []string{one}
	}
	var several []string
	if json.Unmarshal(claims.Aud, &several) == nil {
		return several
	}
	return nil
}
