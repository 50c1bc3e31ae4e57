package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Submission is a message handed over for sending. State is queued, sending,
// sent, failed or expired.
type Submission struct {
	ID                 string    `json:"id"`
	Mailbox            string    `json:"mailbox"`
	State              string    `json:"state"`
	PossiblyDuplicated bool      `json:"possibly_duplicated,omitempty"`
	MessageID          string    `json:"message_id"`
	Subject            string    `json:"subject,omitempty"`
	Envelope           Envelope  `json:"envelope"`
	Size               int64     `json:"size"`
	Attempts           int       `json:"attempts"`
	CreatedAt          time.Time `json:"created_at"`
	NextAttemptAt      time.Time `json:"next_attempt_at,omitzero"`
	ExpiresAt          time.Time `json:"expires_at"`
	SettledAt          time.Time `json:"settled_at,omitzero"`
	Reply              string    `json:"reply,omitempty"`
	Cause              string    `json:"cause,omitempty"`
	Text               string    `json:"text,omitempty"`
	Remedy             string    `json:"remedy,omitempty"`
}

// Settled reports whether nothing more will happen to the submission.
func (s Submission) Settled() bool {
	return s.State == "sent" || s.State == "failed" || s.State == "expired"
}

// Envelope is SMTP's: where bounces go, and where to.
type Envelope struct {
	ReversePath  string   `json:"reverse_path"`
	ForwardPaths []string `json:"forward_paths"`
}

// Draft is a message to send, as fields. Mailbox empty: the one of From.
type Draft struct {
	Mailbox     string            `json:"mailbox,omitempty"`
	From        Party             `json:"from"`
	To          []Party           `json:"to,omitempty"`
	CC          []Party           `json:"cc,omitempty"`
	BCC         []Party           `json:"bcc,omitempty"`
	ReplyTo     []Party           `json:"reply_to,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Text        string            `json:"text,omitempty"`
	HTML        string            `json:"html,omitempty"`
	InReplyTo   string            `json:"in_reply_to,omitempty"`
	References  []string          `json:"references,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"` // names begin with X-
	Attachments []Attachment      `json:"attachments,omitempty"`
}

// Attachment is a file to send along.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type,omitempty"`
	ContentID   string `json:"content_id,omitempty"`
	Content     []byte `json:"content"`
}

const submissionsPath = "/v1/submissions"

// Submit hands over a message. key makes it once only: a second call with the
// same key and message gives the first submission again. Empty: no such guard.
func (c *Client) Submit(ctx context.Context, key string, d Draft) (Submission, error) {
	return c.submit(ctx, key, call{body: d})
}

// SubmitRaw hands over a complete message (RFC 5322). mailbox empty: the one of
// its From field. For key see Submit.
func (c *Client) SubmitRaw(ctx context.Context, key, mailbox string, message []byte) (Submission, error) {
	in := call{raw: message, media: "message/rfc822"}
	if mailbox != "" {
		in.query = url.Values{"mailbox": {mailbox}}
	}
	return c.submit(ctx, key, in)
}

func (c *Client) submit(ctx context.Context, key string, in call) (Submission, error) {
	in.method, in.path = http.MethodPost, submissionsPath
	if key != "" {
		in.header = http.Header{"Idempotency-Key": {key}}
	}
	var s Submission
	return s, c.do(ctx, in, &s)
}

// Submissions lists submissions, newest first.
func (c *Client) Submissions(ctx context.Context, f MailFilter) iter.Seq2[Submission, error] {
	return list[Submission](ctx, c, submissionsPath, f.query(), f.PageSize)
}

// Submission gives one submission.
func (c *Client) Submission(ctx context.Context, id string) (Submission, error) {
	return get[Submission](ctx, c, one(submissionsPath+"/", id, ""))
}

// RawSubmission copies the message of a submission to w as it is sent. Nothing is
// written when the server refuses.
func (c *Client) RawSubmission(ctx context.Context, id string, w io.Writer) error {
	return c.copy(ctx, one(submissionsPath+"/", id, "/raw"), w)
}

// RetrySubmission makes a waiting submission due at once.
func (c *Client) RetrySubmission(ctx context.Context, id string) (Submission, error) {
	return send[Submission](ctx, c, http.MethodPost, one(submissionsPath+"/", id, "/retry"), nil)
}

// CancelSubmission calls a waiting submission off: it fails with the cause
// submission.cancelled. One that is being sent cannot be called off.
func (c *Client) CancelSubmission(ctx context.Context, id string) (Submission, error) {
	return send[Submission](ctx, c, http.MethodPost, one(submissionsPath+"/", id, "/cancel"), nil)
}

// SendAgain sends a failed or expired submission again, as a new one. For key see
// Submit.
func (c *Client) SendAgain(ctx context.Context, key, id string) (Submission, error) {
	in := call{method: http.MethodPost, path: one(submissionsPath+"/", id, "/again")}
	if key != "" {
		in.header = http.Header{"Idempotency-Key": {key}}
	}
	var s Submission
	return s, c.do(ctx, in, &s)
}
