package access

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// Operator is a person who signs in to the pages.
type Operator struct {
	ID           string
	Name         string
	PasswordHash string // Argon2id in its encoded form; empty until set
	CreatedAt    time.Time
}

// Right is what an API key may do.
type Right string

// The rights of a program.
const (
	Read   Right = "read"
	Send   Right = "send"
	Token  Right = "token"
	Manage Right = "manage"
)

// APIKey is a program's key. Only the SHA-256 of its secret part is kept.
type APIKey struct {
	ID        string
	Name      string
	Hash      []byte
	May       []Right
	Mailboxes []string // addresses; empty: all
	Networks  []string // CIDR; empty: everywhere
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	LastUsed  time.Time
}

// Store keeps operators, sessions, API keys and set-up links.
type Store interface {
	Operators(ctx context.Context) ([]Operator, error)
	Operator(ctx context.Context, name string) (Operator, error) // "operator.unknown" (NotFound)
	// SaveOperator inserts or replaces an operator by ID.
	SaveOperator(ctx context.Context, o Operator, e event.Event) error
	APIKeys(ctx context.Context) ([]APIKey, error)
	APIKeyByHash(ctx context.Context, hash []byte) (APIKey, error) // "api_key.unknown" (NotFound)
	CreateAPIKey(ctx context.Context, k APIKey, e event.Event) error
	DeleteAPIKey(ctx context.Context, name string, e event.Event) error // "api_key.unknown"
	WriteEvent(ctx context.Context, e event.Event) error
}

// SetupStore keeps the one-time set-up link.
type SetupStore interface {
	// CreateSetup replaces the set-up link's hash.
	CreateSetup(ctx context.Context, hash []byte, expiresAt time.Time) error
	// CheckSetup reports whether this hash is the unspent, unexpired link.
	CheckSetup(ctx context.Context, hash []byte, now time.Time) (bool, error)
	// SpendSetup spends it and saves the operator in one transaction; "setup.spent" (Conflict).
	SpendSetup(ctx context.Context, hash []byte, now time.Time, o Operator, e event.Event) error
}

// SessionStore keeps the sessions of signed-in operators (the shape that scs's context store asks
// for). Tokens are kept as their SHA-256.
type SessionStore interface {
	DeleteCtx(ctx context.Context, token string) error
	FindCtx(ctx context.Context, token string) (b []byte, found bool, err error)
	CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error
	Delete(token string) error
	Find(token string) (b []byte, found bool, err error)
	Commit(token string, b []byte, expiry time.Time) error
}
