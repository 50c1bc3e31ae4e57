package microsoft

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Failure is one line of the catalogue: what an AADSTS number means to
// somebody who connects a mailbox.
type Failure struct {
	Codes  []int
	Class  Class
	Cause  string // a sentence; {client_id}, {tenant} and {provider} are filled in
	Who    []fault.Who
	Remedy string
	Field  string // the setting at fault, where it is one
	// Retry says that waiting helps.
	Retry bool
}

// Class sorts failures by what they are about.
type Class string

// The classes.
const (
	ClassAuthorize Class = "authorize"     // a person has to authorise again
	ClassConfigure Class = "configuration" // app, tenant or our record
	ClassPolicy    Class = "policy"        // the tenant forbids it
	ClassTransient Class = "transient"     // passes by itself
	ClassUser      Class = "user"          // state of the user's account
)

// Lookup finds a number in the catalogue.
func Lookup(code int) (Failure, bool) {
	for _, f := range Catalogue() {
		for _, c := range f.Codes {
			if c == code {
				return f, true
			}
		}
	}
	return Failure{}, false
}

// Catalogue lists every failure that is known by number, as data.
func Catalogue() []Failure {
	return append(append(append(userFailures(), appFailures()...), tenantFailures()...), protocolFailures()...)
}

// Link is where Microsoft explains a number itself.
func Link(code int) string {
	return fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", code)
}

// numbers gives the AADSTS numbers of an answer: from error_codes, or, on legs
// that have no such field, from the description ("AADSTS50011: …").
func numbers(answer *oauth.Error) []int {
	if len(answer.ErrorCodes) > 0 {
		return answer.ErrorCodes
	}
	var out []int
	for _, m := range regexp.MustCompile(`\bAADSTS(\d{4,9})\b`).FindAllStringSubmatch(answer.Description, 5) {
		n, err := strconv.Atoi(m[1])
		if err == nil {
			out = append(out, n)
		}
	}
	return out
}

// ids fills in what support asks for, from the description where no field of
// the answer had it ("Trace ID: … Correlation ID: … Timestamp: …").
func ids(d *fault.Detail, description string) {
	const guid = `([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})`
	for pattern, to := range map[string]*string{
		`Trace ID: ` + guid: &d.TraceID, `Correlation ID: ` + guid: &d.CorrelationID,
		`Timestamp: (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ)`: &d.Timestamp,
	} {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(description); m != nil && *to == "" {
			*to = m[1]
		}
	}
}

// translate puts the catalogue's words on a fault. Kind and Retry stay as the
// OAuth error decided: numbers explain, they do not steer.
func translate(f *fault.Error, answer *oauth.Error, r provider.Record) {
	ids(&f.Detail, answer.Description)
	codes := numbers(answer)
	for _, code := range codes {
		known, ok := Lookup(code)
		if !ok {
			continue
		}
		fill := strings.NewReplacer("{client_id}", or(answer.ClientID, "this app"), "{tenant}", or(r.Tenant, "this tenant"), "{provider}", or(r.Name, "this provider"))
		f.Text, f.Remedy, f.Who, f.Field = fill.Replace(known.Cause), fill.Replace(known.Remedy), known.Who, known.Field
		f.Detail.Subcode = fmt.Sprintf("AADSTS%d", code)
		return
	}
	if len(codes) > 0 {
		f.Detail.Subcode = fmt.Sprintf("AADSTS%d", codes[0])
		f.Remedy += " Microsoft's own page on this number: " + Link(codes[0])
	}
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}
