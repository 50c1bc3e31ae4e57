package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
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
	ContentType string `header:"Content-Type" hidden:"true"`
	// IdempotencyKey is kept by the outbox until the submission's retention ends. The
	// framework reads it into the input; package api describes it.
	IdempotencyKey string `header:"Idempotency-Key" hidden:"true"`
	Mailbox        string `query:"mailbox" doc:"With message/rfc822: the mailbox to send with; default: the one of the From field."`
	RawBody        []byte
}

// SubmissionQuery selects submissions.
type SubmissionQuery struct {
	MessageQuery
	States []outbox.State `query:"state" enum:"queued,sending,sent,failed,expired" doc:"Only those in one of these states."`
}

func (a *API) submissions() {
	const out = "Submissions"
	register(a, "create-submission", http.MethodPost, "/v1/submissions", "Hand over a message for sending: JSON or message/rfc822", out, a.submit, creating(http.StatusAccepted), func(o *huma.Operation) {
		o.MaxBodyBytes = maxMessage
		o.BodyReadTimeout = 10 * a.BodyTime
		schema := a.huma.OpenAPI().Components.Schemas.Schema(typeOf[SubmissionRequest](), true, "")
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema},
			"message/rfc822":   {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}}
		o.SkipValidateBody = true
	})
	register(a, "list-submissions", http.MethodGet, "/v1/submissions", "Submissions, newest first", out, a.listSubmissions)
	register(a, "get-submission", http.MethodGet, "/v1/submissions/{id}", "Where a submission stands", out, func(ctx context.Context, p *ByID) (*Out[Submission], error) {
		s, err := a.submission(ctx, p.ID, access.Read, access.Send)
		return &Out[Submission]{submissionOut(s)}, err
	})
	register(a, "get-submission-raw", http.MethodGet, "/v1/submissions/{id}/raw", "The message as it is sent (message/rfc822)", out, a.rawSubmission, produces[string](a, "message/rfc822"))
	register(a, "retry-submission", http.MethodPost, "/v1/submissions/{id}/retry", "Try a waiting submission at once", out, func(ctx context.Context, p *ByID) (*Out[Submission], error) {
		return a.actOn(ctx, p.ID, a.Outbox.RetryNow)
	})
	register(a, "cancel-submission", http.MethodPost, "/v1/submissions/{id}/cancel", "Call off a waiting submission: it fails with the cause submission.cancelled", out, func(ctx context.Context, p *ByID) (*Out[Submission], error) {
		return a.actOn(ctx, p.ID, a.Outbox.Cancel)
	})
	register(a, "send-submission-again", http.MethodPost, "/v1/submissions/{id}/again", "Send a failed or expired submission again, as a new one", out, a.sendAgain, creating(http.StatusAccepted))
}

// submission gives one that the caller has one of these rights at.
func (a *API) submission(ctx context.Context, id string, rights ...access.Right) (outbox.Submission, error) {
	c := caller(ctx)
	may := func(address string) (err error) {
		for _, r := range rights {
			if err = c.Allows(r, address); err == nil {
				return nil
			}
		}
		return err
	}
	if err := may(""); err != nil {
		return outbox.Submission{}, err
	}
	s, err := a.Reads.Submission(ctx, id)
	if err == nil && may(s.Mailbox) != nil {
		return outbox.Submission{}, elsewhere("submission.unknown", "submission")
	}
	return s, err
}

// actOn does something to a submission of a caller who may send there.
func (a *API) actOn(ctx context.Context, id string, act func(context.Context, string, event.Actor) (outbox.Submission, error)) (*Out[Submission], error) {
	if _, err := a.submission(ctx, id, access.Send); err != nil {
		return nil, err
	}
	s, err := act(ctx, id, caller(ctx).Actor)
	return &Out[Submission]{submissionOut(s)}, err
}

func (a *API) sendAgain(ctx context.Context, in *struct {
	ByID
	// IdempotencyKey is kept by the outbox; see SubmitInput.
	IdempotencyKey string `header:"Idempotency-Key" hidden:"true"`
},
) (*Out[Submission], error) {
	if _, err := a.submission(ctx, in.ID, access.Send); err != nil {
		return nil, err
	}
	if err := checkKey(ctx, in.IdempotencyKey); err != nil {
		return nil, err
	}
	s, replayed, err := a.Outbox.SendAgain(ctx, outbox.Again{ID: in.ID, Actor: caller(ctx).Actor, Caller: callerName(ctx), IdempotencyKey: in.IdempotencyKey})
	if replayed {
		markReplayed(ctx)
	}
	return &Out[Submission]{submissionOut(s)}, err
}

// checkKey refuses an Idempotency-Key that is given and no good.
func checkKey(ctx context.Context, key string) error {
	if c, ok := ctx.Value(onceKey{}).(onceCall); ok && c.given {
		return idempotency.CheckKey(key)
	}
	return nil
}

func (a *API) rawSubmission(ctx context.Context, p *ByID) (*huma.StreamResponse, error) {
	if _, err := a.submission(ctx, p.ID, access.Read, access.Send); err != nil {
		return nil, err
	}
	r, err := a.Reads.Raw(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	raw, err := io.ReadAll(io.LimitReader(r, 2*maxMessage))
	if err != nil {
		return nil, err
	}
	return download("message/rfc822", p.ID+".eml", raw), nil
}

func (a *API) listSubmissions(ctx context.Context, q *SubmissionQuery) (*Out[Page[Submission]], error) {
	// Whoever may send may see what became of it.
	right := access.Read
	if caller(ctx).Allows(access.Read, "") != nil && caller(ctx).Allows(access.Send, "") == nil {
		right = access.Send
	}
	ids, err := a.visible(ctx, q.Mailbox, right)
	if err != nil {
		return nil, err
	}
	found, err := a.Reads.Submissions(ctx, outbox.Filter{
		MailboxIDs: ids, States: q.States, Text: q.Text, Since: q.Since, Until: q.Until, Before: q.Cursor, Limit: q.limit(),
	})
	page := Page[Submission]{Items: []Submission{}, Next: found.Next}
	for _, s := range found.Submissions {
		page.Items = append(page.Items, submissionOut(s))
	}
	return &Out[Page[Submission]]{page}, err
}

func (a *API) submit(ctx context.Context, in *SubmitInput) (*Out[Submission], error) {
	media, _, err := mime.ParseMediaType(in.ContentType)
	if err != nil && in.ContentType != "" {
		media = ""
	}
	if err := checkKey(ctx, in.IdempotencyKey); err != nil {
		return nil, err
	}
	r := outbox.Request{Mailbox: in.Mailbox, IdempotencyKey: in.IdempotencyKey, Caller: callerName(ctx), Actor: caller(ctx).Actor}
	switch media {
	case "message/rfc822":
		r.Raw = in.RawBody
	case "application/json":
		var s SubmissionRequest
		if err := decodeStrictly(in.RawBody, &s); err != nil {
			return nil, err
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
