package connect

import (
	"context"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// ProviderStore keeps providers with their sealed client secrets.
type ProviderStore interface {
	// Provider gives one by name; "provider.unknown" (NotFound) when there is none.
	Provider(ctx context.Context, name string) (provider.Record, []SealedSecret, error)
	// Providers gives all, by name.
	Providers(ctx context.Context) ([]provider.Record, error)
	// SaveProvider inserts (IfVersion 0) or replaces record and secrets, only
	// over the version that was read ("provider.changed", Conflict); inserting a name
	// that exists is "provider.exists" (Conflict). With Suspend, the grants of its
	// mailboxes are suspended in the same transaction.
	SaveProvider(ctx context.Context, s SaveProvider) error
	// DeleteProvider removes one that no mailbox uses ("provider.in_use", Conflict).
	DeleteProvider(ctx context.Context, name string, e event.Event) error
}

// SealedSecret is a client secret at rest, sealed to provider, issuer, client
// id and the origin of the token endpoint.
type SealedSecret struct {
	ID     string
	Sealed seal.Sealed
	// Where is the associated data it is sealed with, kept beside it so that a
	// rotation of the keys can seal it anew. Unsealing always recomputes it.
	Where     []byte
	ExpiresAt time.Time
}

// SaveProvider is a provider to write.
type SaveProvider struct {
	Record    provider.Record // Version already raised
	Secrets   []SealedSecret
	IfVersion int64
	Suspend   *Suspension // nil: no grant is touched
	// RetryAt is when authorizations of its mailboxes that wait in quarantine are
	// tried again; zero: when they would be anyway.
	RetryAt time.Time
	Event   event.Event
}

// Suspension is what a decisive change does to the mailboxes it is about:
// active grants become suspended, and authorizations that wait in quarantine are
// dropped, because both were verified against what was before. The functions
// give the event of each.
type Suspension struct {
	Suspended func(mailbox.Mailbox) event.Event
	Dropped   func(m mailbox.Mailbox, display string) event.Event // display: who had signed in
	// Text replaces that of a provider's own event where a grant was suspended.
	Text string
}

// MailboxStore keeps mailboxes.
type MailboxStore interface {
	// Mailbox gives one by normalised address; "mailbox.unknown" (NotFound) when there is none.
	Mailbox(ctx context.Context, address string) (mailbox.Mailbox, error)
	// MailboxByID gives one by ID; "mailbox.unknown" likewise.
	MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error)
	// Mailboxes gives those that a filter selects, with where each stands.
	Mailboxes(ctx context.Context, f mailbox.Filter) ([]mailbox.Listed, error)
	// MailboxesOf counts the mailboxes of each provider.
	MailboxesOf(ctx context.Context) (map[string]int, error)
	// SaveMailbox inserts (IfVersion 0) or replaces; "mailbox.exists" and
	// "mailbox.changed" (Conflict) as for providers; "provider.unknown" when its provider
	// is gone. With Suspend, its grant is suspended in the same transaction.
	SaveMailbox(ctx context.Context, s SaveMailbox) error
	// DeleteMailbox removes it with grant, cursors, messages and links.
	DeleteMailbox(ctx context.Context, id string, e event.Event) error
}

// SaveMailbox is a mailbox to write.
type SaveMailbox struct {
	Mailbox   mailbox.Mailbox // Version already raised
	IfVersion int64
	Suspend   *Suspension // nil: its grant is not touched
	RetryAt   time.Time   // as in SaveProvider
	Events    []event.Event
}

