package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/message"
)

// MessageQuery selects messages.
type MessageQuery struct {
	Paging
	Mailbox string    `query:"mailbox"`
	Text    string    `query:"text" maxLength:"200" doc:"Only those with this text in what lists show of them, in capitals or not."`
	Since   time.Time `query:"since" doc:"Only those of this moment and later."`
	Until   time.Time `query:"until" doc:"Only those of before this moment."`
}

// ByID is the path of what has an id.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) mail() {
	const in = "Messages"
	register(a, "list-messages", http.MethodGet, "/v1/messages", "Received messages, newest first", in, a.listMessages)
	register(a, "get-message", http.MethodGet, "/v1/messages/{id}", "A received message", in, func(ctx context.Context, p *ByID) (*Out[fetch.Message], error) {
		m, err := a.message(ctx, p.ID)
		return &Out[fetch.Message]{m}, err
	})
	register(a, "get-message-raw", http.MethodGet, "/v1/messages/{id}/raw", "The message as it arrived (message/rfc822)", in, a.rawMessage, produces[string](a, "message/rfc822"))
	register(a, "get-attachment", http.MethodGet, "/v1/messages/{id}/attachments/{n}", "One attachment, decoded", in, a.attachment, produces[string](a, "*/*"))
}

func (a *API) listMessages(ctx context.Context, q *MessageQuery) (*Out[Page[fetch.Message]], error) {
	ids, err := a.readable(ctx, q.Mailbox)
	if err != nil {
		return nil, err
	}
	found, err := a.Reads.Messages(ctx, fetch.Filter{MailboxIDs: ids, Text: q.Text, Since: q.Since, Until: q.Until, Before: q.Cursor, Limit: q.limit(), Brief: true})
	page := Page[fetch.Message]{Items: found.Messages, Next: found.Next}
	if page.Items == nil {
		page.Items = []fetch.Message{}
	}
	return &Out[Page[fetch.Message]]{page}, err
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
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", contentType)
		c.SetHeader("Content-Disposition", message.Disposition(name))
		c.SetHeader("Content-Security-Policy", "default-src 'none'; sandbox")
		_, _ = c.BodyWriter().Write(b)
	}}
}
