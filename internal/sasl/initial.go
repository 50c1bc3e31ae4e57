package sasl

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// Initial is what a client says first, in either mechanism.
type Initial struct {
	User        string // the mailbox asked for; may be empty with OAUTHBEARER
	Host        string // OAUTHBEARER: the host that the client dialled, if it said so
	Port        int    // OAUTHBEARER: the port, zero if not said
	AccessToken seal.Secret
}

// The ways in which an initial response is malformed. They never hold any part
// of it.
var (
	errForm   = errors.New("sasl: the initial response has not the mechanism's form")
	errBearer = errors.New("sasl: the initial response carries no bearer token")
)

// ParseXOAUTH2 reads an initial response of XOAUTH2.
func ParseXOAUTH2(response []byte) (Initial, error) {
	fields, err := keyValues(string(response))
	if err != nil {
		return Initial{}, err
	}
	if fields["user"] == "" {
		return Initial{}, errForm
	}
	token, err := bearerToken(fields["auth"])
	if err != nil {
		return Initial{}, err
	}
	return Initial{User: fields["user"], AccessToken: token}, nil
}

// ParseOAUTHBEARER reads an initial response of OAUTHBEARER (RFC 7628, 3.1):
// GS2 header, then key/value pairs. Channel binding is not offered, so a
// header that demands it is malformed.
func ParseOAUTHBEARER(response []byte) (Initial, error) {
	header, rest, found := strings.Cut(string(response), separator)
	parts := strings.Split(header, ",")
	if !found || len(parts) != 3 || parts[2] != "" || parts[0] != "n" && parts[0] != "y" {
		return Initial{}, errForm
	}
	var in Initial
	if parts[1] != "" {
		name, ok := strings.CutPrefix(parts[1], "a=")
		if !ok || name == "" {
			return Initial{}, errForm
		}
		user, err := unescapeName(name)
		if err != nil {
			return Initial{}, err
		}
		in.User = user
	}
	fields, err := keyValues(rest)
	if err != nil {
		return Initial{}, err
	}
	in.Host = fields["host"]
	if p := fields["port"]; p != "" {
		if in.Port, err = strconv.Atoi(p); err != nil || in.Port < 1 || in.Port > 65535 {
			return Initial{}, errForm
		}
	}
	in.AccessToken, err = bearerToken(fields["auth"])
	return in, err
}

// keyValues reads key=value pairs, each ended by 0x01, with one more 0x01 at
// the end. A key that comes twice is malformed.
func keyValues(s string) (map[string]string, error) {
	body, ok := strings.CutSuffix(s, separator+separator)
	if !ok || !utf8.ValidString(s) {
		return nil, errForm
	}
	fields := map[string]string{}
	for pair := range strings.SplitSeq(body, separator) {
		key, value, found := strings.Cut(pair, "=")
		if _, twice := fields[key]; !found || key == "" || twice {
			return nil, errForm
		}
		if strings.ContainsFunc(pair, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return nil, errForm
		}
		fields[key] = value
	}
	return fields, nil
}

// bearerToken reads "Bearer <b64token>"; the scheme is compared without case
// (RFC 9110, 11.1).
func bearerToken(auth string) (seal.Secret, error) {
	scheme, token, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isB64Token(token) {
		return seal.Secret{}, errBearer
	}
	return seal.NewSecret(token), nil
}

// unescapeName reads a saslname (RFC 5801, section 4).
func unescapeName(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", errForm
		}
		i += 2
	}
	if name := b.String(); utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return name, nil
	}
	return "", errForm
}
