package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// introduction stands at the head of the description.
const introduction = "Connects applications to OAuth mailboxes: who may use which mailbox, access tokens, mail in and out, and why mail does not flow.\n\n" +
	"Every call carries an API key in the Authorization header. A refusal is a problem document (RFC 9457) that says what is wrong, who has to act and what to do; " +
	"its type is a stable name. Lists are read page by page with a cursor. A POST that creates something takes an Idempotency-Key and then happens once. " +
	"Addresses in paths are percent-encoded and compared without case."

// refusal is a status with which an operation may refuse.
type refusal struct {
	status int
	name   string // of the response in the description
	text   string
	may    func(op *huma.Operation) bool
}

// refusals lists every one, with the operations to which it applies: that follows
// from what an operation takes, so that it holds for one that is added later.
func refusals() []refusal {
	always := func(*huma.Operation) bool { return true }
	body := func(op *huma.Operation) bool { return op.RequestBody != nil || op.Method == http.MethodPut }
	changes := func(op *huma.Operation) bool { return op.Method != http.MethodGet }
	return []refusal{
		{http.StatusBadRequest, "BadRequest", "The request cannot be read: the path, the query or the body is not well formed.", always},
		{http.StatusUnauthorized, "Unauthorized", "No API key, or one that is not known, has ended or was mistyped (access.no_api_key, access.api_key_unknown, access.api_key_expired, access.api_key_form).", always},
		{http.StatusForbidden, "Forbidden", "The API key lacks the right, at this mailbox or at all, or may not be used from this address (access.forbidden). Whether the mailbox exists is not said.", always},
		{http.StatusNotFound, "NotFound", "There is no such thing, or none that this API key may know of.", func(op *huma.Operation) bool { return strings.Contains(op.Path, "{") || takesMailbox(op) }},
		{http.StatusRequestTimeout, "RequestTimeout", "The body came too slowly (api.too_slow).", body},
		{http.StatusConflict, "Conflict", "At odds with the present state: it exists already, is in use, changed meanwhile, or the mailbox has to be authorised again. With an Idempotency-Key: the first request is still under way (idempotency.running); Retry-After says when to ask again.", changes},
		{http.StatusRequestEntityTooLarge, "ContentTooLarge", "The body is larger than this operation takes (api.too_large).", body},
		{http.StatusRequestURITooLong, "URITooLong", "The path and the query are longer than 8 KiB (api.unreadable).", always},
		{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The body is of a kind that this operation does not take (api.media_type).", body},
		{http.StatusUnprocessableEntity, "UnprocessableContent", "The request breaks a rule; field and errors say which and where. With an Idempotency-Key: it was used for another request (idempotency.key_reused).", always},
		{http.StatusTooManyRequests, "TooManyRequests", "Too much at once, here or at the provider; Retry-After says when to ask again.", always},
		{http.StatusInternalServerError, "InternalServerError", "Something went wrong inside Mailgrant; its log says what.", always},
		{http.StatusBadGateway, "BadGateway", "The provider or the mail server refused for good; provider holds what it said of itself.", outside},
		{http.StatusServiceUnavailable, "ServiceUnavailable", "Not possible just now: the database, the provider or the mail server does not answer. The same request may succeed later.", always},
	}
}

// outside reports whether an operation asks a server elsewhere.
func outside(op *huma.Operation) bool {
	return op.Method == http.MethodPost || op.Method == http.MethodPut || strings.HasSuffix(op.Path, "/grant") || strings.Contains(op.Path, "/attachments/")
}

func takesMailbox(op *huma.Operation) bool {
	return strings.HasPrefix(op.Path, "/v1/messages") || strings.HasPrefix(op.Path, "/v1/submissions") || strings.HasPrefix(op.Path, "/v1/events") || op.Path == "/v1/inspect" ||
		strings.HasPrefix(op.Path, "/v1/mailboxes") || strings.HasPrefix(op.Path, "/v1/webhooks")
}

// describeRefusals says how each operation may refuse. They are written down
// once and referred to.
func (a *API) describeRefusals() {
	open := a.huma.OpenAPI()
	schema := open.Components.Schemas.Schema(typeOf[Problem](), true, "Problem")
	content := map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}
	open.Components.Responses = map[string]*huma.Response{"Problem": {Description: "Any other refusal: what is wrong, who acts, what to do.", Content: content}}
	for _, r := range refusals() {
		response := &huma.Response{Description: r.text, Content: content, Headers: map[string]*huma.Param{}}
		switch r.status {
		case http.StatusUnauthorized, http.StatusForbidden:
			response.Headers["WWW-Authenticate"] = &huma.Header{Description: "RFC 6750, section 3.", Schema: &huma.Schema{Type: "string"}}
		case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			response.Headers["Retry-After"] = &huma.Header{Description: "Seconds to wait, where a wait is known.", Schema: &huma.Schema{Type: "integer"}}
		}
		open.Components.Responses[r.name] = response
	}
	for _, path := range open.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete} {
			if op == nil {
				continue
			}
			op.Responses["default"] = &huma.Response{Ref: "#/components/responses/Problem"}
			for _, r := range refusals() {
				if r.may(op) {
					op.Responses[strconv.Itoa(r.status)] = &huma.Response{Ref: "#/components/responses/" + r.name}
				}
			}
		}
	}
}

