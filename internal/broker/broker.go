package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// The defaults of Options.
const (
	defaultRequestDeadline = 30 * time.Second
	leaseMargin            = 15 * time.Second
	defaultRecheck         = time.Second
	defaultPerProvider     = 8
	defaultSilentAfter     = 5 * time.Minute
	defaultStorePatience   = 5 * time.Minute
)

// Options is what a Broker is made of. Zero durations and counts take the
// defaults named here.
type Options struct {
	Store     Store
	Directory Directory
	Keys      *seal.Keyset
	// Owner names one run of one process in leases; it must differ between any
	// two brokers on one store.
	Owner  string
	Logger *slog.Logger     // default slog.Default()
	Now    func() time.Time // default time.Now

	// RequestDeadline is how long a token request may take, counted from the
	// moment before its lease was taken. Default 30 s.
	RequestDeadline time.Duration
	// Lease is how long a refresh keeps others out. Default RequestDeadline +
	// 15 s; it must be longer than RequestDeadline.
	Lease time.Duration
	// Recheck is how long an opened access token is lent without asking the
	// store whether its grant still stands. Default 1 s.
	Recheck time.Duration
	// PerProvider bounds the refreshes ahead of need that run at once against
	// one provider. Default 8.
	PerProvider int
	// SilentAfter is how long the refresh loop may not have run before Watch
	// raises the alarm. Default 5 min.
	SilentAfter time.Duration
	// StorePatience is how long an answer is held in memory and offered to a
	// store that fails. Default 5 min.
	StorePatience time.Duration
}

// Broker owns every grant. It is safe for concurrent use.
type Broker struct {
	store     Store
	directory Directory
	keys      *seal.Keyset
	owner     string
	log       *slog.Logger
	now       func() time.Time

	deadline, lease, recheck   time.Duration
	silentAfter, storePatience time.Duration
	perProvider                int

	shelf   *shelf
	flights flights
	gates   gates

	lastRun  atomic.Int64 // UnixNano of the last complete round of Run
	closing  chan struct{}
	closeOne sync.Once
}

// New makes a Broker. It refuses settings under which two processes could
// use one refresh token at once.
func New(o Options) (*Broker, error) {
	if o.Store == nil || o.Directory == nil || o.Keys == nil {
		return nil, setting("", "The broker needs a store, a directory and a keyset.", "Hand it all three.")
	}
	if o.Owner == "" {
		return nil, setting("owner", "The broker needs a name for its leases.", "Give each run of each process a name of its own.")
	}
	b := &Broker{
		store: o.Store, directory: o.Directory, keys: o.Keys, owner: o.Owner, log: o.Logger, now: o.Now,
		deadline: o.RequestDeadline, lease: o.Lease, recheck: o.Recheck,
		silentAfter: o.SilentAfter, storePatience: o.StorePatience, perProvider: o.PerProvider,
		shelf: newShelf(), closing: make(chan struct{}),
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.now == nil {
		b.now = time.Now
	}
	defaultTo(&b.deadline, defaultRequestDeadline)
	defaultTo(&b.lease, b.deadline+leaseMargin)
	defaultTo(&b.recheck, defaultRecheck)
	defaultTo(&b.silentAfter, defaultSilentAfter)
	defaultTo(&b.storePatience, defaultStorePatience)
	if b.perProvider == 0 {
		b.perProvider = defaultPerProvider
	}
	if b.deadline < 0 || b.recheck < 0 || b.silentAfter < 0 || b.storePatience < 0 || b.perProvider < 0 {
		return nil, setting("", "A duration or a bound of the broker is negative.", "Give positive values, or leave them out for the defaults.")
	}
	if b.lease <= b.deadline {
		return nil, setting("lease",
			fmt.Sprintf("The lease of a refresh (%s) is not longer than its request may take (%s): a second process could send the refresh token while the first still waits for its answer.", b.lease, b.deadline),
			"Make the lease longer than the request deadline, or leave it out.")
	}
	return b, nil
}

func defaultTo(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

func setting(field, text, remedy string) error {
	return &fault.Error{
		ID: "broker.setting", Kind: fault.Invalid, Field: field, Text: text,
		Who: []fault.Who{fault.Operator}, Remedy: remedy,
	}
}

// Lend gives an access token of the mailbox for a resource ("mail", "graph")
// and when it ends. It is good for at least minTTL, or, where the provider does
// not make access tokens that last so long, for nine tenths of what it makes;
// the returned time tells. One that came less than ten seconds ago and is still
// valid is lent whatever minTTL asks, so that no wish causes a storm at the
// provider. One that is valid is lent, however short, while renewing it fails for
// a passing reason.
//
// Faults: "grant.none", "grant.dead", "grant.suspended", "grant.revoked" and
// "grant.lost_answer" (all Dead: a person must authorise),
// "grant.undeclared_resource" (Invalid), what the provider answered, and
// "broker.stopping" (Temporary).
func (b *Broker) Lend(ctx context.Context, mailboxID, resource string, minTTL time.Duration) (seal.Secret, time.Time, error) {
	k := key{mailboxID, resource}
	if e := b.shelf.find(k); e != nil {
		if now := b.now(); now.Sub(e.checked) < b.recheck && e.good(now, minTTL) {
			return e.token, e.expires, nil
		}
	}
	e, err := b.lendSlowly(ctx, k, minTTL)
	if err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	return e.token, e.expires, nil
}

// maxRounds bounds how often Lend begins anew because another process came
// between; each round waited for that process already.
const maxRounds = 5

func (b *Broker) lendSlowly(ctx context.Context, k key, minTTL time.Duration) (*entry, error) {
	var err error
	for range maxRounds {
		generation := b.shelf.generation(k.mailboxID)
		var found looked
		if found, err = b.look(ctx, k, generation); err != nil {
			return nil, err
		}
		if found.lendable(b.now(), minTTL) {
			return found.entry, nil
		}
		if w, waiting := b.shelf.waiting(k, found.secrets, b.now()); waiting {
			return found.orElse(b.now(), w.failure(b.now()))
		}
		var e *entry
		e, err = share(ctx, &b.flights, flightKey{k, renew, generation}, func() (*entry, error) {
			return b.renew(context.WithoutCancel(ctx), task{key: k, generation: generation, minTTL: minTTL, seen: found.secrets, refused: found.refused})
		})
		switch {
		case err == nil && e.good(b.now(), minTTL):
			return e, nil
		case err == nil || fault.Has(err, superseded):
			continue
		case ctx.Err() != nil || fault.KindOf(err) == fault.Dead:
			return nil, err
		}
		// The grant may have been suspended, or renewed elsewhere, during the request.
		found, again := b.look(ctx, k, b.shelf.generation(k.mailboxID))
		if again != nil {
			return nil, again
		}
		return found.orElse(b.now(), err)
	}
	if err == nil {
		err = errSuperseded()
	}
	return nil, err
}

// Refused tells the broker that a server refused this access token although it had not
// expired, so that the next Lend renews it. A mailbox is renewed for
// this reason at most once a minute: a server that refuses for another reason
// must not cause a storm at the provider.
func (b *Broker) Refused(_ context.Context, mailboxID, resource string, accessToken seal.Secret) {
	b.shelf.refuse(key{mailboxID, resource}, accessToken, b.now())
}

// Invalidate forgets what is held in memory of a mailbox, so that the next
// Lend asks the store, and joins no look or renewal that began before. Whoever
// changes a grant or a mailbox in this process calls it, after the change; other
// processes notice by themselves within Options.Recheck.
func (b *Broker) Invalidate(mailboxID string) { b.shelf.forget(mailboxID) }
