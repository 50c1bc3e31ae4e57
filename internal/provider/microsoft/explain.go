package microsoft

import (
	"fmt"
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

// translate puts the catalogue's words on a fault. Kind and Retry stay as the
// OAuth error decided: numbers explain, they do not steer.
func translate(f *fault.Error, answer *oauth.Error, r provider.Record) {
	for _, code := range answer.ErrorCodes {
		known, ok := Lookup(code)
		if !ok {
			continue
		}
		fill := strings.NewReplacer("{client_id}", or(answer.ClientID, "this app"), "{tenant}", or(r.Tenant, "this tenant"), "{provider}", or(r.Name, "this provider"))
		f.Text, f.Remedy, f.Who, f.Field = fill.Replace(known.Cause), fill.Replace(known.Remedy), known.Who, known.Field
		f.Detail.Subcode = fmt.Sprintf("AADSTS%d", code)
		return
	}
	if len(answer.ErrorCodes) > 0 {
		f.Detail.Subcode = fmt.Sprintf("AADSTS%d", answer.ErrorCodes[0])
		f.Remedy += " Microsoft's own page on this number: " + Link(answer.ErrorCodes[0])
	}
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}
