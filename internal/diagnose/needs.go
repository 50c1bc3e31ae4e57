package diagnose

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Mailboxes names a mailbox and where it receives and sends.
type Mailboxes interface {
	// Get gives a mailbox by address; "mailbox.unknown" when there is none.
	Get(ctx context.Context, address string) (mailbox.Mailbox, error)
	// Endpoints gives presets with the mailbox's own settings laid over them; nil
	// for what the mailbox does not do.
	Endpoints(ctx context.Context, m mailbox.Mailbox) (receive, send *protocol.Endpoint, err error)
}

// Directory opens a provider by name.
type Directory interface {
	Registration(ctx context.Context, providerName string) (provider.Kind, provider.Registration, error)
}

// Grants shows a mailbox's grant and what waits beside it.
type Grants interface {
	// Grant gives "grant.none" when the mailbox has none.
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	// QuarantineOf gives nil when nothing waits.
	QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error)
}

// Lender lends access tokens.
type Lender interface {
	Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error)
}

// Probes finds the prober of a protocol; nil when the protocol has none.
type Probes func(protocol.Name) protocol.Prober

// Courier sends one real message and returns when it was sent, with the
// server's reply, or failed for good.
type Courier interface {
	SendTest(ctx context.Context, mailboxAddress, to string) (reply string, err error)
}

// Events writes the event of a test.
type Events interface {
	WriteEvent(ctx context.Context, e event.Event) error
}
