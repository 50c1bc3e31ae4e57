package outbox

import (
	"context"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// State is where a submission stands, as the API spells it.
type State string

// The states.
const (
	Queued  State = "queued"
	Sending State = "sending"
	Sent    State = "sent"
	Failed  State = "failed"
	Expired State = "expired"
)

// Submission is a message accepted for sending. It is accepted once per
// IdempotencyKey and Caller.
type Submission struct {
	ID                 string
	MailboxID          string
	Mailbox            string // address
	Caller             string // who accepted it: the scope of the idempotency key
	IdempotencyKey     string // empty: none was given
	BodyDigest         []byte // SHA-256 of the request: another body under the same key is refused
	Envelope           message.Envelope
	MessageID          string // header field, without brackets
	Subject            string
	Size               int64
	State              State
	PossiblyDuplicated bool
	Attempts           int
	Lease              work.Lease
	// InData says that the message was on the wire in an attempt whose outcome nobody
	// recorded: it may have been sent.
	InData        bool
	NextAttemptAt time.Time
	ExpiresAt     time.Time
	CreatedAt     time.Time
	SettledAt     time.Time
	Reply         string // the server's last reply, shortened
	Cause         string
	CauseText     string
	Remedy        string
}

// Store keeps submissions. Accept, Retry, Hasten and WakeSubmissions enqueue the job that
// wakes the work in their own transaction.
type Store interface {
	// Accept stores a submission with its raw message (rows of at most 256 KiB), its
	// event and its job. With a key that this caller used before it changes
	// nothing and gives the earlier submission: replayed is true; another body
	// under it is "idempotency.key_reused" (Invalid).
	Accept(ctx context.Context, s Submission, raw []byte, e event.Event) (accepted Submission, replayed bool, err error)
	// Submission gives one by ID; "submission.unknown" (NotFound).
	Submission(ctx context.Context, id string) (Submission, error)
	// Raw opens the stored message.
	Raw(ctx context.Context, id string) (io.ReadCloser, error)
	// ClaimSubmission takes the lease of a queued submission that is due, or of
	// one in sending whose lease has run out, and makes it sending. The fault
	// "work.none" (NotFound) says there is nothing to do; "work.later" (Conflict) that it
	// is not due yet, with the submission as it stands.
	ClaimSubmission(ctx context.Context, id, owner string, now, until time.Time) (Submission, error)
	// EnterData marks, under the fence and before the first byte of the message, that
	// it goes on the wire now.
	EnterData(ctx context.Context, id string, fence int64) error
	// Settle ends a submission: sent, failed or expired, under the fence ("work.fenced").
	Settle(ctx context.Context, s Settlement) error
	// TakenLate records, with its event, that a server took the message in an attempt
	// that another has taken over from: it is possibly duplicated, unless it was, or
	// will be, settled as Found. It changes nothing else.
	TakenLate(ctx context.Context, l Late) error
	// Retry puts it back to queued until NextAttemptAt, under the fence, and keeps the
	// hold with it.
	Retry(ctx context.Context, r Retry) error
	// Holds gives what is kept and has not ended.
	Holds(ctx context.Context, now time.Time) ([]Hold, error)
	// Hasten makes a queued submission due now, with its job, where nobody has claimed
	// it since it had this fence ("work.fenced").
	Hasten(ctx context.Context, id string, fence int64, now time.Time, e event.Event) error
	// Cancel ends a queued submission without an attempt, where nobody has claimed it
	// since it had this fence ("work.fenced").
	Cancel(ctx context.Context, s Settlement) error
	// DueSubmissions lists IDs that are due or whose lease has run out: the sweep that heals
	// lost jobs.
	DueSubmissions(ctx context.Context, now time.Time, limit int) ([]string, error)
	// WakeSubmissions makes the queued submissions of a mailbox whose cause waits says yes
	// to (empty: none yet) due now, with their jobs; it gives how many. Those that
	// are due already are left alone.
	WakeSubmissions(ctx context.Context, mailboxID string, waits func(cause string) bool, now time.Time) (int, error)
	// PurgeSubmissions removes settled ones older than the retention; it gives how many.
	PurgeSubmissions(ctx context.Context, settledBefore time.Time, limit int) (int, error)
}

// Settlement is a final outcome.
type Settlement struct {
	ID                 string
	Fence              int64
	State              State
	PossiblyDuplicated bool
	Found              bool // sent, as the sent messages of the mailbox show: it is there, and went out once
	Reply              string
	Cause              string
	CauseText          string
	Remedy             string
	Now                time.Time
	Event              event.Event
}

// Retry is a passing failure. Attempted says whether it counts as an attempt.
type Retry struct {
	ID            string
	Fence         int64
	NextAttemptAt time.Time
	Attempted     bool
	InData        bool // still unknown whether the message was accepted
	Reply         string
	Cause         string
	CauseText     string
	Remedy        string
	Now           time.Time
	Event         event.Event // zero Kind: none (waiting for the rate budget is no news)
	Hold          Hold        // zero Until: none
}

// Lender lends access tokens; see the broker.
type Lender interface {
	Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error)
	Refused(ctx context.Context, mailboxID, resource string, accessToken seal.Secret)
}

// Directory names mailboxes and opens providers.
type Directory interface {
	Mailbox(ctx context.Context, address string) (mailbox.Mailbox, error)
	MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error)
	Registration(ctx context.Context, providerName string) (provider.Kind, provider.Registration, error)
}

// Senders finds the sender of a protocol; nil when there is none.
type Senders func(protocol.Name) protocol.Sender

// SentFinders finds what can look into the sent messages of a mailbox; nil when
// nothing can.
type SentFinders func(protocol.Name) protocol.SentFinder

// Filter selects submissions, newest first; Before is the ID of the last one seen.
type Filter struct {
	MailboxIDs []string // empty: all
	States     []State  // empty: every one
	Text       string   // in the subject, the addresses or the Message-ID, in capitals or not
	Since      time.Time
	Until      time.Time // accepted before this
	Before     string
	Limit      int
}

// Page is one page of submissions. Next is the Before of the next one; empty:
// nothing is left. A page that had to look at very many ends early, even
// without any.
type Page struct {
	Submissions []Submission
	Next        string
}
