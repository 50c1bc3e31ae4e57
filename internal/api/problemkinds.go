package api

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// problemList is every fault that the source names, as internal/arch found them;
// “make generate” writes it.
//
//go:embed problems.json
var problemList []byte

// ProblemKind is a sort of refusal: its stable name, and what it means.
type ProblemKind struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"` // of fault
	Text   string `json:"text"` // … stands for what differs
	Remedy string `json:"remedy"`

	Status int    `json:"-"`
	Title  string `json:"-"`
}

// Type is the problem document's type.
func (k ProblemKind) Type() string { return typePrefix + k.ID }

// ProblemKinds lists them all, in the order of their names.
func ProblemKinds() ([]ProblemKind, error) {
	var all []ProblemKind
	if err := json.Unmarshal(problemList, &all); err != nil {
		return nil, fmt.Errorf("read the list of problems: %w", err)
	}
	return Describe(all), nil
}

// Describe gives each its status and title, and adds those that the door itself
// refuses with.
func Describe(faults []ProblemKind) []ProblemKind {
	all, wide := doorProblems(), wideProblems()
	known := map[string]bool{}
	for _, k := range all {
		known[k.ID] = true
	}
	faults = slices.Clone(faults)
	for id, k := range wide { // those whose names are put together when they are met
		if !slices.ContainsFunc(faults, func(f ProblemKind) bool { return f.ID == id }) && k.Kind != atStart {
			k.ID = id
			faults = append(faults, k)
		}
	}
	for _, k := range faults {
		if known[k.ID] {
			continue
		}
		if b, ok := wide[k.ID]; ok {
			k.Kind, k.Text, k.Remedy = cmp.Or(b.Kind, k.Kind), cmp.Or(b.Text, k.Text), cmp.Or(b.Remedy, k.Remedy)
		}
		if k.Kind == atStart {
			continue
		}
		for kind := fault.Internal; kind <= fault.Dead; kind++ {
			if kind.String() == k.Kind {
				k.Status, k.Title = kindStatus(kind)
			}
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b ProblemKind) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// doorProblems are the refusals of requests that come to no operation, or not
// whole. Their statuses are HTTP's own.
func doorProblems() []ProblemKind {
	const rules = "See /openapi.json for what is allowed."
	return []ProblemKind{
		{ID: "api.invalid_request", Status: http.StatusUnprocessableEntity, Title: "The request breaks a rule", Text: "The request does not have the form that this operation takes; field and errors say where. A body that is no JSON at all is refused with 400.", Remedy: rules},
		{ID: "api.too_large", Status: http.StatusRequestEntityTooLarge, Title: "The request is too large", Text: "The request's body is larger than this operation takes.", Remedy: rules},
		{ID: "api.media_type", Status: http.StatusUnsupportedMediaType, Title: "Media type not supported", Text: "The body is of a kind that this operation does not take.", Remedy: "Set Content-Type to one that the operation takes; see /openapi.json."},
		{ID: "api.too_slow", Status: http.StatusRequestTimeout, Title: "The request came too slowly", Text: "The request's body did not arrive in time.", Remedy: "Send it again, in one piece."},
		{ID: "api.unreadable", Status: http.StatusBadRequest, Title: "The request cannot be read", Text: "The path, the query or a header field holds what is not UTF-8, or a control character. One that is too long is refused with 414.", Remedy: "Write paths and queries as UTF-8, percent-encoded (RFC 3986), without control characters."},
		{ID: "api.method", Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Text: "This path does not take this method.", Remedy: "Use one of those in the Allow header; see /openapi.json."},
		{ID: "internal", Status: http.StatusInternalServerError, Title: "Something went wrong inside Mailgrant", Text: "Something went wrong inside Mailgrant.", Remedy: "Look at the server's log for the cause."},
		{ID: "app.other_host", Status: http.StatusMisdirectedRequest, Title: "Another server's name", Text: "This server does not go by the name in the Host header.", Remedy: "Its names are set by public_url and hosts: call it by one of those, or add this one to hosts."},
	}
}

// atStart marks a fault that ends the server before anybody can call it.
const atStart = "at start"

// wideProblems are names that stand for several sentences, or whose sentence is
// made elsewhere: what they have in common. A Kind here is the one that callers
// meet, where the source gives several.
func wideProblems() map[string]ProblemKind {
	field := func(of string) ProblemKind {
		return ProblemKind{Text: "A field of the " + of + " breaks a rule; field says which.", Remedy: "Write it as the remedy of the document says."}
	}
	return map[string]ProblemKind{
		"access.api_key_field":            field("app"),
		"access.forbidden":                {Text: "The API key lacks the right that this needs, has it at other mailboxes only, or may not be used from this address.", Remedy: "Use another key, or have an operator give it the right."},
		"broker.setting":                  {Kind: atStart},
		"connect.wrong_person":            {Text: "Another person signed in than the one whom the mailbox expects. Nothing was stored.", Remedy: "Sign out at the provider and open the link again, or open it on another device."},
		"event.unknown_kind":              {Remedy: "See /docs#events for the kinds; a family is written as submission.*, everything as *."},
		"grant.quarantined":               {Text: "The authorisation waits in quarantine, because the mailbox could not be opened yet.", Remedy: "It is tried again by itself for a day; the remedy of the document says whether somebody has to act."},
		"grant.dead":                      {Kind: "dead", Text: "The authorization server no longer honours the grant.", Remedy: "Send the mailbox owner an authorization link."},
		"grant.revoked":                   {Kind: "dead", Text: "The grant was ended by an operator.", Remedy: "Send the mailbox owner an authorization link."},
		"grant.suspended":                 {Kind: "dead", Text: "The grant is suspended: the mailbox or its provider was changed after it was given.", Remedy: "Send the mailbox owner an authorization link."},
		"imap.greeting":                   {Kind: "temporary", Text: "The mail server did not greet as IMAP servers do.", Remedy: "See whether host, port and tls are right."},
		"pop3.greeting":                   {Kind: "temporary", Text: "The mail server did not greet as POP3 servers do.", Remedy: "See whether host, port and tls are right."},
		"smtp.greeting":                   {Kind: "temporary", Text: "The mail server did not greet as SMTP servers do.", Remedy: "See whether host, port and tls are right."},
		"oauth.interaction_required":      {Kind: "refused", Text: "The authorization server could not finish without asking the person something.", Remedy: "Open the link again and answer what is asked."},
		"oauth.login_required":            {Kind: "refused", Text: "The authorization server could not finish without asking the person to sign in.", Remedy: "Open the link again and sign in."},
		"oauth.invalid_request":           {Kind: "refused", Text: "The authorization server refused the request as not well formed.", Remedy: "Check the provider's endpoints and client type."},
		"oauth.invalid_token":             {Kind: "refused", Text: "The authorization server does not accept the access token.", Remedy: "Check the provider's endpoints."},
		"oauth.unsupported_grant_type":    {Kind: "refused", Text: "The authorization server does not offer this grant type.", Remedy: "Have the app registration allow it."},
		"oauth.unsupported_response_type": {Kind: "refused", Text: "The authorization server does not offer authorization codes to this client.", Remedy: "Have the app registration allow the authorization code grant."},
		"graph.refused":                   {Text: "Graph refused."},
		"net.forbidden_address":           {Remedy: "Where it is meant, allow the network with webhooks.allow_networks in the server's own file."},
		"graph.unavailable":               {Text: "Graph does not answer now.", Remedy: "Nothing has to be done; the request is repeated."},
		"mailbox.field":                   field("mailbox"),
		"mailbox.unknown":                 {Text: "There is no such mailbox.", Remedy: "See the list of mailboxes for their addresses."},
		"message.invalid":                 {Text: "The message breaks a rule of RFC 5322, or names nobody to send to; field says where.", Remedy: "Write it as the remedy of the document says."},
		"net.tls_port":                    {Kind: "refused", Remedy: "Set tls to implicit, or use the port for STARTTLS."},
		"oauth.bad_response":              {Kind: "refused", Text: "The authorization server's answer is not what OAuth asks for.", Remedy: "See whether the endpoints of the provider are right."},
		"oauth.consent_required":          {Text: "The provider asks for a consent that was not given: the owner's, or an administrator's.", Remedy: "Have it given, as the document says, and authorise the mailbox again."},
		"oauth.invalid_grant":             {Text: "The authorization server no longer honours the grant: it was revoked, has ended, or a rule of the organisation ends it.", Remedy: "Send the mailbox owner an authorization link."},
		"oauth.rate_limited":              {Kind: "temporary", Remedy: "Nothing has to be done; the request is repeated later."},
		"oauth.unknown_tenant":            {Kind: "refused", Remedy: "Correct the tenant of the provider."},
		"oauth.wrong_issuer":              {Text: "The authorization server calls itself by another issuer than the provider's.", Remedy: "Correct the provider's issuer or tenant."},
		"protocol.endpoint":               {Text: "The host, port or TLS mode of a mail server breaks a rule; field says which.", Remedy: "Write it as the remedy of the document says."},
		"provider.field":                  field("provider"),
		"provider.invalid":                field("provider"),
		"provider.profile":                field("provider's profile"),
		"provider.secret_needed":          {Text: "The change asks for the client secret again: it was sealed for another issuer, client or token endpoint.", Remedy: "Give the client secret in client_secrets."},
		"provider.unknown":                {Kind: "not_found"},
		"seal.key_file":                   {Kind: atStart},
		"store.damaged":                   {Kind: atStart},
		"store.file":                      {Kind: atStart},
		"store.newer_schema":              {Kind: atStart},
		"store.no_snapshot":               {Kind: atStart},
		"store.not_durable":               {Kind: atStart},
		"store.unavailable":               {Text: "The database cannot be reached or written now.", Remedy: "Mailgrant tries again by itself and resumes when the database answers; nothing that it acknowledged is lost."},
		"store.url":                       {Kind: atStart},
		"submission.cancelled":            {Kind: "conflict"},
		"submission.expired":              {Kind: "conflict"},
		"submission.invalid":              {Text: "The submission breaks a rule: who sends, with which mailbox; field says which.", Remedy: "Write it as the remedy of the document says."},
		"webhook.field":                   field("webhook"),
		"work.later":                      {Kind: "conflict", Text: "It is not due yet, or is under way.", Remedy: "Wait until it is."},
		"work.none":                       {Kind: "not_found", Text: "There is nothing to do: it is done, or gone.", Remedy: "See where it stands."},
	}
}

// doorProblem is the one for a status of the framework's.
func doorProblem(status int, detail string) *Problem {
	all := doorProblems()
	k := all[0]
	if i := slices.IndexFunc(all, func(k ProblemKind) bool { return k.Status == status }); i >= 0 && status != http.StatusBadRequest {
		k = all[i]
	}
	if k.ID != "api.invalid_request" {
		detail = k.Text
	}
	return &Problem{Type: k.Type(), Title: k.Title, Status: status, Detail: detail, Remedy: k.Remedy}
}

// ProblemsPage is docs/problems.md.
func ProblemsPage(kinds []ProblemKind) string {
	var b strings.Builder
	b.WriteString(`# Problems

A refusal of the API is a problem document (RFC 9457). Its ` + "`type`" + ` is ` + "`" + typePrefix + "`" + ` and one of the names below. The names are stable: programs may hold on
to them. What a person reads is in ` + "`detail`" + ` and ` + "`remedy`" + `; where a name stands here with “…”, the document says what. The same names are the cause of an
event, of a submission and of a rung of the ladder. A server lists them at ` + "`/docs#problems`" + `.

Made from the source by ` + "`make generate`" + `; do not edit.

`)
	b.WriteString("| name | status | title | what it means | what to do |\n|---|---|---|---|---|\n")
	cell := func(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`) }
	for _, k := range kinds {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", k.ID, k.Status, cell(k.Title), cell(k.Text), cell(k.Remedy))
	}
	return b.String()
}
