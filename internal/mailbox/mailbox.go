// Package mailbox has the nouns Mailgrant is about: the connected mailbox and
// its grant, with the pure rules of moving between their states.
//
// # States of a grant
//
//	           authorise, verified                 invalid_grant
//	(none) ───────────────────────────▶ active ───────────────────▶ dead
//	   │                                 │  ▲                         │
//	   │ authorise, undecided    mailbox │  │ verified anew           │ authorise
//	   ▼                         changed ▼  │                         ▼
//	quarantine ── verified ──▶       suspended                     active
//	   │ refused or 24 h
//	   ▼
//	(nothing stored)          active, suspended, dead ── revoke ──▶ revoked
//
// A quarantined authorization lives beside the grant, in a row of its own: it
// is never lent and never replaces a working grant before it is verified.
package mailbox

import (
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Mailbox is a connected address, as configured.
type Mailbox struct {
	ID           string    `json:"id"`
	Address      string    `json:"address"`  // normalised by message.Address
	Provider     string    `json:"provider"` // its name
	GrantType    string    `json:"grant_type"`
	Profile      string    `json:"profile,omitempty"`
	ActsAs       ActsAs    `json:"acts_as"`
	From         string    `json:"from,omitempty"`
	AllowUnknown bool      `json:"allow_unverifiable,omitempty"` // an operator allows the verdict unverifiable, by name
	Receive      *Receive  `json:"receive,omitempty"`            // nil: does not receive
	Send         *Send     `json:"send,omitempty"`               // nil: does not send
	AfterReceive string    `json:"after_receive,omitempty"`      // keep | mark_seen | move: Folder | delete
	Paused       bool      `json:"paused"`
	Version      int64     `json:"version"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// ActsAs says whose identity the mailbox is opened with: "owner", "app", or
// "delegate: address".
type ActsAs string

// Receive is how mail is received.
type Receive struct {
	Protocol protocol.Name `json:"protocol"`
	Folders  []string      `json:"folders"`
	Mode     string        `json:"mode"` // push | poll
	Every    time.Duration `json:"every_ns,omitempty"`
	Server
}

// Send is how mail is sent.
type Send struct {
	Protocol protocol.Name `json:"protocol"`
	// Fallback is the way out while the first is shut; empty: there is none.
	Fallback protocol.Name `json:"fallback,omitempty"`
	Server
}

// Server overrides a preset endpoint; zero fields are taken from the preset.
type Server struct {
	Host  string           `json:"host,omitempty"`
	Port  int              `json:"port,omitempty"`
	TLS   protocol.TLSMode `json:"tls,omitempty"`
	User  string           `json:"user,omitempty"` // the name at the server; default: the address
	CAPEM string           `json:"ca_pem,omitempty"`
}

// The modes of receiving.
const (
	ModePush = "push"
	ModePoll = "poll"
)

// Delegate gives the address of the declared delegate, empty for none.
func (a ActsAs) Delegate() string {
	const prefix = "delegate:"
	if len(a) > len(prefix) && string(a[:len(prefix)]) == prefix {
		s := string(a[len(prefix):])
		for len(s) > 0 && s[0] == ' ' {
			s = s[1:]
		}
		return s
	}
	return ""
}

// Principal is the address whose sign-in is expected: the delegate's where one
// is declared, else the mailbox's own.
func (m Mailbox) Principal() string {
	if d := m.ActsAs.Delegate(); d != "" {
		return d
	}
	return m.Address
}

// Uses lists what the mailbox does with its provider.
func (m Mailbox) Uses() []provider.Use {
	uses := []provider.Use{}
	if m.Receive != nil && protocol.TraitsOf(m.Receive.Protocol).Receives {
		uses = append(uses, provider.UseOf(m.Receive.Protocol))
	}
	if m.Send != nil && protocol.TraitsOf(m.Send.Protocol).Sends {
		uses = append(uses, provider.UseOf(m.Send.Protocol))
	}
	if m.Send != nil && m.Send.Fallback == protocol.Graph {
		use := provider.UseGraphSend
		if m.Principal() != m.Address {
			use = provider.UseGraphSendFor
		}
		uses = append(uses, use)
	}
	return append(uses, provider.UseIdentity)
}

// Overlay applies the mailbox's own server settings to a preset endpoint.
func (s Server) Overlay(preset protocol.Endpoint) protocol.Endpoint {
	if s.Host != "" {
		preset.Host = s.Host
	}
	if s.Port != 0 {
		preset.Port = s.Port
	}
	if s.TLS != "" {
		preset.TLS = s.TLS
	}
	if s.CAPEM != "" {
		preset.CAPEM = []byte(s.CAPEM)
	}
	return preset
}

// Verdict is the outcome of the three-way binding.
type Verdict string

// The verdicts.
const (
	VerdictMatch        Verdict = "match"        // the mailbox's own address signed in
	VerdictAlias        Verdict = "alias"        // a proven alias of who signed in
	VerdictDelegate     Verdict = "delegate"     // the declared delegate signed in
	VerdictApp          Verdict = "app"          // no person: the application itself
	VerdictMismatch     Verdict = "mismatch"     // somebody else signed in
	VerdictUnverifiable Verdict = "unverifiable" // nothing proves who it was
)

// GrantState is where a grant stands.
type GrantState string

// The states; see the package documentation for the moves.
const (
	GrantActive    GrantState = "active"
	GrantSuspended GrantState = "suspended"
	GrantDead      GrantState = "dead"
	GrantRevoked   GrantState = "revoked"
)

// moves is the table of the package documentation.
var moves = map[GrantState][]GrantState{
	"":             {GrantActive},
	GrantActive:    {GrantActive, GrantSuspended, GrantDead, GrantRevoked},
	GrantSuspended: {GrantActive, GrantDead, GrantRevoked},
	GrantDead:      {GrantActive, GrantRevoked},
	GrantRevoked:   {GrantActive},
}

// MayBecome reports whether a grant may move from one state to another; the
// empty state is "no grant".
func (s GrantState) MayBecome(next GrantState) bool { return slices.Contains(moves[s], next) }

// Grant is the lasting consent held for a mailbox. Refresh tokens are sealed
// to the grant's row (seal.Where("grant", MailboxID, field)).
type Grant struct {
	MailboxID   string
	State       GrantState
	Verdict     Verdict
	Subject     provider.Subject
	Display     string // who signed in, as they know themselves
	Scopes      []string
	ConnectedAt time.Time // when this consent was given
	ConnectedBy string    // the operator or key that made the link

	RefreshToken  seal.Sealed // current; tried first, but for its own successor kept as Candidate (see broker)
	PreviousToken seal.Sealed // before the last rotation
	Candidate     seal.Sealed // a late answer of a process that had lost its lease; never current by itself

	Lease          work.Lease
	Intent         Intent // zero: no request without an answer
	NextRefreshAt  time.Time
	LastRefreshAt  time.Time
	Failures       int    // in a row
	Cause          string // fault ID of the last failure or of the end
	CauseText      string
	Remedy         string
	SecretsVersion int64 // grows with every stored token
}

// Intent is the durable mark of a token request that was about to be sent. One
// that survives its process says: this request may have been answered, and
// nobody knows.
type Intent struct {
	Fence    int64
	Resource string
	At       time.Time
}

// IsZero reports that no request is open.
func (i Intent) IsZero() bool { return i.Fence == 0 }

// AccessToken is a stored access token for one resource, sealed to
// seal.Where("access_token", MailboxID, Resource).
type AccessToken struct {
	MailboxID  string
	Resource   string
	Sealed     seal.Sealed
	Scopes     []string
	ObtainedAt time.Time
	ExpiresAt  time.Time
}

// Quarantine is an authorization whose mailbox could not be probed yet. It is
// kept at most 24 hours and never lent. Tokens are sealed to
// seal.Where("quarantine", MailboxID, field).
type Quarantine struct {
	MailboxID    string
	Subject      provider.Subject
	Display      string
	Verdict      Verdict
	Scopes       []string
	RefreshToken seal.Sealed
	ConnectedBy  string
	CreatedAt    time.Time
	ExpiresAt    time.Time
	NextTryAt    time.Time
	Tries        int
	Cause        string // ID of the fault for which it waits
	CauseText    string
	CauseField   string      // the setting at fault, as its file spells it; empty: none
	Remedy       string      // what removes the cause
	Who          []fault.Who // who can remove it
}

// Because fills in the cause for which an authorization waits.
func (q Quarantine) Because(f *fault.Error) Quarantine {
	q.Cause, q.CauseText, q.CauseField, q.Remedy, q.Who = f.ID, f.Text, f.Field, f.Remedy, f.Who
	return q
}