// LinkStore keeps one-time authorization links and their attempts. Only hashes
// of the link, the state and the browser binding are kept.
type LinkStore interface {
	// CreateLink stores a link and cancels earlier pending ones of the mailbox.
	CreateLink(ctx context.Context, l Link, e event.Event) error
	// LinkByHash gives the link with this SHA-256; "link.unknown" (NotFound).
	LinkByHash(ctx context.Context, hash []byte) (Link, error)
	// LinkByID gives the link with this ID; "link.unknown".
	LinkByID(ctx context.Context, id string) (Link, error)
	// LatestLink gives the link of a mailbox that was made last; "link.unknown".
	LatestLink(ctx context.Context, mailboxID string) (Link, error)
	// StartAttempt stores an attempt and counts it, only while the link is
	// pending, unexpired and below MaxAttempts ("link.spent", Conflict). An
	// earlier open attempt of the link stays redeemable.
	StartAttempt(ctx context.Context, a Attempt, now time.Time, e event.Event) error
	// TakeAttempt gives an attempt by its state's hash and closes it in the same
	// transaction, so that a second callback finds it closed: "attempt.used"
	// (Conflict); "attempt.unknown" (NotFound) when the state is none of ours.
	TakeAttempt(ctx context.Context, stateHash []byte, now time.Time) (Attempt, Link, error)
	// RefuseAttempt records how an attempt failed, as the link's last attempt;
	// the link becomes refused when its attempts are used up. One that was granted
	// or cancelled meanwhile keeps what it ended with.
	RefuseAttempt(ctx context.Context, r Refusal) error
	// CancelLink ends a pending link; "link.spent" (Conflict) otherwise.
	CancelLink(ctx context.Context, id string, e event.Event) error
	// ExpireLinks marks pending links past their end, with their events, and
	// removes the sealed remains of attempts older than a day.
	ExpireLinks(ctx context.Context, now time.Time) (int, error)
}

// The states of a link, as the API spells them.
const (
	LinkPending   = "pending"
	LinkGranted   = "granted"
	LinkRefused   = "refused"
	LinkExpired   = "expired"
	LinkCancelled = "cancelled"
)

// MaxAttempts bounds the attempts at one link.
const MaxAttempts = 5

// Link is a one-time authorization link.
type Link struct {
	ID           string
	Hash         []byte // SHA-256 of the secret part of the URL
	MailboxID    string
	State        string
	Attempts     int
	LastAttempt  *Outcome // the last finished attempt; nil: none yet
	AllowSubject string   // a Subject.Key that may replace another; empty: only the present one
	CreatedBy    event.Actor
	CreatedAt    time.Time
	ExpiresAt    time.Time
}

// Outcome is how an attempt ended, in words for people and names for programs.
type Outcome struct {
	AttemptID string          `json:"attempt_id"`
	At        time.Time       `json:"at"`
	OK        bool            `json:"ok"`
	Verdict   mailbox.Verdict `json:"verdict,omitempty"`
	Expected  string          `json:"expected,omitempty"`  // the address whose sign-in was expected
	SignedIn  string          `json:"signed_in,omitempty"` // who signed in, as the provider names them
	Cause     string          `json:"cause,omitempty"`     // fault ID
	Text      string          `json:"text"`
	Remedy    string          `json:"remedy,omitempty"`
	Who       []string        `json:"who,omitempty"`
	Reference string          `json:"reference,omitempty"` // the provider's correlation id
	Reply     string          `json:"reply,omitempty"`     // the error as the server outside gave it: code and words, without secrets
	// Subject is the stable key of who signed in, where an operator could allow
	// exactly this person by it (Link.AllowSubject).
	Subject string `json:"subject,omitempty"`
}

// Counts reports an attempt that counts against MaxAttempts. One does not where
// others have to act, or where the provider took offence at the request itself.
func (o Outcome) Counts() bool { return !o.OthersAct() && o.Cause != causePrompt }

// OthersAct reports a failure that is not theirs who tried: others have to act,
// and it is not that another person than the expected one signed in.
func (o Outcome) OthersAct() bool {
	owner := func(w string) bool { return w == string(fault.MailboxOwner) }
	nobody := func(w string) bool { return w == string(fault.Nobody) }
	other := o.Verdict == mailbox.VerdictMismatch || o.Subject != ""
	return !o.OK && !other && !slices.ContainsFunc(o.Who, owner) && len(slices.DeleteFunc(slices.Clone(o.Who), nobody)) > 0
}

