package diagnose

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
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
	switch {
	case len(fields) == 1:
		return pasted{token: last}, nil
	case len(fields) <= 4 && strings.EqualFold(fields[len(fields)-2], "Bearer"):
		return pasted{token: last, from: "a Bearer header"}, nil
	case strings.Count(strings.Join(fields, ""), ".") == 2 && strings.HasPrefix(fields[0], "ey"):
		return pasted{token: strings.Join(fields, "")}, nil // wrapped over lines by a mail program or a terminal
	}
	return pasted{}, &fault.Error{
		ID: "inspect.no_token", Kind: fault.Invalid, Text: "This is not a token: it has words in it.", Who: []fault.Who{fault.Nobody},
		Remedy: "Paste the token alone, a Bearer header, or a base64 XOAUTH2 response. To have an error text explained, use explain.",
	}
}

func fromJSON(s string) (pasted, bool) {
	if !strings.HasPrefix(s, "{") {
		return pasted{}, false
	}
	var doc struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if json.Unmarshal([]byte(s), &doc) != nil {
		return pasted{}, false
	}
	switch {
	case doc.Access != "":
		return pasted{token: doc.Access, from: "access_token in an answer of a token endpoint"}, true
	case doc.ID != "":
		return pasted{token: doc.ID, from: "id_token in an answer of a token endpoint"}, true
	}
	return pasted{}, false
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
