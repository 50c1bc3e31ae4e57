package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Message is a received message.
type Message struct {
	ID          string    `json:"id"`
	Mailbox     string    `json:"mailbox"`
	Folder      string    `json:"folder"`
	UIDValidity uint32    `json:"uid_validity"`
	UID         uint32    `json:"uid"`
	ReceivedAt  time.Time `json:"received_at"`
	Size        int64     `json:"size"`
	ExpiresAt   time.Time `json:"expires_at"` // end of retention
	EventID     string    `json:"event_id,omitempty"`
	// AfterReceive is what was done with it at the mail server: mark_seen, move: FOLDER,
	// delete; or "refused: " and the cause. Empty: nothing yet, or nothing was asked for.
	AfterReceive string `json:"after_receive,omitempty"`
	Parsed       Parsed `json:"parsed"`
}

// Parsed is the readable form of a message. Remarks say what could not be read;
// with any of them, take the raw message.
type Parsed struct {
	MessageID  string    `json:"message_id,omitempty"`
	InReplyTo  []string  `json:"in_reply_to,omitempty"`
	References []string  `json:"references,omitempty"`
	Date       time.Time `json:"date,omitzero"`
	Subject    string    `json:"subject,omitempty"`
	From       []Party   `json:"from,omitempty"`
	Sender     []Party   `json:"sender,omitempty"`
	ReplyTo    []Party   `json:"reply_to,omitempty"`
	To         []Party   `json:"to,omitempty"`
	CC         []Party   `json:"cc,omitempty"`
	Text       string    `json:"text,omitempty"`
	HTML       string    `json:"html,omitempty"` // as sent, not sanitised
	Parts      []Part    `json:"attachments,omitempty"`
	Remarks    []string  `json:"remarks,omitempty"`
}

// Party is a display name with its address.
type Party struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
}

// String is the party as people write it.
func (p Party) String() string {
	if p.Name == "" {
		return p.Address
	}
	return p.Name + " <" + p.Address + ">"
}

// Part is an attachment. Index is its number, from 0.
type Part struct {
	Index       int    `json:"index"`
	Filename    string `json:"filename,omitempty"`
	ContentType string `json:"content_type"`
	ContentID   string `json:"content_id,omitempty"`
	Inline      bool   `json:"inline,omitempty"`
	Size        int64  `json:"size"`
}

// MailFilter selects messages or submissions. Mailbox empty: every one that the
// caller may read. PageSize is how many are asked for at once, at most 100.
type MailFilter struct {
	Mailbox  string
	Text     string    // in what lists show: the subject and the addresses, in capitals or not
	Since    time.Time // this moment and later
	Until    time.Time // before this moment
	States   []string  // of submissions; none: every one
	PageSize int
}

func (f MailFilter) query() url.Values {
	q := url.Values{}
	set(q, "mailbox", f.Mailbox)
	set(q, "text", f.Text)
	set(q, "since", moment(f.Since))
	set(q, "until", moment(f.Until))
	set(q, "state", strings.Join(f.States, ","))
	return q
}

// set sets a parameter unless it is empty.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

const messagesPath = "/v1/messages"

// maxRaw bounds a raw message and an attachment.
const maxRaw = 128 << 20

// Messages lists received messages, newest first.
func (c *Client) Messages(ctx context.Context, f MailFilter) iter.Seq2[Message, error] {
	return list[Message](ctx, c, messagesPath, f.query(), f.PageSize)
}

// Message gives one message.
func (c *Client) Message(ctx context.Context, id string) (Message, error) {
	return get[Message](ctx, c, one(messagesPath+"/", id, ""))
}

// RawMessage copies a message to w as it arrived. Nothing is written when the
// server refuses.
func (c *Client) RawMessage(ctx context.Context, id string, w io.Writer) error {
	return c.copy(ctx, one(messagesPath+"/", id, "/raw"), w)
}

// Attachment copies one attachment to w, decoded.
func (c *Client) Attachment(ctx context.Context, id string, index int, w io.Writer) error {
	return c.copy(ctx, one(messagesPath+"/", id, fmt.Sprintf("/attachments/%d", index)), w)
}

func (c *Client) copy(ctx context.Context, path string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	answer, err := c.patiently(ctx, call{method: http.MethodGet, path: path, accept: "*/*"})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // Nothing was written to it.
	n, err := io.Copy(w, io.LimitReader(answer.Body, maxRaw+1))
	switch {
	case err != nil:
		return fmt.Errorf("copy from the server: %w", err)
	case n > maxRaw:
		return ErrTooLarge
	}
	return nil
}
