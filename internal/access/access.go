// Package access decides who may do what here: operators who sign in to the
// pages with a password of their own, programs that call with an API key, and
// people on the same host who come through the socket.
//
// The first operator is made through a one-time set-up link, valid for an
// hour, that only somebody on the host can read; operators invite the others,
// each by a link of their own. A sign-in is a session, which its operator sees
// and ends. Secrets (set-up links, sessions, API keys) are kept as SHA-256 of
// 256 random bits; passwords as Argon2id.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Access answers who somebody is and what they may do.
type Access struct {
	need Needs
	cost cost // of a password's hash

	attempts limiter
	pace     *pace
	// hashing bounds how many passwords are worked on at once: each takes 64 MiB.
	hashing chan struct{}

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
	ended int // grows when a key changes: what was read before is not remembered
}

// hashesAtOnce bounds the memory that sign-ins take.
const hashesAtOnce = 2

// New makes the room.
func New(n Needs) *Access {
	if n.Now == nil {
		n.Now = time.Now
	}
	c := fullCost()
	if n.CheapPasswords {
		c = testCost()
	}
	return &Access{
		need: n, cost: c, attempts: limiter{seen: map[string]*bucket{}}, pace: newPace(n.Bounds), hashing: make(chan struct{}, hashesAtOnce), cache: map[[sha256.Size]byte]cached{},
	}
}

// now is the present as exactly as it is stored.
func (a *Access) now() time.Time { return a.need.Now().UTC().Truncate(time.Microsecond) }

// Caller is somebody who has proved who they are.
type Caller struct {
	Actor     event.Actor
	May       []Right  // what a program may do; operators and the socket may do everything
	Mailboxes []string // empty: all
	All       bool     // operator or socket
}

// Operators and the socket: everything.
func allowAll(a event.Actor) Caller { return Caller{Actor: a, All: true} }

// Local is somebody on this host who reached the socket, by their uid.
func Local(uid int) Caller {
	return allowAll(event.Actor{Kind: event.ActorLocal, Name: fmt.Sprintf("uid %d", uid)})
}

// OperatorCaller is a signed-in operator.
func OperatorCaller(name string) Caller {
	return allowAll(event.Actor{Kind: event.ActorOperator, Name: name})
}

// Allows reports whether the caller has a right at a mailbox; an empty address asks
// for the right as such. The fault says which right is missing and no more.
func (c Caller) Allows(r Right, address string) error {
	if c.All {
		return nil
	}
	if !slices.Contains(c.May, r) {
		return forbidden(fmt.Sprintf("This API key lacks the right “%s”.", r))
	}
	same := func(m string) bool { return message.SameAddress(m, address) }
	if address != "" && len(c.Mailboxes) > 0 && !slices.ContainsFunc(c.Mailboxes, same) {
		return forbidden(fmt.Sprintf("This API key has no right at the mailbox %s.", fault.Shorten(address, 254)))
	}
	return nil
}

// MayLookAfterOperators refuses programs, whatever their rights.
func (c Caller) MayLookAfterOperators() error {
	if c.All {
		return nil
	}
	return &fault.Error{
		ID: "access.operators_not_by_key", Kind: fault.Forbidden, Who: []fault.Who{fault.Operator},
		Text:   "No API key may look after operators: whoever found a leaked one could make themselves an operator with it, and stay when the key is gone.",
		Remedy: "Sign in to the pages and do it there, or run “mailgrant operator” on the server's own host, as root or as the service's user.",
	}
}

func forbidden(text string) error {
	return &fault.Error{
		ID: "access.forbidden", Kind: fault.Forbidden, Text: text, Who: []fault.Who{fault.Operator},
		Remedy: "Use another key, or have an operator make one with that right.",
	}
}

func unauthenticated(id, text, remedy string) error {
	return &fault.Error{ID: id, Kind: fault.Unauthenticated, Text: text, Who: []fault.Who{fault.Operator}, Remedy: remedy}
}

// NewSecret makes 256 random bits in base64url and their SHA-256.
func NewSecret() (seal.Secret, []byte, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return seal.Secret{}, nil, fmt.Errorf("make a secret: %w", err)
	}
	s := base64.RawURLEncoding.EncodeToString(b)
	return seal.NewSecret(s), hash(s), nil
}

func hash(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}
