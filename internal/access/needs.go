package access

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// Needs is what the room works with.
type Needs struct {
	Operators OperatorStore
	Sessions  SessionStore
	Keys      KeyStore
	Events    EventStore
	// LocalLogin says whether operators may sign in with a password at all.
	LocalLogin bool
	Bounds     Bounds           // of what one API key may ask
	Now        func() time.Time // nil: time.Now
	// CheapPasswords makes hashes that cost next to nothing. For tests only: they
	// would be guessed.
	CheapPasswords bool
}

// Operator is a person who signs in to the pages.
type Operator struct {
	ID           string
	Name         string
	PasswordHash string // Argon2id in its encoded form; empty until set
	CreatedBy    string // the name of who invited them; empty where nobody did
	CreatedAt    time.Time
	SignedInAt   time.Time // last; zero: never
	LinkEnds     time.Time // until when the set-up link is good that was made for them; zero: there is none
}

// SetupLink is a one-time link with which a password is set. Only the SHA-256
// of its secret part is kept.
type SetupLink struct {
	OperatorID string // empty: good for any name, a new one too
	Operator   string // the name; empty likewise
	Hash       []byte
	ExpiresAt  time.Time
}

// Session is a sign-in to the pages. Only the SHA-256 of its secret is kept.
type Session struct {
	ID         string
	Hash       []byte
	OperatorID string
	Operator   string // the name
	BeganAt    time.Time
	SeenAt     time.Time // to the minute
	ExpiresAt  time.Time
	From       string // the address it began from
	Browser    string // in words
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

// Rights lists them in the order in which they are told.
func Rights() []Right { return []Right{Read, Send, Token, Manage} }

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
	LastUsed  time.Time // to the minute; zero: never
}

// EventStore writes what happened where nothing else changes.
type EventStore interface {
	WriteEvent(ctx context.Context, e event.Event) error
}

// OperatorStore keeps operators and set-up links.
type OperatorStore interface {
	Operators(ctx context.Context) ([]Operator, error)
	Operator(ctx context.Context, name string) (Operator, error) // "operator.unknown" (NotFound)
	// InviteOperator adds an operator who has no password, with their link;
	// "operator.exists" (Conflict).
	InviteOperator(ctx context.Context, o Operator, l SetupLink, es ...event.Event) error
	// ReplaceSetup puts a link in the place of the one that its operator had, or of
	// the one that is good for any name; "operator.unknown" (NotFound).
	ReplaceSetup(ctx context.Context, l SetupLink, e event.Event) error
	// Setup finds an unspent, unexpired link; "setup.spent" (Conflict).
	Setup(ctx context.Context, hash []byte, now time.Time) (SetupLink, error)
	// SpendSetup ends a link, saves the operator with the new password, and replaces
	// all sessions of theirs by a first one; "setup.spent" (Conflict).
	SpendSetup(ctx context.Context, s SpendSetup) error
	// ChangePassword saves the new password where the old one is still as it was
	// read, and ends all other sessions; "operator.password_changed" (Conflict).
	ChangePassword(ctx context.Context, c ChangePassword) error
	// DeleteOperator removes an operator with their link and sessions;
	// "operator.unknown" (NotFound), "operator.last" (Conflict) where nobody who
	// could sign in would be left.
	DeleteOperator(ctx context.Context, name string, e event.Event) error
}

// SpendSetup is what becomes true when a set-up link is used.
type SpendSetup struct {
	Hash     []byte
	Now      time.Time
	Operator Operator
	Session  Session
	Events   []event.Event
}

// ChangePassword is what becomes true when an operator changes the password.
type ChangePassword struct {
	OperatorID string
	Old, New   string // encoded hashes
	Keep       string // the session in which it was done
	Event      event.Event
}

// SessionStore keeps the sessions of signed-in operators.
type SessionStore interface {
	// BeginSession adds a session if the operator's password is still the one that
	// was checked; "operator.password_changed" (Conflict). Sessions whose time has
	// come go.
	BeginSession(ctx context.Context, s Session, passwordHash string, e event.Event) error
	Session(ctx context.Context, hash []byte, now time.Time) (Session, error)                  // "session.unknown" (NotFound)
	SessionsOf(ctx context.Context, operatorID string, now time.Time) ([]Session, error)       // newest first
	EndSession(ctx context.Context, operatorID, id string, now time.Time, e event.Event) error // "session.unknown" (NotFound)
	// EndSessions ends all but one, or all, and says how many.
	EndSessions(ctx context.Context, operatorID, except string, now time.Time, e event.Event) (int, error)
	// SeeSession notes that a session was used. That may fail without harm.
	SeeSession(ctx context.Context, id string, seenAt, expiresAt time.Time)
}

// KeyStore keeps API keys.
type KeyStore interface {
	APIKeys(ctx context.Context) ([]APIKey, error)
	APIKey(ctx context.Context, name string) (APIKey, error)         // "api_key.unknown" (NotFound)
	APIKeyByHash(ctx context.Context, hash []byte) (APIKey, error)   // "api_key.unknown" (NotFound)
	CreateAPIKey(ctx context.Context, k APIKey, e event.Event) error // "api_key.exists" (Conflict)
	// ChangeAPIKey saves what a key may do, where, and until when, where that is
	// still as was has it; "api_key.unknown" (NotFound), "api_key.changed" (Conflict).
	ChangeAPIKey(ctx context.Context, was, k APIKey, e event.Event) error
	// RenewAPIKey puts a new hash and end into k, where its hash is still the old
	// one; "api_key.renewed" (Conflict).
	RenewAPIKey(ctx context.Context, k APIKey, old []byte, e event.Event) error
	DeleteAPIKey(ctx context.Context, name string, e event.Event) error // "api_key.unknown" (NotFound)
	// UseAPIKey notes that a key was used, at most once a minute. That may fail
	// without harm.
	UseAPIKey(ctx context.Context, id string, now time.Time)
}
