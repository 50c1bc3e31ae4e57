package fetch

import (
	"context"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
)

// Message is a received message as it is kept.
type Message struct {
	ID          string         `json:"id"`
	MailboxID   string         `json:"-"`
	Mailbox     string         `json:"mailbox"`
	Folder      string         `json:"folder"`
	UIDValidity uint32         `json:"uid_validity"`
	UID         uint32         `json:"uid"`
	ReceivedAt  time.Time      `json:"received_at"`
	Size        int64          `json:"size"`
	ExpiresAt   time.Time      `json:"expires_at"`
	EventID     string         `json:"event_id,omitempty"` // of its arrival, by which webhooks are told
	Disposed    string         `json:"after_receive,omitempty" doc:"What was done with it at the mail server after it was received: mark_seen, move: FOLDER, delete; or refused: and the cause."`
	Parsed      message.Parsed `json:"parsed"`
}

// Filter selects messages, newest first. Before is the ID of the last one seen;
// empty: from the newest.
type Filter struct {
	MailboxIDs []string // empty: all
	Text       string   // in the subject or in who wrote it, in capitals or not
	Since      time.Time
	Until      time.Time // received before this
	Brief      bool      // without texts, and without the end of retention
	Before     string
	Limit      int
}

// Page is one page of messages. Next is the Before of the next one; empty:
// nothing is left. A page that had to look at very many messages ends early,
// even without any.
type Page struct {
	Messages []Message
	Next     string
}

// Archive reads kept messages. "message.unknown" (NotFound) for one that is not there.
type Archive interface {
	Messages(ctx context.Context, f Filter) (Page, error)
	Message(ctx context.Context, id string) (Message, error)
	MessageRaw(ctx context.Context, id string) (io.ReadCloser, error)
}
