package web

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

// Reads is what the pages look at beyond the capabilities.
type Reads interface {
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	AccessTokens(ctx context.Context, mailboxID string) ([]mailbox.AccessToken, error)
	QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error)
	Events(ctx context.Context, f event.Filter) ([]event.Event, error)
}

// Tester climbs the ladder of a mailbox.
type Tester interface {
	Test(ctx context.Context, address string, o diagnose.TestOptions, yield func(diagnose.Rung)) error
}
