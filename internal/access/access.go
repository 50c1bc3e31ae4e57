// Package access decides who may do what here: operators who sign in to the
// pages with a password of their own, programs that call with an API key, and
// people on the same host who come through the socket.
//
// The first operator is made through a one-time set-up link, valid for an
// hour, that only somebody on the host can read. Secrets (set-up links, API keys)
// are kept as SHA-256 of 256 random bits; passwords as Argon2id.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// SetupLife is how long a set-up link is good.
const SetupLife = time.Hour

// keyPrefix marks our API keys, so that scanners for leaked secrets know them.
const keyPrefix = "mgk_"

// Access answers who somebody is and what they may do.
type Access struct {
	store Store
	setup SetupStore
	now   func() time.Time

	attempts limiter
	// hashing bounds how many passwords are worked on at once: each takes 64 MiB.
	hashing chan struct{}

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
	ended int // grows when a key is deleted: what was read before is not remembered
}

// cached is an API key that was looked up a moment ago.
type cached struct {
	key   APIKey
	until time.Time
}

// cacheLife is how long a deleted API key may still work in another process;
// in this one it stops at once.
const cacheLife = 2 * time.Second

// hashesAtOnce bounds the memory that sign-ins take.
const hashesAtOnce = 2

// New makes the room. now is nil for the real clock.
func New(store Store, setup SetupStore, now func() time.Time) *Access {
	if now == nil {
		now = time.Now
	}
	return &Access{
		store: store, setup: setup, now: now,
		attempts: limiter{seen: map[string]*bucket{}},
		hashing:  make(chan struct{}, hashesAtOnce),
		cache:    map[[sha256.Size]byte]cached{},
	}
}

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

// NeedsSetup reports whether no operator exists yet.
func (a *Access) NeedsSetup(ctx context.Context) (bool, error) {
	ops, err := a.store.Operators(ctx)
	return err == nil && len(ops) == 0, err
}

// IssueSetup makes a fresh set-up link and gives its secret part; an earlier one stops working.
func (a *Access) IssueSetup(ctx context.Context) (seal.Secret, time.Time, error) {
	s, h, err := NewSecret()
	if err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	until := a.now().Add(SetupLife)
	return s, until, a.setup.CreateSetup(ctx, h, until)
}

// CheckSetup reports whether a set-up link is good, without spending it.
func (a *Access) CheckSetup(ctx context.Context, link string) (bool, error) {
	return a.setup.CheckSetup(ctx, hash(link), a.now())
}

