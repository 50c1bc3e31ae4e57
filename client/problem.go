package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Problem is a refusal of the server: a problem document (RFC 9457) with what
// to do next. Use errors.As to find one in an error.
type Problem struct {
	// Type is stable: urn:mailgrant:problem: and a dotted name. ID gives the name.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is one sentence: what is wrong.
	Detail string `json:"detail"`
	// Field is the field at fault, as the document spells it.
	Field  string `json:"field,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Who has to act: mailbox_owner, app_owner, tenant_admin, mail_admin, operator, provider, nobody.
	Who []string `json:"who,omitempty"`
	// Retry says that Mailgrant tries again by itself.
	Retry    bool            `json:"retry,omitempty"`
	Provider *ProviderDetail `json:"provider,omitempty"`
	Errors   []FieldError    `json:"errors,omitempty"`
	// Changes are those that Apply made before it stopped midway.
	Changes []Change `json:"changes,omitempty"`
	// RetryAfter is the wait that the server asked for; zero when it asked for none.
	RetryAfter time.Duration `json:"-"`
}

// ProviderDetail is what a server outside Mailgrant said about itself, for its
// support people.
type ProviderDetail struct {
	Code          string    `json:"code,omitempty"`
	Subcode       string    `json:"subcode,omitempty"`
	Reply         string    `json:"reply,omitempty"`
	TraceID       string    `json:"trace_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Timestamp     string    `json:"timestamp,omitempty"`
	At            time.Time `json:"at,omitzero"`
}

// FieldError is one fault of a document that was sent.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

const typePrefix = "urn:mailgrant:problem:"

// Error gives the sentence.
func (p *Problem) Error() string {
	if p.Field == "" {
		return p.Detail
	}
	return p.Field + ": " + p.Detail
}

// ID is the stable name of the problem, such as mailbox.unknown.
func (p *Problem) ID() string { return strings.TrimPrefix(p.Type, typePrefix) }

// HasID reports whether err carries a problem of this name.
func HasID(err error, id string) bool {
	var p *Problem
	return errors.As(err, &p) && p.ID() == id
}

// maxProblem bounds a problem document.
const maxProblem = 1 << 20

// problemOf reads the refusal in an answer. What is not a problem document came
// from something else on the way, and that is said.
func problemOf(r *http.Response) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && media == "text/plain" {
		// The server's own refusals before any path is looked at: a foreign Host name, say.
		if line := firstLine(r.Body); line != "" {
			return fmt.Errorf("the server refused with %s: %s", r.Status, line)
		}
	}
	if err != nil || media != "application/problem+json" {
		return fmt.Errorf("the answer, %s, is not one of Mailgrant's: is there another server or a proxy at this address?", r.Status)
	}
	p := &Problem{}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxProblem)).Decode(p); err != nil {
		return fmt.Errorf("the server refused with %s, and its reason cannot be read: %w", r.Status, err)
	}
	p.Status = r.StatusCode
	if p.Detail == "" {
		p.Detail = "The server answered " + r.Status + "."
	}
	if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}

// firstLine reads a short text's first line, without control characters.
func firstLine(r io.Reader) string {
	b, err := io.ReadAll(io.LimitReader(r, 300))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.ToValidUTF8(string(b), ""), "\n")
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, line))
}
