package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
)

// Problem is a problem document (RFC 9457). Type is a stable name, as a URN;
// Remedy says what to do next; Provider is what the foreign server said of
// itself.
type Problem struct {
	Type     string        `json:"type"`
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail"`
	Field    string        `json:"field,omitempty" doc:"The field at fault, as the document spells it."`
	Remedy   string        `json:"remedy,omitempty"`
	Who      []string      `json:"who,omitempty" doc:"Who has to act."`
	Retry    bool          `json:"retry,omitempty" doc:"Mailgrant tries again by itself."`
	Provider *fault.Detail `json:"provider,omitempty"`
	Errors   []FieldError  `json:"errors,omitempty" doc:"Every fault of the document, where it has several."`
	// Changes are those that were made before a document stopped being carried out.
	Changes []AppliedChange `json:"changes,omitempty" doc:"Of apply, where it stopped midway: what was done."`

	retryAfter time.Duration
}

// FieldError is one fault of a document. It never repeats the value.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Error makes a problem an error for the framework.
func (p *Problem) Error() string { return p.Detail }

// GetStatus gives the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes it application/problem+json.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders adds Retry-After where a wait is known.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", seconds(p.retryAfter))
	}
	if p.Status == http.StatusForbidden {
		h.Set("WWW-Authenticate", challenge(p.Status, true))
	}
	return h
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// kinds gives status and title per kind of fault.
func kindStatus(k fault.Kind) (int, string) {
	switch k {
	case fault.Invalid:
		return http.StatusUnprocessableEntity, "The request breaks a rule"
	case fault.Unauthenticated:
		return http.StatusUnauthorized, "Not signed in"
	case fault.Forbidden:
		return http.StatusForbidden, "Not allowed"
	case fault.NotFound:
		return http.StatusNotFound, "Not found"
	case fault.Conflict:
		return http.StatusConflict, "At odds with the present state"
	case fault.Dead:
		return http.StatusConflict, "The mailbox must be authorised again"
	case fault.Limited:
		return http.StatusTooManyRequests, "Too much at once"
	case fault.Refused:
		return http.StatusBadGateway, "A server outside refused"
	case fault.Temporary:
		return http.StatusServiceUnavailable, "Not possible just now"
	default:
		return http.StatusInternalServerError, "Something went wrong inside Mailgrant"
	}
}

const typePrefix = "urn:mailgrant:problem:"

func problemOf(f *fault.Error) *Problem {
	status, title := kindStatus(f.Kind)
	if f.ID == "api.media_type" {
		status, title = http.StatusUnsupportedMediaType, "Media type not supported"
	}
	p := &Problem{
		Type: typePrefix + f.ID, Title: title, Status: status, Detail: f.Text, Field: f.Field,
		Remedy: f.Remedy, Retry: f.Retry, retryAfter: f.RetryAfter,
	}
	for _, w := range f.Who {
		p.Who = append(p.Who, string(w))
	}
	if f.Detail != (fault.Detail{}) {
		d := f.Detail
		p.Provider = &d
	}
	return p
}

// Refuse answers with a problem document for a call that never comes to an
// operation.
func Refuse(w http.ResponseWriter, status int, title string, f *fault.Error) {
	p := problemOf(f)
	p.Status, p.Title = status, title
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	p.write(w)
}

// write answers with the problem.
func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// problem translates an error and logs what only an operator may see. Of several
// faults the first makes the problem, and all of them are listed.
func (a *API) problem(ctx context.Context, err error) *Problem {
	all := fault.All(err)
	for _, f := range all {
		if f.Kind == fault.Internal {
			a.Logger.ErrorContext(ctx, "an API call failed", "error", err)
			return problemOf(f)
		}
	}
	p := problemOf(all[0])
	if len(all) > 1 {
		for _, f := range all {
			p.Errors = append(p.Errors, FieldError{Field: f.Field, Detail: f.Text, Remedy: f.Remedy})
		}
	}
	return p
}

// problems turns the framework's own refusals (validation, size, media type)
// into our form. Its errors repeat the submitted value, which may be a client
// secret; ours never do.
func (a *API) problems(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := doorProblem(m.Status, m.Detail)
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, FieldError{Field: strings.TrimPrefix(e.Location, "body."), Detail: withoutValue(e.Message)})
	}
	if len(p.Errors) > 0 {
		p.Field = p.Errors[0].Field
		p.Detail = "The request does not have the form that this operation takes: " + p.Errors[0].Field + ": " + p.Errors[0].Detail + "."
	}
	return p, nil
}

// withoutValue leaves a framework's sentence, unless it repeats what was sent:
// those of Go's own parsers do.
func withoutValue(text string) string {
	for _, parser := range []string{"parsing ", "strconv.", "invalid character", "json:", "url:", "unmarshal"} {
		if strings.Contains(text, parser) {
			return "this cannot be read"
		}
	}
	return text
}

func normalise(address string) (string, error) { return message.Address(address) }
