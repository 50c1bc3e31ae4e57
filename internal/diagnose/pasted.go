package diagnose

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/sasl"
)

// longestPaste bounds what Inspect reads.
const longestPaste = 64 << 10

// pasted is what people paste: a bare token, a header, a SASL response, an
// answer of a token endpoint.
type pasted struct {
	token string
	user  string // the mailbox that a SASL response asks for
	from  string // where the token was found, in words; empty: it was pasted bare

	beside string // what else of worth was pasted, in a sentence
}

func unpack(s string) (pasted, error) {
	if len(s) > longestPaste {
		return pasted{}, &fault.Error{
			ID: "inspect.too_long", Kind: fault.Invalid, Who: []fault.Who{fault.Nobody},
			Text:   fmt.Sprintf("This is longer than any token: %d bytes, where at most %d are read.", len(s), longestPaste),
			Remedy: "Paste one token alone.",
		}
	}
	s = strings.Trim(strings.TrimSpace(s), `"'`)
	if p, ok := fromJSON(s); ok {
		return p, nil
	}
	if strings.HasPrefix(s, "{") {
		return pasted{}, &fault.Error{
			ID: "inspect.no_token", Kind: fault.Invalid, Text: "This is a document without an access token or an ID token.", Who: []fault.Who{fault.Nobody},
			Remedy: "Paste the answer of a token endpoint to a successful request, or one token alone. A refresh token cannot be looked into. To have an error explained, use explain.",
		}
	}
	// A header or a command line: what counts is its last word.
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return pasted{}, &fault.Error{
			ID: "inspect.empty", Kind: fault.Invalid, Text: "There is nothing to inspect.", Who: []fault.Who{fault.Nobody},
			Remedy: "Paste an access token or an ID token, a Bearer header, or a base64 XOAUTH2 response.",
		}
	}
	last := fields[len(fields)-1]
	if p, ok := fromSASL([]byte(s)); ok {
		return p, nil
	}
	if raw, ok := decodeBase64(last); ok {
		if p, ok := fromSASL(raw); ok {
			return p, nil
		}
	}
	if token, ok := afterBearer(fields); ok {
		return pasted{token: token, from: "a Bearer header"}, nil
	}
	if p, ok := fromQuery(last); ok {
		return p, nil
	}
	switch whole := strings.Join(fields, ""); {
	case len(fields) == 1:
		return pasted{token: last}, nil
	case strings.Count(whole, ".") >= 2 && strings.HasPrefix(whole, "ey") && isToken(whole):
		return pasted{token: whole}, nil // wrapped over lines by a mail program or a terminal
	}
	return pasted{}, &fault.Error{
		ID: "inspect.no_token", Kind: fault.Invalid, Text: "This is not a token: it has words in it.", Who: []fault.Who{fault.Nobody},
		Remedy: "Paste the token alone, a Bearer header, or a base64 XOAUTH2 response. To have an error text explained, use explain.",
	}
}

// afterBearer finds the token of an Authorization header (RFC 6750 section 2.1),
// alone, in a command line, or wrapped over lines.
func afterBearer(fields []string) (string, bool) {
	at := slices.IndexFunc(fields, func(f string) bool {
		return strings.EqualFold(strings.Trim(f[strings.LastIndexByte(f, ':')+1:], `"'`), "Bearer")
	})
	if at < 0 || at+1 == len(fields) {
		return "", false
	}
	rest := fields[at+1:]
	for i := range rest {
		rest[i] = strings.Trim(rest[i], `"',;`)
	}
	if whole := strings.Join(rest, ""); strings.Count(rest[0], ".") < 2 && strings.Count(whole, ".") >= 2 && isToken(whole) {
		return whole, true
	}
	return rest[0], isToken(rest[0])
}

// isToken reports whether a text has the characters of a token only (RFC 6750
// section 2.1, b64token).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~+/=", r))
	})
}

// answer is what of a token endpoint's answer can be looked at.
type answer struct {
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
}

func (a answer) pasted() (pasted, bool) {
	var p pasted
	switch {
	case a.Access != "":
		p = pasted{token: a.Access, from: "access_token in an answer of a token endpoint"}
	case a.ID != "":
		p = pasted{token: a.ID, from: "id_token in an answer of a token endpoint"}
	default:
		return p, false
	}
	p.token = strings.Join(strings.Fields(p.token), "")
	if a.Refresh != "" {
		p.beside = "The answer holds a refresh token, too. It is not looked at. Whoever has it has the mailbox for as long as it lives: if this text has been seen by others, end the authorisation and authorise the mailbox again."
	}
	return p, true
}

func fromJSON(s string) (pasted, bool) {
	if !strings.HasPrefix(s, "{") {
		return pasted{}, false
	}
	var a answer
	// A line break within a text, from a terminal or a mail program, is no JSON.
	if json.Unmarshal([]byte(strings.NewReplacer("\r", "", "\n", "").Replace(s)), &a) != nil {
		return pasted{}, false
	}
	return a.pasted()
}

// fromQuery reads an answer in the form of a query, as some servers give it.
func fromQuery(s string) (pasted, bool) {
	q, err := url.ParseQuery(s[strings.IndexAny(s, "?#")+1:])
	if err != nil {
		return pasted{}, false
	}
	return answer{q.Get("access_token"), q.Get("id_token"), q.Get("refresh_token")}.pasted()
}

func fromSASL(raw []byte) (pasted, bool) {
	if in, err := sasl.ParseXOAUTH2(raw); err == nil {
		return pasted{token: in.AccessToken.Reveal(), user: in.User, from: "an XOAUTH2 response"}, true
	}
	if in, err := sasl.ParseOAUTHBEARER(raw); err == nil {
		return pasted{token: in.AccessToken.Reveal(), user: in.User, from: "an OAUTHBEARER response"}, true
	}
	return pasted{}, false
}

func decodeBase64(s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := e.DecodeString(s); err == nil {
			return raw, true
		}
	}
	return nil, false
}

// claims are the members of a JWT's payload.
type claims map[string]any

// decodeJWT reads header and claims of a JWT (RFC 7519) without looking at its
// signature. encrypted says that it is a JWE, which only its resource can read.
func decodeJWT(token string) (header, body claims, encrypted, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 && len(parts) != 5 {
		return nil, nil, false, false
	}
	if header, ok = decodePart(parts[0]); !ok {
		return nil, nil, false, false
	}
	if _, has := header["alg"]; !has {
		return nil, nil, false, false
	}
	if len(parts) == 5 {
		return header, nil, true, true
	}
	body, ok = decodePart(parts[1])
	return header, body, false, ok
}

func decodePart(s string) (claims, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, false
	}
	var c claims
	if json.Unmarshal(raw, &c) != nil || c == nil {
		return nil, false
	}
	return c, true
}

// text gives a string claim, shortened for showing.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return fault.Shorten(s, 320)
}

// words gives a claim that is a list or a text with spaces between its words.
func (c claims) words(name string) []string {
	var out []string
	switch v := c[name].(type) {
	case string:
		out = strings.Fields(v)
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	if len(out) > 100 {
		out = out[:100]
	}
	for i := range out {
		out[i] = fault.Shorten(out[i], 320)
	}
	return out
}
