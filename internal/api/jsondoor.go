package api

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/api/strictjson"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// longestURL bounds paths and queries; package strictjson bounds documents.
const longestURL = 8 << 10

// jsonFormat reads bodies by package strictjson first; answers are written as ever.
func jsonFormat() map[string]huma.Format {
	formats := maps.Clone(huma.DefaultFormats)
	for name, f := range formats {
		read := f.Unmarshal
		f.Unmarshal = func(b []byte, v any) error {
			if err := strictjson.Check(b); err != nil {
				return err
			}
			return read(b, v)
		}
		formats[name] = f
	}
	return formats
}

// unreadable refuses a request whose line or header fields are not text that
// could be stored or looked up: no operation has to.
func unreadable(r *http.Request) *Problem {
	bad := func(text string) *Problem {
		p := problemOf(&fault.Error{
			ID: "api.unreadable", Kind: fault.Invalid, Text: text, Who: []fault.Who{fault.Operator},
			Remedy: "Write paths and queries as UTF-8, percent-encoded (RFC 3986), without control characters.",
		})
		p.Title, p.Status = "The request cannot be read", http.StatusBadRequest
		return p
	}
	if len(r.URL.RawPath)+len(r.URL.Path)+len(r.URL.RawQuery) > longestURL {
		p := bad("The path and the query are longer than 8 KiB.")
		p.Status, p.Remedy = http.StatusRequestURITooLong, "Ask for less at once."
		return p
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("The query is not percent-encoded as it should be.")
	}
	texts := []string{r.URL.Path}
	for name, values := range query {
		texts = append(append(texts, name), values...)
	}
	for _, values := range r.Header {
		texts = append(texts, values...)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return bad("The path, the query or a header field holds what is not UTF-8, or a control character.")
		}
	}
	return nil
}

// decodeStrictly reads a document that the framework did not.
func decodeStrictly(b []byte, into any) error {
	if err := strictjson.Check(b); err != nil {
		return refusedJSON(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badJSON(errors.New("more follows"))
	}
	return nil
}

func refusedJSON(err error) error {
	return &fault.Error{
		ID: "api.invalid_request", Kind: fault.Invalid, Field: "body", Text: "The body is not the JSON that this operation takes: " + err.Error() + ".",
		Who: []fault.Who{fault.Operator}, Remedy: "See /openapi.json for what is allowed.",
	}
}

// badJSON says what a decoder found, without the value.
func badJSON(err error) error {
	text := "The body is not the JSON that this operation takes."
	field := ""
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) { // its own words repeat numbers
		kind, _, _ := strings.Cut(wrong.Value, " ")
		field = wrong.Field
		text += " A " + kind + " cannot stand there."
	} else if s := err.Error(); strings.HasPrefix(s, "json: unknown field") {
		text += " It has an " + strings.TrimPrefix(s, "json: ") + "."
	}
	return &fault.Error{ID: "api.invalid_request", Kind: fault.Invalid, Field: field, Text: text, Who: []fault.Who{fault.Operator}, Remedy: "See /openapi.json for what is allowed."}
}
