package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// longestText bounds what is kept of a server's own text, in bytes.
const longestText = 1000

// Leg says in which part of the protocol a server refused.
type Leg string

// The legs.
const (
	LegAuthorization Leg = "authorization" // the answer that came with the browser
	LegRedemption    Leg = "token (code)"
	LegToken         Leg = "token"
	LegUserInfo      Leg = "userinfo"
	LegMetadata      Leg = "metadata"
)

// Error is a server's definite refusal: an error of RFC 6749 (4.1.2.1, 5.2) or,
// with an empty Code, an HTTP answer that is none. Texts are the server's own,
// shortened, without control characters and without the secrets of the request.
type Error struct {
	Leg      Leg
	Endpoint string // host that answered
	ClientID string
	Status   int // HTTP status; 0 on the authorization leg

	Code        string // error
	Description string // error_description, or the text of an answer that is no OAuth error
	URI         string // error_uri

	// What some servers add.
	Suberror      string
	ErrorCodes    []int // numbers for explanation, never for control flow
	TraceID       string
	CorrelationID string
	Timestamp     string
	Claims        string // a claims challenge, to be sent with the next authorization request
	RetryAfter    string // the Retry-After field as it stood
}

// Error gives the code and the server's words.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s endpoint", e.Leg)
	if e.Endpoint != "" {
		b.WriteString(" at " + e.Endpoint)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " answered %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Suberror != "" {
		b.WriteString(" (" + e.Suberror + ")")
	}
	if e.Description != "" {
		b.WriteString(": " + e.Description)
	}
	return b.String()
}

// NoAnswerError says that a request left this machine and no usable answer came
// back: the server may have processed it.
type NoAnswerError struct {
	Endpoint string // host
	Status   int    // where an HTTP answer came that decides nothing (a gateway's 502); else 0
	Err      error
}

// Error says so in one line.
func (e *NoAnswerError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%s answered %d without an OAuth answer; the request may have been processed: %v", e.Endpoint, e.Status, e.Err)
	}
	return fmt.Sprintf("no answer from %s; the request may have been processed: %v", e.Endpoint, e.Err)
}

// Unwrap gives the cause.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// Outcome is what a failed call leaves open.
type Outcome int

const (
	// NotSent: the request never left this machine; nothing happened.
	NotSent Outcome = iota
	// NoAnswer: the request may have been processed; nobody here knows.
	NoAnswer
	// Answered: the server gave a definite answer.
	Answered
)

// OutcomeOf tells what a failed call to the token endpoint leaves open.
func OutcomeOf(err error) Outcome {
	var lost *NoAnswerError
	var answer *Error
	switch {
	case errors.As(err, &lost):
		return NoAnswer
	case errors.As(err, &answer):
		return Answered
	}
	return NotSent
}

// parseError reads the answer of a refusing server. It never fails: what
// cannot be read becomes an Error without Code.
func parseError(leg Leg, endpoint, clientID string, status int, header http.Header, body []byte, secrets ...seal.Secret) *Error {
	e := &Error{Leg: leg, Endpoint: hostOf(endpoint), ClientID: clientID, Status: status, RetryAfter: header.Get("Retry-After")}
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err == nil && doc != nil {
		e.fromJSON(doc)
	}
	if e.Code == "" && e.Description == "" {
		e.Description = pageText(body)
	}
	if e.Code == "" && header.Get("WWW-Authenticate") != "" {
		e.fromChallenge(header.Get("WWW-Authenticate"))
	}
	for _, s := range secrets {
		e.scrub(s)
	}
	for _, text := range []*string{&e.Description, &e.URI} {
		*text = fault.Shorten(*text, longestText)
	}
	for _, text := range []*string{&e.Code, &e.Suberror, &e.TraceID, &e.CorrelationID, &e.Timestamp, &e.RetryAfter} {
		*text = fault.Shorten(*text, 100)
	}
	return e
}

func (e *Error) fromJSON(doc map[string]any) {
	text := func(key string) string { s, _ := doc[key].(string); return s }
	e.Code, e.Description, e.URI = text("error"), text("error_description"), text("error_uri")
	e.Suberror, e.TraceID, e.CorrelationID = text("suberror"), text("trace_id"), text("correlation_id")
	e.Timestamp = text("timestamp")
	if c := text("claims"); len(c) <= 4<<10 {
		e.Claims = c
	}
	if nested, ok := doc["error"].(map[string]any); ok { // the error form of many JSON APIs
		e.Code, _ = nested["code"].(string)
		e.Description, _ = nested["message"].(string)
	}
	list, _ := doc["error_codes"].([]any)
	for _, v := range list[:min(len(list), 20)] {
		switch n := v.(type) {
		case float64:
			if n >= 0 && n < 1e9 {
				e.ErrorCodes = append(e.ErrorCodes, int(n))
			}
		case string:
			if i, err := strconv.Atoi(n); err == nil && i >= 0 && i < 1e9 {
				e.ErrorCodes = append(e.ErrorCodes, i)
			}
		}
	}
}

// fromChallenge reads error and error_description of a WWW-Authenticate field
// (RFC 6750, 3).
func (e *Error) fromChallenge(field string) {
	for name, to := range map[string]*string{"error": &e.Code, "error_description": &e.Description} {
		if m := regexp.MustCompile(`(?i)\b` + name + `="([^"]{0,500})"`).FindStringSubmatch(field); m != nil {
			*to = m[1]
		}
	}
}

// scrub removes a secret of the request from the server's words.
func (e *Error) scrub(s seal.Secret) {
	v := s.Reveal()
	if len(v) < 4 {
		return
	}
	for _, text := range []*string{&e.Code, &e.Description, &e.URI, &e.Suberror, &e.Claims, &e.TraceID, &e.CorrelationID, &e.Timestamp, &e.RetryAfter} {
		*text = strings.ReplaceAll(*text, v, seal.Placeholder)
	}
}

// pageText gives what a person may read of an answer that is no JSON: the title
// of a page, or the text.
func pageText(body []byte) string {
	if len(body) > 64<<10 {
		body = body[:64<<10]
	}
	s := string(body)
	if m := regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`).FindStringSubmatch(s); m != nil {
		return "a web page titled “" + fault.Shorten(m[1], 200) + "”"
	}
	if strings.Contains(strings.ToLower(s), "<html") {
		return "a web page"
	}
	return fault.Shorten(s, 300)
}
