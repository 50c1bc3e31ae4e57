package api

import (
	"errors"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// everywhere refuses callers that may not manage the whole server. A key with
// rights at some mailboxes could otherwise make itself a key for all of them.
func everywhere(c access.Caller) error {
	return unbound(c, "This API key has the right “manage” at some mailboxes only; this concerns the whole server.")
}

// addsOrRemoves refuses them where a mailbox is added or removed: one that is
// removed and added anew has lost its grant, its mail and what an operator set.
func addsOrRemoves(c access.Caller) error {
	return unbound(c, "This API key has the right “manage” at some mailboxes only: it may change them; to add or remove a mailbox takes “manage” for the whole server.")
}

func unbound(c access.Caller, text string) error {
	if err := c.Allows(access.Manage, ""); err != nil {
		return err
	}
	if c.All || len(c.Mailboxes) == 0 {
		return nil
	}
	return &fault.Error{
		ID: "access.forbidden", Kind: fault.Forbidden, Who: []fault.Who{fault.Operator}, Text: text,
		Remedy: "Use a key with the right “manage” that is not bound to mailboxes.",
	}
}

const realm = `Bearer realm="mailgrant"`

// challenge is the WWW-Authenticate header that goes with a refusal (RFC 6750
// section 3): bare for who brought nothing, with an error for who brought an API
// key that is not good, or not good enough.
func challenge(status int, brought bool) string {
	switch {
	case status == http.StatusForbidden:
		return realm + `, error="insufficient_scope"`
	case status == http.StatusUnauthorized && brought:
		return realm + `, error="invalid_token"`
	case status == http.StatusUnauthorized:
		return realm
	}
	return ""
}

const eventStream = "text/event-stream"

// wantsStream reads an Accept header: whether it asks for server-sent events.
func wantsStream(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), eventStream) {
			return true
		}
	}
	return false
}

var (
	quoted = regexp.MustCompile(`“[^”]*”`)
	// word is what a person mistypes where a word or a name is wanted, such as
	// message.recieved or Our Provider!; a generated secret does not look so.
	word = regexp.MustCompile(`^[A-Z]?[a-z_-]{1,20}([ .]([A-Z]?[a-z_-]{1,20}|\*)){0,3}[!?.,]?$`)
	// place is a URL that holds words alone behind its host: nothing in it is
	// generated, as the path of a webhook may be.
	place = regexp.MustCompile(`^[A-Za-z]{2,8}://(([a-z][a-z-]{0,30}\.)*[a-z][a-z-]{0,20}|[0-9]{1,3}(\.[0-9]{1,3}){3})(:[0-9]{1,5})?(/[a-z_-]{1,20}|/v[0-9]{1,2}){0,4}/?$`)
)

// harmless reports whether a text may come back in a refusal.
func harmless(s string) bool { return word.MatchString(s) || place.MatchString(s) }

// withoutValues takes out of a refusal's words what the caller's own document
// said. A client secret pasted into the wrong field must not come back: answers
// are logged and shown where requests are not. The field is named beside it.
func withoutValues(err error, body reflect.Value) error {
	if !body.IsValid() {
		return err
	}
	said := stringsOf(body, nil)
	if named, ok := body.Interface().(interface{ names() []string }); ok {
		names := named.names()
		said = slices.DeleteFunc(said, func(s string) bool { return slices.Contains(names, s) })
	}
	var clean []error
	for _, f := range fault.All(err) {
		if f.Kind == fault.Invalid {
			f = withoutWords(f, said)
		}
		clean = append(clean, f)
	}
	return errors.Join(clean...)
}

func withoutWords(f *fault.Error, said []string) *fault.Error {
	clean := *f
	unquote := func(text string) string {
		return quoted.ReplaceAllStringFunc(text, func(q string) string {
			inner := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(q, "“"), "”"), "…")
			for _, s := range said {
				if inner != "" && !harmless(inner) && strings.HasPrefix(strings.ToLower(fault.Shorten(s, len(s))), strings.ToLower(inner)) {
					return "“…”"
				}
			}
			return q
		})
	}
	scrub := func(text string) string {
		for _, s := range said {
			// An address is no secret, and words such as authorization_code are our own.
			if len(s) >= 8 && !strings.Contains(s, "@") && !harmless(s) {
				text = replaceWhole(text, s, "…")
			}
		}
		return text
	}
	clean.Text, clean.Remedy = scrub(unquote(f.Text)), scrub(f.Remedy)
	return &clean
}

// replaceWhole replaces s where it is not the domain of an address.
func replaceWhole(text, s, with string) string {
	var b strings.Builder
	for {
		at := strings.Index(text, s)
		if at < 0 {
			return b.String() + text
		}
		b.WriteString(text[:at])
		if at > 0 && text[at-1] == '@' {
			b.WriteString(s)
		} else {
			b.WriteString(with)
		}
		text = text[at+len(s):]
	}
}

// stringsOf gives every text in a document.
func stringsOf(v reflect.Value, out []string) []string {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 {
			out = append(out, v.String())
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			out = stringsOf(v.Elem(), out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out = stringsOf(v.Field(i), out)
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return out
		}
		for i := range v.Len() {
			out = stringsOf(v.Index(i), out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			out = stringsOf(it.Value(), out)
		}
	}
	return out
}

// bodyOf is the document of an operation's input; the zero Value where it has none.
func bodyOf(in any) reflect.Value {
	return reflect.ValueOf(in).Elem().FieldByName("Body")
}

// produces says what a streamed answer is.
func produces[T any](a *API, media ...string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		content := map[string]*huma.MediaType{}
		for _, m := range media {
			content[m] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
		}
		if len(media) == 0 || media[0] == eventStream {
			content["application/json"] = &huma.MediaType{Schema: a.huma.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, "")}
		}
		if op.Responses == nil {
			op.Responses = map[string]*huma.Response{}
		}
		op.Responses["200"] = &huma.Response{Description: "OK", Content: content}
	}
}
