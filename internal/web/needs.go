package web

import (
	"context"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Reads is what the pages look at beyond the capabilities.
type Reads interface {
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	AccessTokens(ctx context.Context, mailboxID string) ([]mailbox.AccessToken, error)
	QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error)
	Events(ctx context.Context, f event.Filter) ([]event.Event, error)
	EventPage(ctx context.Context, f event.Filter) (event.Page, error)
	fetch.Archive
	// HandedOn lists the deliveries of an event.
	HandedOn(ctx context.Context, eventID string) ([]webhook.Handed, error)
	Submissions(ctx context.Context, f outbox.Filter) (outbox.Page, error)
	Submission(ctx context.Context, id string) (outbox.Submission, error)
	Raw(ctx context.Context, submissionID string) (io.ReadCloser, error)
}

// Tester climbs the ladder of a mailbox.
type Tester interface {
	Test(ctx context.Context, address string, o diagnose.TestOptions, yield func(diagnose.Rung)) error
	// Expect says what an access token for this mailbox's mail server has to be.
	Expect(ctx context.Context, m mailbox.Mailbox) (diagnose.Expectation, error)
}

// Outbox accepts submissions, and lets people act on them.
type Outbox interface {
	Submit(ctx context.Context, r outbox.Request) (outbox.Submission, bool, error)
	SendAgain(ctx context.Context, r outbox.Again) (outbox.Submission, bool, error)
	RetryNow(ctx context.Context, id string, by event.Actor) (outbox.Submission, error)
	Cancel(ctx context.Context, id string, by event.Actor) (outbox.Submission, error)
}

// Lender lends access tokens.
type Lender interface {
	Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error)
}
