package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// task is one wish to renew.
type task struct {
	key
	generation uint64 // of the shelf, when the wish arose
	minTTL     time.Duration
	seen       int64 // SecretsVersion at which the stored access token was found wanting
	refused    bool  // because a server refused it
	ahead      bool  // by the loop: only when still due, and never waiting for another process
}

// attempt is a task under its lease.
type attempt struct {
	task
	m     mailbox.Mailbox
	g     mailbox.Grant // as BeginRefresh gave it: lease ours, Intent the one open before
	begun time.Time     // the moment before the lease was taken
	// aside: for another resource than the mailbox's first, which alone is renewed
	// ahead of need. When that is due is then left as it was.
	aside bool
}

// due is when the loop shall take the grant up again.
func (a attempt) due(next, now time.Time) time.Time {
	if a.aside && a.g.NextRefreshAt.After(now) {
		return a.g.NextRefreshAt
	}
	return next
}

// open reports whether an earlier request of this grant has no answer.
func (a attempt) open() bool { return !a.g.Intent.IsZero() }

// renew runs the protocol of the package documentation once: take the lease,
// ask, store, and only then hand out.
func (b *Broker) renew(ctx context.Context, t task) (*entry, error) {
	m, err := b.directory.MailboxByID(ctx, t.mailboxID)
	if err != nil {
		return nil, err
	}
	o, broken := b.declared(ctx, m, t.resource)
	switch {
	case broken != nil && !t.ahead:
		return nil, broken
	case broken != nil:
		// The loop must record it, or the grant would stay first among those due.
		t.resource = provider.ResourceMail
	default:
		t.resource = o.resource.Name
	}
	aside := broken == nil && t.resource != o.resources[0].Name
	a, done, err := b.begin(ctx, attempt{task: t, m: m, aside: aside})
	if err != nil || done != nil {
		return done, err
	}
	if broken != nil {
		return nil, b.settleFailure(ctx, a, fault.Of(broken), true)
	}
	if f := b.gates.shut(o.reg.Record, b.now()); f != nil {
		return nil, b.settleFailure(ctx, a, f, true)
	}
	return b.ask(ctx, a, o)
}

// begin takes the lease. It gives an entry instead where another process renewed
// in the meantime: so the callers of all processes together cause one request.
func (b *Broker) begin(ctx context.Context, a attempt) (attempt, *entry, error) {
	for {
		if b.isClosing() {
			return a, nil, errStopping()
		}
		a.begun = b.now()
		g, err := b.store.BeginRefresh(ctx, BeginRefresh{
			MailboxID: a.mailboxID, Resource: a.resource, Owner: b.owner, Now: a.begun, Until: a.begun.Add(b.lease),
		})
		a.g = g
		switch {
		case err == nil:
			e, err := b.overtaken(ctx, a)
			return a, e, err
		case fault.Has(err, "grant.not_active"):
			return a, nil, notActive(a.m, g)
		case !fault.Has(err, "work.leased"):
			return a, nil, withoutGrant(a.m, err)
		case a.ahead:
			return a, nil, errSuperseded()
		}
		if e, err := b.await(ctx, a); e != nil || err != nil {
			return a, e, err
		}
	}
}

// overtaken looks, under the lease, whether somebody finished between our look
// and our lease; then the lease is given back by storing what is there. An open
// intent is resolved by a request in any case.
func (b *Broker) overtaken(ctx context.Context, a attempt) (*entry, error) {
	if a.open() || (a.ahead && !a.g.NextRefreshAt.After(a.begun)) || (!a.ahead && a.g.SecretsVersion == a.seen) {
		return nil, nil
	}
	at, err := b.store.AccessToken(ctx, a.mailboxID, a.resource)
	if err != nil {
		return nil, b.settleFailure(ctx, a, fault.Of(err), true)
	}
	e, err := b.stored(ctx, a.key)
	if err != nil || e == nil || (!a.ahead && (!e.good(b.now(), a.minTTL) || b.shelf.isRefused(a.key, e.token))) {
		// Nothing there that would do, or that opens: go on and ask.
		return nil, nil
	}
	e.checked = a.begun
	err = b.persist(ctx, func(ctx context.Context) error {
		return b.store.FinishRefresh(ctx, FinishRefresh{
			MailboxID: a.mailboxID, Fence: a.g.Lease.Fence, Access: at, Aside: a.aside, NextRefreshAt: a.g.NextRefreshAt, Now: b.now(),
		})
	})
	if err != nil && !fault.Has(err, "work.fenced") {
		return nil, err
	}
	return e, nil
}

// The pauses between looks at another process's refresh.
const (
	firstPause = 20 * time.Millisecond
	mostPause  = time.Second
)

