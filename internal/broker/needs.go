package broker

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Store keeps grants and access tokens. Every method is one transaction.
type Store interface {
	// Grant gives the grant of a mailbox; a fault "grant.none" (NotFound) when
	// the mailbox has none.
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	// AccessToken gives the stored access token for a resource; the zero value
	// when none is stored.
	AccessToken(ctx context.Context, mailboxID, resource string) (mailbox.AccessToken, error)
	// BeginRefresh takes the lease, raises the fence by one and writes the
	// intent, durably, before it returns. It gives the grant with the lease now
	// held; its Intent is the one that was open before, zero when there was
	// none. While another lease binds it changes nothing and gives the fault
	// "work.leased" (Conflict) together with the grant as it stands. A grant that is not
	// active gives "grant.not_active" (Dead) together with the grant.
	BeginRefresh(ctx context.Context, b BeginRefresh) (mailbox.Grant, error)
	// FinishRefresh stores what the provider answered, moves the current
	// refresh token to previous when a new one came, clears intent, candidate,
	// failures (not Aside) and lease, and writes the events, only under its fence: else
	// it changes nothing and gives "work.fenced" (Conflict).
	FinishRefresh(ctx context.Context, f FinishRefresh) error
	// FailRefresh records a failure and gives the lease back, only under its
	// fence ("work.fenced" otherwise).
	FailRefresh(ctx context.Context, f FailRefresh) error
	// KeepLateAnswer stores a refresh token that came too late as candidate,
	// with its event. It needs no lease and never touches the current token.
	KeepLateAnswer(ctx context.Context, mailboxID string, candidate seal.Sealed, e event.Event) error
	// Due lists active grants whose NextRefreshAt has come and whose lease is
	// free, most overdue first. Its cost grows with what is due, not with what is stored.
	Due(ctx context.Context, now time.Time, limit int) ([]Due, error)
	// NextDue gives the earliest NextRefreshAt of an active grant; zero when there is none.
	NextDue(ctx context.Context) (time.Time, error)
}

// BeginRefresh claims one refresh.
type BeginRefresh struct {
	MailboxID string
	Resource  string
	Owner     string
	Now       time.Time
	Until     time.Time // end of the lease
}

// FinishRefresh is a definite, good answer.
type FinishRefresh struct {
	MailboxID     string
	Fence         int64
	Access        mailbox.AccessToken // zero: the answer held a refresh token alone
	RefreshToken  seal.Sealed         // zero: the provider did not rotate
	Aside         bool                // says nothing of the mailbox's first resource: failures, cause and remedy stay
	NextRefreshAt time.Time
	Now           time.Time
	Events        []event.Event
}

// FailRefresh is any other outcome.
type FailRefresh struct {
	MailboxID     string
	Fence         int64
	KeepIntent    bool // the request may have been processed: its intent stays open
	Dead          bool // the grant has ended: state dead, no further refresh
	Aside         bool // says nothing about the grant: its failures, cause and remedy stay
	NextRefreshAt time.Time
	Cause         string // fault ID
	CauseText     string
	Remedy        string
	Now           time.Time
	Events        []event.Event
}

// Due is a grant to refresh.
type Due struct {
	MailboxID string
	At        time.Time
}

// Directory names the mailbox and opens its provider's registration.
type Directory interface {
	MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error)
	Registration(ctx context.Context, providerName string) (provider.Kind, provider.Registration, error)
}
