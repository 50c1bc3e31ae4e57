package fetch

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Store keeps cursors, messages and who watches which mailbox.
type Store interface {
	// ClaimWatches takes or renews leases of mailboxes that receive, are not
	// paused and have an active grant: those this owner holds, and free ones until
	// it holds limit. It gives every mailbox the owner now holds.
	ClaimWatches(ctx context.Context, owner string, now, until time.Time, limit int) ([]Watch, error)
	// ReleaseWatches gives back every lease of the owner.
	ReleaseWatches(ctx context.Context, owner string) error
	// Cursor gives where a folder was left; the zero Cursor when never read.
	Cursor(ctx context.Context, mailboxID, folder string) (message.Cursor, error)
	// Keep stores messages, their events (which wake webhooks) and the cursor in one
	// transaction, under the watch's fence ("work.fenced", Conflict), and remembers the
	// RemoteIDs of the messages that have one. A message whose folder, UIDVALIDITY and UID are stored already is passed over without
	// event. It gives how many were new.
	Keep(ctx context.Context, k Keep) (int, error)
	// Owed gives the UIDs of a folder, in order, with which after_receive is still to be
	// done: of batches kept with Owes since the last Disposed.
	Owed(ctx context.Context, mailboxID, folder string) ([]uint32, error)
	// Handed gives what a server without lasting numbers needs to be told (see
	// protocol.Snapshot): the UIDs of the messages kept with a RemoteID and not
	// forgotten, by RemoteID, and the highest UID ever used under this UIDVALIDITY.
	Handed(ctx context.Context, mailboxID, folder string, uidValidity uint32) (handed map[string]uint32, highest uint32, err error)
	// Forget drops RemoteIDs that the server has no more, under the fence. The
	// messages stay.
	Forget(ctx context.Context, mailboxID string, fence int64, folder string, uidValidity uint32, remoteIDs []string) error
	// ResetFolder starts a folder over under a new UIDVALIDITY, with its event, under
	// the fence. With Known, messages whose Message-ID and size hash is stored
	// are recognised by Keep and not handed on again.
	ResetFolder(ctx context.Context, mailboxID string, fence int64, folder string, c message.Cursor, e event.Event) error
	// Disposed notes what became of messages at the mail server, with its event, under
	// the fence: nothing is owed then. Those that are not kept are passed over.
	Disposed(ctx context.Context, d Disposed) error
	// Purge removes messages past their retention, at most limit; it gives how many.
	Purge(ctx context.Context, now time.Time, limit int) (int, error)
	// StopReceiving records that nothing is received from a mailbox, and why, under
	// the fence. The event is written only when that is news: an outage goes on
	// across processes and causes.
	StopReceiving(ctx context.Context, mailboxID string, fence int64, o mailbox.Outage, e event.Event) error
	// ResumeReceiving ends the outage with its event, under the fence.
	ResumeReceiving(ctx context.Context, mailboxID string, fence int64, e event.Event) error
}

// Watch is a mailbox to watch under a lease.
type Watch struct {
	Mailbox mailbox.Mailbox
	Lease   work.Lease
	Outage  mailbox.Outage // as last recorded, by whoever watched it
}

// Keep is a batch of messages of one folder.
type Keep struct {
	MailboxID string
	Fence     int64
	Folder    string
	Cursor    message.Cursor // after the batch
	Messages  []Stored
	Owes      bool // after_receive asks something of the server with these
	Now       time.Time
}

// Stored is a message with its parsed form, its digest (SHA-256 of the raw
// bytes: tells a message apart when a folder is numbered anew) and its event.
type Stored struct {
	ID        string
	Received  message.Received // Raw is kept in rows of at most 256 KiB
	Parsed    message.Parsed
	Digest    []byte
	ExpiresAt time.Time // end of retention
	Event     event.Event
}

// Disposed is what was done with messages of one folder after they were received.
type Disposed struct {
	MailboxID   string
	Fence       int64
	Folder      string
	UIDValidity uint32
	UIDs        []uint32
	What        string      // as after_receive says it, or "refused: " and the cause
	Event       event.Event // zero Kind: none
}

// Lender lends access tokens.
type Lender interface {
	// Lend gives an access token of the mailbox for a resource that is good for
	// at least minTTL.
	Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error)
	// Refused tells the broker that a server refused this access token although it had
	// not expired, so that the next Lend renews it.
	Refused(ctx context.Context, mailboxID, resource string, accessToken seal.Secret)
}

// Directory opens a provider by name, for its preset endpoints.
type Directory interface {
	Registration(ctx context.Context, providerName string) (provider.Kind, provider.Registration, error)
}

// Readers finds the reader of a protocol; nil when there is none.
type Readers func(protocol.Name) protocol.Reader
