// Package idempotency lets a call that creates something happen once, however
// often it is sent: the caller names it with an Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header), and a repetition gets the first
// answer.
//
//	            Do                 made: its answer is kept      24 h
//	(none) ───────────▶ running ────────────────────────▶ made ───────▶ (none)
//	   ▲                 │  ▲
//	   └─────────────────┘  └── the lease ran out: the process died, the next one runs it
//	    refused: the key is free again
//
// It is a room of its own because it is a rule about calls and about nothing
// else: it knows no operation, and the face that hands calls to it decides
// nothing. It is not part of access, which says who may call, and not of the
// store, which could not tell what a repetition of the request is.
//
// A key belongs to one caller and one path. Under it one request is kept, as a
// sealed digest: it may be of a password, which a plain one would let a thief of
// the database guess. The answer is kept as it was given, without the secrets
// that are shown once: whoever hands it over leaves them out.
//
// A refusal is not kept: it changed nothing, and what it complained of may be
// mended. Once begun, a call runs to its end even when its caller goes away, so
// that the caller's repetition finds the answer. Where the process dies before
// the answer is kept, the key is free again as soon as the lease has run out;
// what the dead process created is then there, and a repetition meets it as it
// would meet anybody's.
//
// Submissions do not come here: the outbox keeps their keys itself, in the
// transaction that accepts the message, until their retention ends.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Life is how long an answer is kept under its key.
const Life = 24 * time.Hour

// MaxKey is the longest key, in bytes.
const MaxKey = 255

const (
	// runTime bounds a call; lease is longer, so that nobody takes over a call that
	// may still run.
	runTime = 2 * time.Minute
	lease   = runTime + 30*time.Second
	// comeBack is when to ask again for a call that runs.
	comeBack = 2 * time.Second

	purgeEvery = time.Hour
	purgeBatch = 500
)

// Call is a call as it came in.
type Call struct {
	Caller  string // who calls
	Path    string // what is called
	Key     string // the Idempotency-Key
	Request []byte // what is asked, in a form in which equal requests are equal
}

// Answer is what a call came to; Body holds no secret.
type Answer struct {
	Status int
	Body   []byte
}

// Record is a call as it is stored. Until it has an answer, it is leased to who
// runs it.
type Record struct {
	ID        string
	Caller    string
	Path      string
	Key       string
	Digest    seal.Sealed // of the request; see Where
	Fence     int64
	LeasedTo  time.Time // until when it is thought to run
	Answer    Answer    // Status 0: none yet
	ExpiresAt time.Time
}

// Where is the associated data of a record's digest.
func Where(id string) []byte { return seal.Where("idempotency_key", id, "digest") }

// Store keeps calls.
type Store interface {
	// BeginCall stores a call that is about to run. Where the caller has one under
	// this path and key that has not expired, nothing changes, and that one is
	// given: begun is false.
	BeginCall(ctx context.Context, r Record, now time.Time) (stored Record, begun bool, err error)
	// ResumeCall takes a call without an answer over from whoever had it under this
	// fence, if that lease has run out; "work.fenced" (Conflict).
	ResumeCall(ctx context.Context, id string, fence int64, now, until time.Time) (Record, error)
	// AnswerCall keeps the answer of a call; "work.fenced" (Conflict).
	AnswerCall(ctx context.Context, id string, fence int64, a Answer) error
	// ForgetCall frees the key of a call that was refused; "work.fenced" (Conflict).
	ForgetCall(ctx context.Context, id string, fence int64) error
	// PurgeCalls removes at most limit expired calls and gives their number.
	PurgeCalls(ctx context.Context, now time.Time, limit int) (int, error)
}

// Keys seals.
type Keys interface {
	Seal(s seal.Secret, where []byte) (seal.Sealed, error)
	Unseal(s seal.Sealed, where []byte) (seal.Secret, error)
}

// Calls runs calls once.
type Calls struct {
	store Store
	keys  Keys
	now   func() time.Time
	log   *slog.Logger
}

// New makes the room. now is nil for the real clock, log nil for none.
func New(store Store, keys Keys, now func() time.Time, log *slog.Logger) *Calls {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Calls{store: store, keys: keys, now: now, log: log}
}

