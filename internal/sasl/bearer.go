// Package sasl speaks the SASL mechanisms that carry an OAuth access token:
// XOAUTH2 (Google's and Microsoft's) and OAUTHBEARER (RFC 7628). The client
// side fits wherever a sasl.Client of emersion/go-sasl is asked for; the server
// side is the parser of what a client sends first.
//
// A server that refuses may say why, in a challenge that the client must
// answer before the refusal itself arrives. The clients answer as the mechanism
// demands and keep the words, see Bearer.Challenge.
package sasl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// The mechanism names, as they stand on the wire.
const (
	XOAUTH2     = "XOAUTH2"
	OAUTHBEARER = "OAUTHBEARER"
)

// separator is the key/value separator of both mechanisms (RFC 7628, 3.1).
const separator = "\x01"

// Challenge is what a refusing server said before its refusal. All of it is
// the server's own text, without control characters, at most 500 bytes each.
type Challenge struct {
	Status              string // RFC 7628: "invalid_token", "insufficient_scope"…; Google: "401"
	Schemes             string // XOAUTH2 only
	Scope               string // the scope that the server wants
	OpenIDConfiguration string // where the server's issuer describes itself
	Text                string // the whole challenge where it was no JSON object
}

// Bearer is the client side of one exchange. It is used once and not shared.
type Bearer struct {
	mechanism   string
	user        string
	accessToken seal.Secret
	host        string
	port        int

	started   bool
	refused   bool
	challenge Challenge
}

// NewXOAUTH2 signs in to the mailbox named user. For a shared mailbox, user is
// the mailbox's address and the access token that of the person who may open it.
func NewXOAUTH2(user string, accessToken seal.Secret) *Bearer {
	return &Bearer{mechanism: XOAUTH2, user: user, accessToken: accessToken}
}

// NewOAUTHBEARER signs in to the mailbox named user (the authorization
// identity; empty lets the server take it from the access token). Host and port
// are those dialled; an empty host and a zero port are left out.
func NewOAUTHBEARER(user string, accessToken seal.Secret, host string, port int) *Bearer {
	return &Bearer{mechanism: OAUTHBEARER, user: user, accessToken: accessToken, host: host, port: port}
}

// Start gives the mechanism's name and the initial response.
func (b *Bearer) Start() (mechanism string, initialResponse []byte, err error) {
	if b.started {
		return "", nil, errors.New("sasl: the exchange has been used already")
	}
	b.started = true
	if err := b.check(); err != nil {
		return "", nil, err
	}
	var m strings.Builder
	if b.mechanism == XOAUTH2 {
		m.WriteString("user=" + b.user + separator)
	} else {
		m.WriteString("n,")
		if b.user != "" {
			m.WriteString("a=" + escapeName(b.user))
		}
		m.WriteString("," + separator)
		if b.host != "" {
			m.WriteString("host=" + b.host + separator)
		}
		if b.port != 0 {
			m.WriteString("port=" + strconv.Itoa(b.port) + separator)
		}
	}
	m.WriteString("auth=Bearer " + b.accessToken.Reveal() + separator + separator)
	return b.mechanism, []byte(m.String()), nil
}

// check refuses what would break out of the message's form.
func (b *Bearer) check() error {
	bad := func(id, text, remedy string) error {
		return &fault.Error{ID: id, Kind: fault.Invalid, Text: text, Who: []fault.Who{fault.Operator}, Remedy: remedy}
	}
	if strings.ContainsFunc(b.user+b.host, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return bad("sasl.bad_user", "The user name or host for signing in holds a control character.", "Correct the mailbox's address, user or host.")
	}
	if b.user == "" && b.mechanism == XOAUTH2 {
		return bad("sasl.bad_user", "There is no user name to sign in with.", "Give the mailbox an address or a user.")
	}
	if !isB64Token(b.accessToken.Reveal()) {
		return bad("sasl.bad_access_token", "The access token is empty or holds characters that no bearer token may have.", "Authorise the mailbox again; if it persists, the authorization server issues malformed access tokens.")
	}
	return nil
}

// Next answers the server's challenge: XOAUTH2 with nothing, OAUTHBEARER with a
// single 0x01 (RFC 7628, 3.2.3). The server's refusal follows. A second
// challenge is an error.
func (b *Bearer) Next(challenge []byte) ([]byte, error) {
	if !b.started || b.refused {
		return nil, errors.New("sasl: the server sent a challenge that the mechanism does not have")
	}
	b.refused = true
	b.challenge = parseChallenge(challenge)
	if b.mechanism == OAUTHBEARER {
		return []byte(separator), nil
	}
	return []byte{}, nil
}

// Challenge gives what the server said before refusing; ok is false where it
// sent none.
func (b *Bearer) Challenge() (c Challenge, ok bool) { return b.challenge, b.refused }

// parseChallenge reads the JSON object of a refusal, and keeps the text of
// anything else.
func parseChallenge(raw []byte) Challenge {
	const limit = 500
	if len(raw) > 8<<10 {
		raw = raw[:8<<10]
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return Challenge{Text: fault.Shorten(string(raw), limit)}
	}
	text := func(key string) string {
		switch v := fields[key].(type) {
		case string:
			return fault.Shorten(v, limit)
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return ""
	}
	return Challenge{
		Status: text("status"), Schemes: text("schemes"), Scope: text("scope"),
		OpenIDConfiguration: text("openid-configuration"),
	}
}

// String gives the challenge in one line.
func (c Challenge) String() string {
	if c.Text != "" {
		return c.Text
	}
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"status", c.Status},
		{"schemes", c.Schemes},
		{"scope", c.Scope},
		{"openid-configuration", c.OpenIDConfiguration},
	} {
		if p.value != "" {
			parts = append(parts, fmt.Sprintf("%s=%s", p.name, p.value))
		}
	}
	return strings.Join(parts, " ")
}

// isB64Token reports whether s is a b64token (RFC 6750, 2.1).
func isB64Token(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for _, c := range []byte(body) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return true
}

// escapeName writes a saslname (RFC 5801, section 4).
func escapeName(s string) string {
	return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s)
}
