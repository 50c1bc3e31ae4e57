// Package fault is the one form in which Mailgrant speaks of failure.
//
// A fault says what went wrong in words a person may read, what kind of
// failure it is, who has to act, what they should do, and whether Mailgrant
// tries again by itself. It is made once, by the room that met the foreign
// error (a reply of a server, a status of an HTTP call, a setting that cannot
// be); rooms above wrap it with %w and never classify it again. The faces
// (API, pages, command line) translate it: Kind becomes a status, ID becomes
// the problem document's type, Text and Remedy are shown as they stand.
//
// Text, Remedy and Detail never carry a secret.
package fault

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Kind is the class of a failure: it decides the HTTP status, the exit code
// and whether a retry can help. The zero value is Internal, so that an error
// nobody classified is shown as nothing more than that.
type Kind int

const (
	// Internal is a failure of Mailgrant itself; its cause is logged, not shown.
	Internal Kind = iota
	// Invalid is input that breaks a rule the caller can know (400, or 422).
	Invalid
	// Unauthenticated is a caller who has not said who they are (401).
	Unauthenticated
	// Forbidden is a caller who may not do this (403).
	Forbidden
	// NotFound names nothing that exists (404).
	NotFound
	// Conflict is a request at odds with the present state (409).
	Conflict
	// Limited is a request refused because of a rate or size limit (429).
	Limited
	// Refused is a permanent no from a foreign server (502 towards API callers).
	Refused
	// Temporary is a failure of a foreign server or the network that may pass (503).
	Temporary
	// Dead is a grant the authorization server no longer honours: a person must
	// authorise again (409 towards API callers).
	Dead
)

var kindNames = [...]string{
	"internal", "invalid", "unauthenticated", "forbidden", "not_found",
	"conflict", "limited", "refused", "temporary", "dead",
}

// String is the kind's stable name.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "internal"
	}
	return kindNames[k]
}

// Who names the party that has to act on a failure.
type Who string

// The parties, as the command line and the API spell them.
const (
	MailboxOwner Who = "mailbox_owner"
	AppOwner     Who = "app_owner"
	TenantAdmin  Who = "tenant_admin"
	MailAdmin    Who = "mail_admin"
	Operator     Who = "operator"
	Provider     Who = "provider"
	Nobody       Who = "nobody"
)

// Detail is what a foreign server said about itself, for its support people.
type Detail struct {
	Code          string    `json:"code,omitempty"`           // OAuth error, SMTP enhanced status, IMAP response code
	Subcode       string    `json:"subcode,omitempty"`        // suberror, AADSTS number
	Reply         string    `json:"reply,omitempty"`          // the server's own text, shortened to 500 bytes, without secrets
	TraceID       string    `json:"trace_id,omitempty"`       // Entra trace id
	CorrelationID string    `json:"correlation_id,omitempty"` // Entra correlation id
	Timestamp     string    `json:"timestamp,omitempty"`      // as the server wrote it
	At            time.Time `json:"at,omitzero"`
}

// Said is the error as the other side gave it, in one line: its codes and its
// words; empty where it gave none.
func (d Detail) Said() string {
	parts := slices.DeleteFunc([]string{d.Code, d.Subcode, d.Reply}, func(s string) bool { return s == "" })
	return strings.Join(slices.Compact(parts), "; ")
}

// Error is a classified failure. ID is stable, dotted and lower case
// ("oauth.invalid_grant", "config.unknown_setting"); documents and alerts hold
// on to it.
type Error struct {
	ID     string
	Kind   Kind
	Text   string // one sentence: what is wrong and where
	Field  string // the setting or field at fault, as its file or document spells it
	Who    []Who
	Remedy string // what to do next, one to three sentences
	// Retry says that Mailgrant tries again by itself; RetryAfter is the wait
	// that the other side asked for, zero when it asked for none.
	Retry      bool
	RetryAfter time.Duration
	Detail     Detail
	Err        error // the cause; logged, never shown to API callers
}

// Error gives the sentence and, after it, the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Text)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is a fault with the same ID, so that
// errors.Is(err, &fault.Error{ID: "…"}) asks for one by name.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.ID != "" && t.ID == e.ID
}

// Of finds the fault in err's chain; an error that carries none becomes an
// Internal fault that wraps it. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{
		ID:     "internal",
		Kind:   Internal,
		Text:   "Something went wrong inside Mailgrant.",
		Who:    []Who{Operator},
		Remedy: "Look at the server's log for the cause.",
		Err:    err,
	}
}

// KindOf is Of(err).Kind.
func KindOf(err error) Kind {
	if err == nil {
		return Internal
	}
	return Of(err).Kind
}

// Has reports whether err carries a fault with this ID.
func Has(err error, id string) bool { return errors.Is(err, &Error{ID: id}) }

// Shorten cuts a foreign server's text to at most n bytes on a rune boundary
// and makes control characters visible as spaces, so that it can be shown.
func Shorten(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
