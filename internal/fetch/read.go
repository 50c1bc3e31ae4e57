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
	Parsed      message.Parsed `json:"parsed"`
}

// Filter selects messages, newest first. Before is the ID of the last one seen;
// empty: from the newest.
type Filter struct {
	MailboxIDs []string // empty: all
	Before     string
	Limit      int
}

// Archive reads kept messages. "message.unknown" (NotFound) for one that is not there.
type Archive interface {
	Messages(ctx context.Context, f Filter) ([]Message, error)
	Message(ctx context.Context, id string) (Message, error)
	MessageRaw(ctx context.Context, id string) (io.ReadCloser, error)
}
