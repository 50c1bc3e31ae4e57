package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/idempotency"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
)

// Submission is a message handed over for sending.
type Submission struct {
	ID                 string           `json:"id"`
	Mailbox            string           `json:"mailbox"`
	State              string           `json:"state" enum:"queued,sending,sent,failed,expired"`
	PossiblyDuplicated bool             `json:"possibly_duplicated,omitempty"`
	MessageID          string           `json:"message_id"`
	Subject            string           `json:"subject,omitempty"`
	Envelope           message.Envelope `json:"envelope"`
	Size               int64            `json:"size"`
	Attempts           int              `json:"attempts"`
	CreatedAt          time.Time        `json:"created_at"`
	NextAttemptAt      time.Time        `json:"next_attempt_at,omitzero"`
	ExpiresAt          time.Time        `json:"expires_at"`
	SettledAt          time.Time        `json:"settled_at,omitzero"`
	Reply              string           `json:"reply,omitempty"`
	Cause              string           `json:"cause,omitempty"`
	Text               string           `json:"text,omitempty"`
	Remedy             string           `json:"remedy,omitempty"`
}

func submissionOut(s outbox.Submission) Submission {
	out := Submission{
		ID: s.ID, Mailbox: s.Mailbox, State: string(s.State), PossiblyDuplicated: s.PossiblyDuplicated, MessageID: s.MessageID,
		Subject: s.Subject, Envelope: s.Envelope, Size: s.Size, Attempts: s.Attempts, CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt,
		SettledAt: s.SettledAt, Reply: s.Reply, Cause: s.Cause, Text: s.CauseText, Remedy: s.Remedy,
	}
	if s.State == outbox.Queued {
		out.NextAttemptAt = s.NextAttemptAt
	}
	return out
}

// SubmissionRequest is a message as fields.
type SubmissionRequest struct {
	Mailbox string `json:"mailbox,omitempty" doc:"The mailbox to send with; default: the one of from."`
	message.Draft
}

// SubmitInput is a submission as it comes in, as JSON or as a whole message.
type SubmitInput struct {
	ContentType string `header:"Content-Type"`
	// IdempotencyKey is kept by the outbox until the submission's retention ends. The
	// framework reads it into the input; package api describes it.
	IdempotencyKey string `header:"Idempotency-Key" hidden:"true"`
	Mailbox        string `query:"mailbox" doc:"With message/rfc822: the mailbox to send with; default: the one of the From field."`
	RawBody        []byte
}

// MessageQuery selects messages.
type MessageQuery struct {
	Paging
	Mailbox string `query:"mailbox"`
}

// ByID is the path of what has an id.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) mail() {
	const in, out = "Messages", "Submissions"
	register(a, "list-messages", http.MethodGet, "/v1/messages", "Received messages, newest first", in, a.listMessages)
	register(a, "get-message", http.MethodGet, "/v1/messages/{id}", "A received message", in, func(ctx context.Context, p *ByID) (*Out[fetch.Message], error) {
		m, err := a.message(ctx, p.ID)
		return &Out[fetch.Message]{m}, err
	})
	register(a, "get-message-raw", http.MethodGet, "/v1/messages/{id}/raw", "The message as it arrived (message/rfc822)", in, a.rawMessage, produces[string](a, "message/rfc822"))
	register(a, "get-attachment", http.MethodGet, "/v1/messages/{id}/attachments/{n}", "One attachment, decoded", in, a.attachment, produces[string](a, "*/*"))
	register(a, "create-submission", http.MethodPost, "/v1/submissions", "Hand over a message for sending: JSON or message/rfc822", out, a.submit, answers(http.StatusAccepted), func(o *huma.Operation) {
		o.MaxBodyBytes = maxMessage
		o.BodyReadTimeout = 5 * time.Minute
		schema := huma.SchemaFromType(a.huma.OpenAPI().Components.Schemas, typeOf[SubmissionRequest]())
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema},
			"message/rfc822":   {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}}
		o.SkipValidateBody = true
	})
	register(a, "list-submissions", http.MethodGet, "/v1/submissions", "Submissions, newest first", out, a.listSubmissions)
	register(a, "get-submission", http.MethodGet, "/v1/submissions/{id}", "Where a submission stands", out, func(ctx context.Context, p *ByID) (*Out[Submission], error) {
		c := caller(ctx)
		if err := c.Allows(access.Send, ""); err != nil && c.Allows(access.Read, "") != nil {
			return nil, err
		}
		s, err := a.Reads.Submission(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		if c.Allows(access.Read, s.Mailbox) != nil && c.Allows(access.Send, s.Mailbox) != nil {
			return nil, elsewhere("submission.unknown", "submission")
		}
		return &Out[Submission]{submissionOut(s)}, nil
	})
}

func (a *API) listMessages(ctx context.Context, q *MessageQuery) (*Out[Page[fetch.Message]], error) {
	ids, err := a.readable(ctx, q.Mailbox)
	if err != nil {
		return nil, err
	}
	ms, err := a.Reads.Messages(ctx, fetch.Filter{MailboxIDs: ids, Before: q.Cursor, Limit: q.limit() + 1})
	page := Page[fetch.Message]{Items: ms}
	if page.Items == nil {
		page.Items = []fetch.Message{}
	}
	if len(ms) > q.limit() {
		page.Items = ms[:q.limit()]
		page.Next = ms[q.limit()-1].ID
	}
	return &Out[Page[fetch.Message]]{page}, err
}