// await waits for the process that holds the lease. It gives its access token,
// its failure, or neither when the lease is free.
func (b *Broker) await(ctx context.Context, a attempt) (*entry, error) {
	failures, seen := a.g.Failures, a.g.SecretsVersion
	for pause := firstPause; ; pause = min(pause*3/2, mostPause) {
		select {
		case <-time.After(jitter(pause, 0.2)):
		case <-b.closing:
			return nil, errStopping()
		}
		g, err := b.store.Grant(ctx, a.mailboxID)
		if err != nil {
			return nil, withoutGrant(a.m, err)
		}
		now := b.now()
		switch {
		case g.State != mailbox.GrantActive:
			return nil, notActive(a.m, g)
		case g.SecretsVersion != seen || g.SecretsVersion != a.seen:
			seen = g.SecretsVersion
			e, err := b.stored(ctx, a.key)
			if err != nil {
				return nil, err
			}
			if e != nil && e.good(now, a.minTTL) && !b.shelf.isRefused(a.key, e.token) {
				e.checked = now
				b.shelf.renewed(a.key, a.generation, e)
				return e, nil
			}
		}
		if g.Lease.Held(now) {
			continue
		}
		if g.Failures > failures && g.Cause != "" && a.g.Intent.Resource == a.resource {
			f := failureOf(g, now)
			b.shelf.backOff(a.key, a.generation, wait{until: now.Add(min(f.RetryAfter, mostBackoff)), secrets: g.SecretsVersion, fault: f})
			return nil, f
		}
		return nil, nil
	}
}

// ask sends the request, twice at most, and settles its outcome.
func (b *Broker) ask(ctx context.Context, a attempt, o opened) (*entry, error) {
	if a.refused {
		b.shelf.force(a.mailboxID, b.now())
	}
	current, err := b.keys.Unseal(a.g.RefreshToken, whereRefresh(a.mailboxID))
	if err != nil {
		return nil, b.settleFailure(ctx, a, fault.Of(err), true)
	}
	used, late := current, false
	if a.open() {
		if next := b.successor(a.g, current); !next.IsZero() {
			used, late = next, true
		}
	}
	tokens, f, sent := b.request(ctx, a, o, used)
	if f != nil && f.Kind == fault.Dead && a.open() && !late {
		// The process whose answer we miss may have brought it home since.
		if g, err := b.store.Grant(ctx, a.mailboxID); err == nil {
			if next := b.successor(g, current); !next.IsZero() {
				used, late = next, true
				tokens, f, sent = b.request(ctx, a, o, used)
			}
		}
	}
	if f != nil && !tokens.RefreshToken.IsZero() && tokens.RefreshToken != used {
		return nil, b.settleHalf(ctx, a, tokens.RefreshToken, used, f)
	}
	if f != nil {
		return nil, b.settleFailure(ctx, a, f, !sent)
	}
	return b.settle(ctx, a, o, tokens, used, late)
}

// request asks the provider within what is left of the deadline. sent is false
// where it is certain that nothing left this machine.
func (b *Broker) request(ctx context.Context, a attempt, o opened, refreshToken seal.Secret) (tokens provider.Tokens, f *fault.Error, sent bool) {
	end := a.begun.Add(b.deadline)
	left := end.Sub(b.now())
	if left < b.deadline/2 {
		return tokens, &fault.Error{
			ID: "grant.no_time", Kind: fault.Temporary,
			Text: fmt.Sprintf("Taking the lease took so long that only %s were left for the request; it was not sent.", max(left, 0).Round(time.Millisecond)),
			Who:  []fault.Who{fault.Operator}, Remedy: "If it happens often, the database or this machine is overloaded.", Retry: true,
		}, false
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	tokens, err := o.kind.Refresh(ctx, o.reg, refreshToken, o.resource)
	if err != nil {
		return tokens, fault.Of(err), true
	}
	if tokens.AccessToken.IsZero() {
		return tokens, &fault.Error{
			ID: noAnswer, Kind: fault.Temporary, Text: "The authorization server's answer held no access token.",
			Who: []fault.Who{fault.Provider}, Remedy: "The request is repeated.", Retry: true,
		}, true
	}
	return tokens, nil, true
}

// whereRefresh is the place of every refresh token of a grant: current, previous and candidate.
func whereRefresh(mailboxID string) []byte { return seal.Where("grant", mailboxID, "refresh_token") }

// A candidate is kept as the digest of the refresh token it answers, followed
// by itself. So it can never serve another consent than the one that it came from,
// and never come after its time.

// asCandidate joins a late refresh token with the digest of the one it followed.
func asCandidate(used, late seal.Secret) seal.Secret {
	digest := sha256.Sum256([]byte(used.Reveal()))
	return seal.NewSecret(string(digest[:]) + late.Reveal())
}

// successor opens the grant's candidate where it is the direct successor of
// the current refresh token; no secret otherwise.
func (b *Broker) successor(g mailbox.Grant, current seal.Secret) seal.Secret {
	kept, err := b.keys.Unseal(g.Candidate, whereRefresh(g.MailboxID))
	if err != nil || len(kept.Reveal()) <= sha256.Size {
		return seal.Secret{}
	}
	digest := sha256.Sum256([]byte(current.Reveal()))
	if subtle.ConstantTimeCompare(digest[:], []byte(kept.Reveal()[:sha256.Size])) != 1 {
		return seal.Secret{}
	}
	return seal.NewSecret(kept.Reveal()[sha256.Size:])
}