var operatorName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{1,63}$`)

// CompleteSetup spends a set-up link: it makes the operator, or gives an
// existing one of that name a new password.
func (a *Access) CompleteSetup(ctx context.Context, link, name, password string) (Operator, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if !operatorName.MatchString(name) {
		return Operator{}, &fault.Error{
			ID: "access.operator_name", Kind: fault.Invalid, Field: "name",
			Text: "This is not a usable operator name.", Who: []fault.Who{fault.Operator},
			Remedy: "Use 2 to 64 small letters, digits, and . _ @ -, beginning with a letter or digit.",
		}
	}
	// A hash is dear: only who holds the link has one made.
	good, err := a.CheckSetup(ctx, link)
	if err != nil {
		return Operator{}, err
	}
	if !good {
		return Operator{}, &fault.Error{
			ID: "setup.spent", Kind: fault.Conflict, Text: "This set-up link has been used or has expired.", Who: []fault.Who{fault.Operator},
			Remedy: "Make a new one on the host with “mailgrant operator setup”.",
		}
	}
	done, err := a.hashTurn(ctx)
	if err != nil {
		return Operator{}, err
	}
	encoded, err := hashPassword(password)
	done()
	if err != nil {
		return Operator{}, err
	}
	now := a.now()
	o, err := a.store.Operator(ctx, name)
	switch {
	case err == nil:
		o.PasswordHash = encoded
	case fault.KindOf(err) == fault.NotFound:
		o = Operator{ID: event.NewID(), Name: name, PasswordHash: encoded, CreatedAt: now}
	default:
		return Operator{}, err
	}
	e := event.New(now, event.OperatorCreated, event.Actor{Kind: event.ActorOperator, Name: name},
		fmt.Sprintf("%s set a password through the set-up link.", name))
	if err := a.setup.SpendSetup(ctx, hash(link), now, o, e); err != nil {
		return Operator{}, err
	}
	return o, nil
}

// hashTurn waits until a password may be worked on; the caller calls done after.
func (a *Access) hashTurn(ctx context.Context) (done func(), err error) {
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tooMany refuses while a name or an address has to wait.
func (a *Access) tooMany(keys []string) error {
	wait := a.attempts.wait(a.now(), keys...)
	if wait <= 0 {
		return nil
	}
	return &fault.Error{
		ID: "access.too_many_attempts", Kind: fault.Limited, RetryAfter: wait, Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("Too many failed sign-ins; the next one is accepted in %s.", max(wait.Round(time.Second), time.Second)),
		Remedy: "Wait, then try again. A forgotten password is replaced on the server by “mailgrant operator setup”.",
	}
}

// SignIn checks an operator's name and password. Wrong names cost as much time as
// wrong passwords; after ten failures a name and an address wait.
func (a *Access) SignIn(ctx context.Context, name, password string, from netip.Addr) (Operator, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	keys := limiterKeys(name, from)
	if err := a.tooMany(keys); err != nil {
		return Operator{}, err
	}
	done, err := a.hashTurn(ctx)
	if err != nil {
		return Operator{}, err
	}
	defer done()
	// Again, since guesses sent at the same moment failed while this one waited its turn.
	if err := a.tooMany(keys); err != nil {
		return Operator{}, err
	}
	now := a.now()
	o, err := a.store.Operator(ctx, name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Operator{}, err
	}
	encoded := o.PasswordHash
	if encoded == "" {
		encoded = decoy()
	}
	if !passwordMatches(encoded, password) || o.PasswordHash == "" {
		a.attempts.failed(now, keys...)
		// A name that nobody has is not repeated: people type passwords into that field.
		e := event.New(now, event.SignInRefused, event.Actor{Kind: event.ActorOperator, Name: o.Name}, "A sign-in was refused: wrong name or password.")
		if err := a.store.WriteEvent(ctx, e.With("from", from.String())); err != nil {
			return Operator{}, err
		}
		return Operator{}, unauthenticated("access.wrong_password", "The name or the password is wrong.",
			"Try again. A forgotten password is replaced on the server by “mailgrant operator setup”.")
	}
	a.attempts.forget(keys...)
	e := event.New(now, event.OperatorSignedIn, event.Actor{Kind: event.ActorOperator, Name: o.Name}, o.Name+" signed in.")
	if err := a.store.WriteEvent(ctx, e.With("from", from.String())); err != nil {
		return Operator{}, err
	}
	return o, nil
}

// decoy is the hash of no password; it makes unknown names cost a comparison.
func decoy() string {
	return encodeHash(make([]byte, argonSalt), make([]byte, argonKey))
}

// KeyRequest is an API key to make.
type KeyRequest struct {
	Name      string
	May       []Right
	Mailboxes []string
	Networks  []string
	ExpiresAt time.Time // zero: never
}

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// CreateAPIKey makes a key and gives its secret, which is shown this once.
func (a *Access) CreateAPIKey(ctx context.Context, by event.Actor, r KeyRequest) (APIKey, seal.Secret, error) {
	if err := r.check(a.now()); err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	s, _, err := NewSecret()
	if err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	full := keyPrefix + s.Reveal()
	now := a.now()
	k := APIKey{
		ID: event.NewID(), Name: r.Name, Hash: hash(full), May: r.May, Mailboxes: r.Mailboxes, Networks: r.Networks,
		CreatedBy: by.Name, CreatedAt: now, ExpiresAt: r.ExpiresAt,
	}
	e := event.New(now, event.APIKeyCreated, by, fmt.Sprintf("The API key %s was made.", r.Name)).With("api_key", r.Name)
	if err := a.store.CreateAPIKey(ctx, k, e); err != nil {
		return APIKey{}, seal.Secret{}, err
	}
	return k, seal.NewSecret(full), nil
}

func (r *KeyRequest) check(now time.Time) error {
	bad := func(field, text, remedy string) error {
		return &fault.Error{ID: "access.api_key_field", Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}}
	}
	if !keyName.MatchString(r.Name) {
		return bad("name", "This is not a usable name.", "Use up to 64 small letters, digits, and . _ -, beginning with a letter or digit.")
	}
	if len(r.May) == 0 {
		return bad("may", "The key may do nothing.", "Give at least one of read, send, token, manage.")
	}
	for i, m := range r.May {
		if !slices.Contains([]Right{Read, Send, Token, Manage}, m) {
			return bad(fmt.Sprintf("may[%d]", i), fmt.Sprintf("There is no right “%s”.", fault.Shorten(string(m), 40)), "Allowed are read, send, token, manage.")
		}
	}
	r.Mailboxes, r.Networks = slices.Clone(r.Mailboxes), slices.Clone(r.Networks)
	for i, m := range r.Mailboxes {
		address, err := message.Address(m)
		if err != nil {
			return bad(fmt.Sprintf("mailboxes[%d]", i), fault.Of(err).Text, fault.Of(err).Remedy)
		}
		r.Mailboxes[i] = address
	}
	for i, n := range r.Networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return bad(fmt.Sprintf("networks[%d]", i), fmt.Sprintf("“%s” is not a network.", fault.Shorten(n, 60)), "Write it as 10.1.0.0/16 or 2001:db8::/32.")
		}
		r.Networks[i] = plainPrefix(p).Masked().String()
	}
	if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now) {
		return bad("expires_at", "The end date is in the past.", "Give a later one, or none.")
	}
	return nil
}

// APIKeys lists keys without their secrets.
func (a *Access) APIKeys(ctx context.Context) ([]APIKey, error) { return a.store.APIKeys(ctx) }

// Operators lists operators.
func (a *Access) Operators(ctx context.Context) ([]Operator, error) { return a.store.Operators(ctx) }

// DeleteAPIKey ends a key at once.
func (a *Access) DeleteAPIKey(ctx context.Context, by event.Actor, name string) error {
	e := event.New(a.now(), event.APIKeyDeleted, by, fmt.Sprintf("The API key %s was removed.", name)).With("api_key", name)
	if err := a.store.DeleteAPIKey(ctx, name, e); err != nil {
		return err
	}
	a.mu.Lock()
	clear(a.cache)
	a.ended++
	a.mu.Unlock()
	return nil
}

// Authenticate finds the caller behind the value of an Authorization header
// (RFC 6750 section 2.1).
func (a *Access) Authenticate(ctx context.Context, header string, from netip.Addr) (Caller, error) {
	header = strings.TrimSpace(header)
	if header == "" {
		return Caller{}, unauthenticated("access.no_api_key", "An API key is needed.",
			"Send “Authorization: Bearer mgk_…”. An operator makes a key with “mailgrant app create”.")
	}
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return Caller{}, unauthenticated("access.api_key_form", "The Authorization header does not begin with “Bearer”.",
			"Send “Authorization: Bearer mgk_…”, with the whole API key after the space.")
	case !strings.HasPrefix(value, keyPrefix), len(value) > 200:
		return Caller{}, unauthenticated("access.api_key_form", "What was sent is not an API key of Mailgrant: one begins with mgk_ and has 47 characters.",
			"Send “Authorization: Bearer mgk_…”, with the key as it was shown when it was made. An operator makes a new one with “mailgrant app create”.")
	}
	k, err := a.lookUp(ctx, sha256.Sum256([]byte(value)))
	if err != nil {
		return Caller{}, err
	}
	now := a.now()
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return Caller{}, unauthenticated("access.api_key_expired", fmt.Sprintf("The API key %s ended on %s.", k.Name, k.ExpiresAt.UTC().Format(time.DateOnly)), "Have an operator make a new one.")
	}
	if len(k.Networks) > 0 && !slices.ContainsFunc(k.Networks, func(n string) bool {
		p, err := netip.ParsePrefix(n)
		return err == nil && plainPrefix(p).Contains(from.Unmap().WithZone(""))
	}) {
		return Caller{}, forbidden(fmt.Sprintf("The API key %s may not be used from %s.", k.Name, from))
	}
	return Caller{Actor: event.Actor{Kind: event.ActorAPIKey, Name: k.Name}, May: k.May, Mailboxes: k.Mailboxes}, nil
}

// lookUp finds a key by hash, remembering good ones for a moment so that a busy
// caller does not cost a query each time.
func (a *Access) lookUp(ctx context.Context, h [sha256.Size]byte) (APIKey, error) {
	now := a.now()
	a.mu.Lock()
	c, ok := a.cache[h]
	ended := a.ended
	a.mu.Unlock()
	if ok && now.Before(c.until) {
		return c.key, nil
	}
	k, err := a.store.APIKeyByHash(ctx, h[:])
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return APIKey{}, unauthenticated("access.api_key_unknown", "This API key is not known here: it was mistyped, removed, or belongs to another server.",
			"Compare it with the key as it was shown when it was made, and see with “mailgrant app list” whether it is still there. An operator makes a new one with “mailgrant app create”.")
	}
	if err != nil {
		return APIKey{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ended != a.ended {
		return k, nil
	}
	if len(a.cache) > 10_000 {
		clear(a.cache)
	}
	a.cache[h] = cached{key: k, until: now.Add(cacheLife)}
	return k, nil
}