func (a *API) listSubmissions(ctx context.Context, q *MessageQuery) (*Out[Page[Submission]], error) {
	// Whoever may send may see what became of it.
	right := access.Read
	if caller(ctx).Allows(access.Read, "") != nil && caller(ctx).Allows(access.Send, "") == nil {
		right = access.Send
	}
	ids, err := a.visible(ctx, q.Mailbox, right)
	if err != nil {
		return nil, err
	}
	ss, err := a.Reads.Submissions(ctx, outbox.Filter{MailboxIDs: ids, Before: q.Cursor, Limit: q.limit() + 1})
	page := Page[Submission]{Items: []Submission{}}
	for _, s := range ss[:min(len(ss), q.limit())] {
		page.Items = append(page.Items, submissionOut(s))
	}
	if len(ss) > q.limit() {
		page.Next = ss[q.limit()-1].ID
	}
	return &Out[Page[Submission]]{page}, err
}

// message gives a message that the caller may read.
func (a *API) message(ctx context.Context, id string) (fetch.Message, error) {
	if err := caller(ctx).Allows(access.Read, ""); err != nil {
		return fetch.Message{}, err
	}
	m, err := a.Reads.Message(ctx, id)
	if err != nil {
		return fetch.Message{}, err
	}
	if caller(ctx).Allows(access.Read, m.Mailbox) != nil {
		return fetch.Message{}, elsewhere("message.unknown", "message")
	}
	return m, nil
}

// elsewhere refuses what belongs to a mailbox that the caller knows nothing of
// in the words for what is not there: neither is told.
func elsewhere(id, what string) error {
	return &fault.Error{
		ID: id, Kind: fault.NotFound, Who: []fault.Who{fault.Operator}, Text: "There is no such " + what + ", or its retention has ended.",
		Remedy: "See the list of " + what + "s for their IDs.",
	}
}

func (a *API) raw(ctx context.Context, id string) ([]byte, error) {
	if _, err := a.message(ctx, id); err != nil {
		return nil, err
	}
	r, err := a.Reads.MessageRaw(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, 2*maxMessage))
}

func (a *API) rawMessage(ctx context.Context, p *ByID) (*huma.StreamResponse, error) {
	raw, err := a.raw(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	return download("message/rfc822", p.ID+".eml", raw), nil
}

func (a *API) attachment(ctx context.Context, p *struct {
	ByID
	N int `path:"n" minimum:"0" maximum:"10000"`
},
) (*huma.StreamResponse, error) {
	raw, err := a.raw(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	part, body, err := message.Attachment(raw, p.N)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(body, 2*maxMessage))
	if err != nil {
		return nil, &fault.Error{ID: "message.attachment", Kind: fault.Refused, Text: "The attachment cannot be decoded.", Remedy: "Take the raw message.", Err: err}
	}
	return download(part.ContentType, part.Filename, content), nil
}

// download gives foreign bytes as a file: never rendered by a browser.
func download(contentType, name string, b []byte) *huma.StreamResponse {
	if _, _, err := mime.ParseMediaType(contentType); err != nil {
		contentType = "application/octet-stream"
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": name})
	if name == "" || disposition == "" {
		disposition = "attachment"
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", contentType)
		c.SetHeader("Content-Disposition", disposition)
		c.SetHeader("Content-Security-Policy", "default-src 'none'; sandbox")
		_, _ = c.BodyWriter().Write(b)
	}}
}

func (a *API) submit(ctx context.Context, in *SubmitInput) (*Out[Submission], error) {
	media, _, err := mime.ParseMediaType(in.ContentType)
	if err != nil && in.ContentType != "" {
		media = ""
	}
	if c, ok := ctx.Value(onceKey{}).(onceCall); ok && c.given {
		if err := idempotency.CheckKey(in.IdempotencyKey); err != nil {
			return nil, err
		}
	}
	r := outbox.Request{Mailbox: in.Mailbox, IdempotencyKey: in.IdempotencyKey, Caller: callerName(ctx), Actor: caller(ctx).Actor}
	switch media {
	case "message/rfc822":
		r.Raw = in.RawBody
	case "application/json":
		var s SubmissionRequest
		d := json.NewDecoder(strings.NewReader(string(in.RawBody)))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, badJSON(err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, badJSON(errors.New("more follows"))
		}
		r.Draft = &s.Draft
		if s.Mailbox != "" {
			r.Mailbox = s.Mailbox
		}
	default:
		return nil, &fault.Error{
			ID: "api.media_type", Kind: fault.Invalid, Field: "Content-Type", Who: []fault.Who{fault.Operator},
			Text: "A submission is application/json or message/rfc822.", Remedy: "Set Content-Type to one of these.",
		}
	}
	r.May = func(address string) error { return caller(ctx).Allows(access.Send, address) }
	s, replayed, err := a.Outbox.Submit(ctx, r)
	if err != nil {
		return nil, withoutValues(fault.Of(err), reflect.ValueOf(SubmissionRequest{Mailbox: r.Mailbox, Draft: draftOf(r)}))
	}
	if replayed {
		markReplayed(ctx)
	}
	return &Out[Submission]{submissionOut(s)}, nil
}

// draftOf is the message as fields, where it came as such.
func draftOf(r outbox.Request) message.Draft {
	if r.Draft == nil {
		return message.Draft{}
	}
	return *r.Draft
}

// callerName is the scope of idempotency keys.
func callerName(ctx context.Context) string {
	c := caller(ctx)
	return string(c.Actor.Kind) + ":" + c.Actor.Name
}

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