// Do runs a call unless it ran before under its key: then it gives the answer
// of that time, and replayed is true. The same key with another request is
// "idempotency.key_reused" (Invalid); a call that runs just now is
// "idempotency.running" (Conflict).
func (c *Calls) Do(ctx context.Context, call Call, run func(context.Context) (Answer, error)) (a Answer, replayed bool, err error) {
	if err := CheckKey(call.Key); err != nil {
		return Answer{}, false, err
	}
	r, begun, err := c.begin(ctx, call)
	if err != nil {
		return Answer{}, false, err
	}
	if !begun {
		return r.Answer, true, nil
	}
	// What is done after the call must be done even when its caller is gone.
	after := context.WithoutCancel(ctx)
	kept := false
	defer func() {
		if kept {
			return
		}
		if err := c.store.ForgetCall(after, r.ID, r.Fence); err != nil {
			c.log.WarnContext(after, "an idempotency key stays taken until its lease ends", "path", call.Path, "error", err)
		}
	}()
	running, cancel := context.WithTimeout(after, runTime)
	defer cancel()
	if a, err = run(running); err != nil {
		return Answer{}, false, err
	}
	kept = true
	if err := c.store.AnswerCall(after, r.ID, r.Fence, a); err != nil {
		// What was asked for is done: to refuse now would be false.
		c.log.WarnContext(after, "the answer to a call could not be kept under its idempotency key", "path", call.Path, "error", err)
	}
	return a, false, nil
}

// begin gives the call's record: one to run, or one with its answer.
func (c *Calls) begin(ctx context.Context, call Call) (r Record, begun bool, err error) {
	now := c.now()
	digest := sha256.Sum256(call.Request)
	r = Record{
		ID: event.NewID(), Caller: call.Caller, Path: call.Path, Key: call.Key, Fence: 1, LeasedTo: now.Add(lease), ExpiresAt: now.Add(Life),
	}
	if r.Digest, err = c.keys.Seal(seal.NewSecret(string(digest[:])), Where(r.ID)); err != nil {
		return Record{}, false, fmt.Errorf("seal the digest of a call: %w", err)
	}
	if r, begun, err = c.store.BeginCall(ctx, r, now); err != nil || begun {
		return r, begun, err
	}
	before, err := c.keys.Unseal(r.Digest, Where(r.ID))
	if err != nil {
		return Record{}, false, fmt.Errorf("open the digest of a call: %w", err)
	}
	switch {
	case !bytes.Equal([]byte(before.Reveal()), digest[:]):
		return Record{}, false, &fault.Error{
			ID: "idempotency.key_reused", Kind: fault.Invalid, Field: "Idempotency-Key", Who: []fault.Who{fault.Operator},
			Text:   "This idempotency key was used before for another request.",
			Remedy: "Use a fresh key for every request, and the same key only to repeat the same request.",
		}
	case r.Answer.Status != 0:
		return r, false, nil
	case now.Before(r.LeasedTo):
		return Record{}, false, underWay()
	}
	r, err = c.store.ResumeCall(ctx, r.ID, r.Fence, now, now.Add(lease))
	if fault.Has(err, "work.fenced") { // another repetition was quicker
		err = underWay()
	}
	return r, err == nil, err
}

func underWay() error {
	return &fault.Error{
		ID: "idempotency.running", Kind: fault.Conflict, Field: "Idempotency-Key", Who: []fault.Who{fault.Nobody}, RetryAfter: comeBack,
		Text:   "The request that was sent first under this idempotency key is still under way.",
		Remedy: "Send it again in a few seconds, with the same key: the answer is then the first one's.",
	}
}

// CheckKey refuses a key that cannot be one.
func CheckKey(key string) error {
	good := key != "" && len(key) <= MaxKey
	for i := range len(key) {
		good = good && key[i] >= 0x20 && key[i] < 0x7f
	}
	if good {
		return nil
	}
	return &fault.Error{
		ID: "idempotency.key", Kind: fault.Invalid, Field: "Idempotency-Key", Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("The idempotency key is not 1 to %d visible ASCII characters.", MaxKey),
		Remedy: "Use a UUID, made anew for every request.",
	}
}

// Run removes expired keys, at start and hourly, until ctx ends.
func (c *Calls) Run(ctx context.Context) error {
	for {
		rest := purgeEvery
		n, err := c.store.PurgeCalls(ctx, c.now(), purgeBatch)
		switch {
		case err != nil && ctx.Err() == nil:
			c.log.WarnContext(ctx, "expired idempotency keys could not be removed; it is tried again in an hour", "error", err)
		case n == purgeBatch:
			rest = 100 * time.Millisecond // others write too
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}