// strings of a list in code.
func texts[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// words are the members that hold one word out of a list, and the list. A member
// of any schema is "*.name".
func (a *API) words() map[string][]string {
	grants := texts(mailbox.GrantActive, mailbox.GrantSuspended, mailbox.GrantDead, mailbox.GrantRevoked)
	who := texts(fault.MailboxOwner, fault.AppOwner, fault.TenantAdmin, fault.MailAdmin, fault.Operator, fault.Provider, fault.Nobody)
	kinds := make([]string, 0, len(event.Kinds()))
	for _, k := range event.Kinds() {
		kinds = append(kinds, string(k.Kind))
	}
	return map[string][]string{
		"Event.kind":              kinds,
		"Payload.type":            kinds,
		"Actor.kind":              texts(event.ActorSystem, event.ActorOperator, event.ActorAPIKey, event.ActorLocal, event.ActorOwner),
		"*.who":                   who,
		"Report.who":              nil, // a sentence
		"App.may":                 texts(access.Read, access.Send, access.Token, access.Manage),
		"Grant.state":             append([]string{"none"}, grants...),
		"MailboxStatus.grant":     append([]string{"none"}, grants...),
		"*.verdict":               texts(mailbox.VerdictMatch, mailbox.VerdictAlias, mailbox.VerdictDelegate, mailbox.VerdictApp, mailbox.VerdictMismatch, mailbox.VerdictUnverifiable),
		"Submission.state":        texts(outbox.Queued, outbox.Sending, outbox.Sent, outbox.Failed, outbox.Expired),
		"LinkState.state":         texts(connect.LinkPending, connect.LinkGranted, connect.LinkRefused, connect.LinkExpired, connect.LinkCancelled),
		"Receive.protocol":        texts(protocol.Receivers()...),
		"Send.protocol":           texts(protocol.SMTP, protocol.Graph),
		"Send.fallback":           texts(protocol.SMTP, protocol.Graph),
		"Receive.mode":            {mailbox.ModePush, mailbox.ModePoll},
		"*.tls":                   texts(protocol.TLSImplicit, protocol.TLSStart, protocol.TLSNone),
		"Authorize.prompt":        texts(provider.PromptLogin, provider.PromptSelectAccount, provider.PromptOmit),
		"Token.resource":          {provider.ResourceMail, provider.ResourceGraph},
		"TokenRequest.resource":   {provider.ResourceMail, provider.ResourceGraph},
		"AccessTokenEnd.resource": {provider.ResourceMail, provider.ResourceGraph},
		"Provider.kind":           a.Connect.Providers.KindNames(),
		"Report.form":             texts(diagnose.FormJWT, diagnose.FormOpaque, diagnose.FormEncrypted),
		"Token.token_type":        {"Bearer"},
	}
}

// operationWords says more of an operation than its summary, where that is not
// obvious.
func operationWords() map[string]string {
	return map[string]string{
		"create-provider": "client_secrets are written and never read: an answer holds their ids and ends. Several are tried in order, so that a secret is rotated without an outage.",
		"put-provider":    "Left out, client_secrets stay as they are; given, they are the whole list. A change of the issuer, the client id or the endpoints asks for the client secrets again.",
		"verify-provider": "Reads the provider's metadata and proves the client secret at its token endpoint, as far as that is possible without a person. Answers 204 where it worked.",
		"create-mailbox":  "The mailbox is not connected yet: make an authorization link for its owner next. Hosts and ports are filled in where the provider knows them.",
		"put-mailbox":     "A change of address, host, provider or acts_as suspends the grant until it has been verified anew. With another address in the body the mailbox is renamed.",
		"create-authorization": "Send the link to whoever owns the mailbox: it opens anywhere, without a sign-in here. It is shown this once, is good for a few attempts, and is spent on success. " +
			"Nothing is stored unless the person who signs in is the one whom the mailbox expects.",
		"get-authorization": "Ask again until the state is no longer pending; last_attempt says how the last attempt ended. Or follow the events authorization.*.",
		"get-grant":         "A mailbox that was never authorised has the state none.",
		"lend-token": "Gives an access token that is good for at least min_ttl; it is renewed first where necessary. The right “token” implies every scope of the resource. " +
			"Refresh tokens and client secrets are never given.",
		"test-mailbox": "Climbs the ladder: settings, grant, name look-up, connection, TLS, sign-in, opened mailbox. Each rung says what was observed; the first that fails says why, who has to act, and how. " +
			"With Accept: text/event-stream each rung is sent as it is climbed (event: rung), then the whole (event: result). With send_to one real message is sent, which needs the right “send”.",
		"apply": "Everything is checked before anything is changed: one mistake refuses the whole document, and errors lists all of them. Then the resources are saved in order, " +
			"each over the version that was checked; what stops that midway says in changes what was done. The same document again changes nothing. " +
			"With Accept: text/event-stream each change is sent as it is made (event: change), then the whole (event: result), or what stopped it (event: problem).",
		"inspect-token": "Reads an access token, an ID token, an XOAUTH2 response or an answer of a token endpoint. Nothing is stored or logged; no signature is checked. With mailbox it is compared with what that mailbox needs.",
		"create-submission": "From here on the message is sent, fails, or expires, each with an event; it is accepted once per Idempotency-Key for as long as it is kept. A repetition is answered with where the submission stands by then. " +
			"As message/rfc822 the body is the complete message, and bcc recipients are taken from its Bcc field, which is removed.",
		"get-message-raw": "The bytes as the mail server gave them, as a download.",
		"get-attachment":  "n counts from 0, in the order in which the message lists its attachments.",
		"list-events": "With Accept: text/event-stream the answer does not end: each event is sent as it happens, with its id, its kind and the event as data. " +
			"A broken stream is taken up again with Last-Event-ID; the server speaks at least every 20 seconds.",
		"create-webhook":    "Without a secret one is made, and shown this once. Give families such as submission.*, or * for everything.",
		"create-app":        "The API key is in the answer, this once.",
		"create-setup-link": "Possible through the server's Unix socket only. The link is good for an hour and is shown this once.",
		"rotate-keys":       "Every stored secret is sealed anew under a fresh key. Nothing is interrupted.",
		"receive-event":     "Delivered at least once, and in order per webhook and mailbox. Answer 2xx quickly and work afterwards; anything else is repeated with back-off, and after a day put aside so that the rest goes on.",
	}
}