// Attempt is one authorization request on its way.
type Attempt struct {
	ID          string
	LinkID      string
	MailboxID   string
	StateHash   []byte      // SHA-256 of the state parameter
	BindingHash []byte      // SHA-256 of the browser's cookie
	Verifier    seal.Sealed // PKCE code verifier, sealed to seal.Where("attempt", ID, "verifier")
	Nonce       seal.Sealed // sealed to seal.Where("attempt", ID, "nonce")
	Prompt      string      // the prompt that was sent
	Basis       []byte      // SHA-256 of the settings that the request was made from
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// Refusal is a finished attempt that stored nothing.
type Refusal struct {
	LinkID  string
	Outcome Outcome
	Event   event.Event
	// GiveBack has the attempt not counted: what failed it was no fault of the
	// person who tried.
	GiveBack bool
}

// GrantStore adopts and ends grants.
type GrantStore interface {
	// Grant gives a mailbox's grant; "grant.none" (NotFound).
	Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error)
	// AccessTokens gives the stored access tokens of a mailbox.
	AccessTokens(ctx context.Context, mailboxID string) ([]mailbox.AccessToken, error)
	// Adopt makes a verified authorization the grant: it replaces what was
	// there, raises the fence (so that a refresh under way cannot overwrite
	// it), stores access tokens, spends the link, removes a quarantine row and
	// writes the events. It refuses with "mailbox.changed" (Conflict) when the mailbox or
	// its provider is no longer at the version it was verified against, and with
	// "quarantine.none" (NotFound) when it comes from a quarantine row that is gone or
	// was replaced.
	Adopt(ctx context.Context, a Adoption) error
	// SetAside stores or replaces the mailbox's quarantine row, spends the link
	// and writes the event; an existing grant is not touched. It refuses with
	// "mailbox.changed" as Adopt does.
	SetAside(ctx context.Context, s SetAside) error
	// QuarantineOf gives a mailbox's quarantine row; nil when there is none.
	QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error)
	// DueQuarantines lists rows whose NextTryAt has come.
	DueQuarantines(ctx context.Context, now time.Time, limit int) ([]mailbox.Quarantine, error)
	// EndGrant moves the grant to revoked and forgets its tokens and those in
	// quarantine, with the events of what was there; "grant.none" when nothing was.
	EndGrant(ctx context.Context, mailboxID string, now time.Time, e EndGrant) error
}

// QuarantineStore looks after the rows in quarantine. It keeps two processes
// from trying the same one at once, and each method changes only the row that it
// is given: one that is gone, or that a later authorization replaced, is
// "quarantine.none" (NotFound).
type QuarantineStore interface {
	// ClaimQuarantine moves NextTryAt on to until, only while it is still what
	// it is in q; else it changes nothing and gives "work.leased" (Conflict): another
	// process is at it, or the row is gone.
	ClaimQuarantine(ctx context.Context, q mailbox.Quarantine, until time.Time) error
	// RetryQuarantine moves NextTryAt on and counts the try. As DropQuarantine, it
	// acts only while NextTryAt is what it is in q ("quarantine.none"): settings
	// saved during a try ask for another one, and its result says nothing of them.
	RetryQuarantine(ctx context.Context, q mailbox.Quarantine, nextTryAt time.Time, why *fault.Error) error
	// RotateQuarantine replaces the row's refresh token.
	RotateQuarantine(ctx context.Context, q mailbox.Quarantine, refreshToken seal.Sealed) error
	// DropQuarantine removes the row with its event.
	DropQuarantine(ctx context.Context, q mailbox.Quarantine, e event.Event) error
}

// SpentLink is the link an attempt came by, with how it ended.
type SpentLink struct {
	LinkID  string
	Outcome Outcome
}

// Adoption is a verified authorization.
type Adoption struct {
	Grant             mailbox.Grant // without lease; the store raises the fence of the row it replaces
	Access            []mailbox.AccessToken
	IfMailboxVersion  int64
	IfProviderVersion int64
	Link              SpentLink           // zero LinkID: released from quarantine
	Released          *mailbox.Quarantine // the row it comes from; nil: from a callback
	Now               time.Time
	Events            []event.Event
}

// SetAside is an authorization to put into quarantine.
type SetAside struct {
	Quarantine        mailbox.Quarantine
	IfMailboxVersion  int64
	IfProviderVersion int64
	Link              SpentLink
	Event             event.Event
}

// EndGrant holds the events of an end: of the grant, and of an authorization
// that waited in quarantine.
type EndGrant struct {
	Revoked event.Event
	Dropped event.Event
}

// EventStore writes an event that accompanies no other change.
type EventStore interface {
	WriteEvent(ctx context.Context, e event.Event) error
}

// Keys seals secrets for their place and opens them again; *seal.Keyset is one.
type Keys interface {
	Seal(s seal.Secret, where []byte) (seal.Sealed, error)
	Unseal(s seal.Sealed, where []byte) (seal.Secret, error)
}

// Probes finds the prober of a protocol; nil when the protocol has none.
type Probes func(protocol.Name) protocol.Prober

// Kinds finds a provider's kind by name; false when there is none.
type Kinds func(name string) (provider.Kind, bool)
