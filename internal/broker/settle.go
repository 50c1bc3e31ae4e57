package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

const (
	// assumedLife is the life of an access token whose answer names none. RFC 6749,
	// section 5.1, only recommends expires_in.
	assumedLife = 10 * time.Minute
	// keepWarm is the longest a grant rests, however long its access tokens
	// last: refresh tokens end for lack of use.
	keepWarm = 24 * time.Hour

	firstBackoff = 15 * time.Second
	slowBackoff  = 5 * time.Minute // for what only a person can mend
	mostBackoff  = 30 * time.Minute

	storeTry = 10 * time.Second // one try to store an outcome
)

// settle stores a good answer, and only then gives it out.
func (b *Broker) settle(ctx context.Context, a attempt, o opened, tokens provider.Tokens, used seal.Secret, late bool) (*entry, error) {
	now := b.now()
	got := key{a.mailboxID, a.resource}
	if tokens.Resource != "" {
		got.resource = tokens.Resource
	}
	e := &entry{token: tokens.AccessToken, obtained: now, expires: tokens.ExpiresAt, checked: now, secrets: unknownVersion, mailbox: a.m.Version}
	if e.expires.IsZero() {
		e.expires = now.Add(assumedLife)
	}
	access, err := b.keys.Seal(tokens.AccessToken, whereAccess(got))
	if err != nil {
		return nil, b.settleFailure(ctx, a, fault.Of(err), false)
	}
	next := tokens.RefreshToken
	if next.IsZero() && late {
		next = used // what was kept aside has proved itself
	}
	if next == used && !late {
		next = seal.Secret{} // the same again: nothing was rotated
	}
	refresh, err := b.keys.Seal(next, whereRefresh(a.mailboxID))
	if err != nil {
		return nil, b.settleFailure(ctx, a, fault.Of(err), false)
	}
	wrong := otherResource(tokens, o)
	due := nextRefresh(now, e.expires)
	if a.aside { // what failed for the first resource, or is due, is not mended by this one
		a.g.Failures, a.g.Cause = b.shelf.failures(a.key)
		if !a.g.NextRefreshAt.IsZero() {
			due = a.g.NextRefreshAt
		}
	}
	err = b.persist(ctx, func(ctx context.Context) error {
		return b.store.FinishRefresh(ctx, FinishRefresh{
			MailboxID: a.mailboxID, Fence: a.g.Lease.Fence,
			Access: mailbox.AccessToken{
				MailboxID: a.mailboxID, Resource: got.resource, Sealed: access,
				Scopes: tokens.Scopes, ObtainedAt: now, ExpiresAt: e.expires,
			},
			RefreshToken: refresh, Aside: a.aside, NextRefreshAt: due, Now: now,
			Events: goodNews(now, a, got.resource, e.expires, late, wrong),
		})
	})
	if fault.Has(err, "work.fenced") {
		return b.fenced(ctx, a, e, used, next)
	}
	if err != nil {
		b.log.ErrorContext(ctx, "the answer to a renewal could not be stored", "mailbox", a.m.Address, "error", err)
		return nil, err
	}
	b.gates.open(o.reg.Name)
	if wrong != nil {
		b.log.WarnContext(ctx, "access token for another resource", "mailbox", a.m.Address, "text", wrong.Text)
	}
	if got.resource != a.resource {
		b.shelf.backOff(a.key, a.generation, wait{until: now.Add(slowBackoff), secrets: unknownVersion, fault: wrong})
		return nil, wrong
	}
	if !e.valid(b.now()) {
		f := endedAtOnce(a, e.expires)
		b.shelf.backOff(a.key, a.generation, wait{until: now.Add(slowBackoff), secrets: unknownVersion, fault: f})
		return nil, f
	}
	if g, err := b.store.Grant(ctx, a.mailboxID); err == nil && g.State != mailbox.GrantActive {
		return nil, notActive(a.m, g) // suspended while the request was out: kept, not lent
	}
	b.shelf.renewed(a.key, a.generation, e)
	return e, nil
}

// settleHalf keeps the refresh token of an answer that is otherwise no good. The
// former one may be void by now, so this one becomes current; the access
// token is asked for again after a pause.
func (b *Broker) settleHalf(ctx context.Context, a attempt, next, used seal.Secret, f *fault.Error) error {
	now := b.now()
	refresh, err := b.keys.Seal(next, whereRefresh(a.mailboxID))
	if err != nil {
		return b.settleFailure(ctx, a, fault.Of(err), false)
	}
	again := now.Add(backoff(f, a.g.Failures+1))
	err = b.persist(ctx, func(ctx context.Context) error {
		return b.store.FinishRefresh(ctx, FinishRefresh{
			MailboxID: a.mailboxID, Fence: a.g.Lease.Fence, RefreshToken: refresh, Aside: a.aside, NextRefreshAt: a.due(again, now), Now: now,
			Events: badNews(now, a, f, false, again),
		})
	})
	if fault.Has(err, "work.fenced") {
		_, err = b.fenced(ctx, a, nil, used, next)
		return err
	}
	if err != nil {
		return err
	}
	w := wait{until: again, secrets: unknownVersion, fault: f}
	b.shelf.backOff(a.key, a.generation, w)
	return w.failure(now)
}

// nextRefresh is when to renew ahead of need: after 70 to 85 % of the life, at
// random, so that what began together does not stay together; daily at least.
func nextRefresh(now, expires time.Time) time.Time {
	life := min(max(expires.Sub(now), time.Minute), keepWarm)
	return now.Add(time.Duration(float64(life) * (0.70 + 0.15*rand.Float64())))
}

// jitter gives d, more or less by the share.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 - share + 2*share*rand.Float64()))
}

func goodNews(now time.Time, a attempt, resource string, expires time.Time, late bool, wrong *fault.Error) []event.Event {
	text := fmt.Sprintf("The access token for %s was renewed; it is valid until %s.", resource, moment(expires))
	if late {
		text = fmt.Sprintf("The access token for %s was renewed with the late answer that was kept aside; it is valid until %s.", resource, moment(expires))
	}
	e := event.New(now, event.GrantRefreshed, event.System(), text).About(a.mailboxID, a.m.Address).
		With("resource", resource).With("expires_at", expires.UTC().Format(time.RFC3339))
	if wrong != nil {
		e = e.Because(wrong)
	}
	events := []event.Event{e}
	switch {
	case a.g.Failures > 0:
		text := fmt.Sprintf("Renewal works again after %d failed tries.", a.g.Failures)
		if a.g.Failures == 1 {
			text = "Renewal works again after one failed try."
		}
		events = append(events, event.New(now, event.GrantRecovered, event.System(), text).About(a.mailboxID, a.m.Address))
	case a.open():
		text := fmt.Sprintf("A renewal begun at %s had been cut off; its repetition succeeded.", moment(a.g.Intent.At))
		events = append(events, event.New(now, event.GrantRecovered, event.System(), text).About(a.mailboxID, a.m.Address))
	}
	return events
}

// fenced brings home an answer that came when another process, or a new
// authorization, had already taken over: a new refresh token is kept
// aside, nothing else is changed.
func (b *Broker) fenced(ctx context.Context, a attempt, e *entry, used, next seal.Secret) (*entry, error) {
	if g, err := b.store.Grant(ctx, a.mailboxID); err == nil && !next.IsZero() {
		// A commit whose acknowledgement was lost looks like this too: it is stored.
		if current, err := b.keys.Unseal(g.RefreshToken, whereRefresh(a.mailboxID)); err == nil && current == next && e != nil {
			if g.State != mailbox.GrantActive {
				return nil, notActive(a.m, g) // suspended since: kept, not lent
			}
			b.shelf.renewed(a.key, a.generation, e)
			return e, nil
		}
	}
	if next.IsZero() || next == used {
		return nil, errSuperseded()
	}
	now := b.now()
	candidate, err := b.keys.Seal(asCandidate(used, next), whereRefresh(a.mailboxID))
	if err != nil {
		return nil, err
	}
	told := event.New(now, event.GrantLateAnswer, event.System(), fmt.Sprintf(
		"The answer to a renewal begun at %s came after %s, when another process had already taken over. Its refresh token is kept aside and the grant was not changed.",
		moment(a.begun), now.Sub(a.begun).Round(time.Millisecond))).About(a.mailboxID, a.m.Address).With("resource", a.resource)
	err = b.persist(ctx, func(ctx context.Context) error { return b.store.KeepLateAnswer(ctx, a.mailboxID, candidate, told) })
	if kind := fault.KindOf(err); kind == fault.Dead || kind == fault.NotFound {
		return nil, errSuperseded() // revoked or removed meanwhile: nothing is kept for it
	}
	if err != nil {
		b.log.ErrorContext(ctx, "a late answer could not be kept", "mailbox", a.m.Address, "error", err)
		return nil, err
	}
	b.log.WarnContext(ctx, "late answer kept aside", "mailbox", a.m.Address)
	return nil, errSuperseded()
}

// settleFailure records that a renewal failed, sets the back-off, and gives the failure.
// unsent says that nothing left this machine. For another resource than the
// mailbox's first, no answer says anything about the grant: consent or a policy
// may be missing for that resource alone. A refresh token that has ended shows at
// the next renewal for the first one.
func (b *Broker) settleFailure(ctx context.Context, a attempt, f *fault.Error, unsent bool) error {
	now := b.now()
	if a.aside {
		a.g.Failures, a.g.Cause = b.shelf.failures(a.key)
		if f.Kind == fault.Dead && !unsent {
			soft := *f
			soft.Kind, soft.Retry = fault.Refused, true
			f = &soft
		}
	}
	dead := f.Kind == fault.Dead && !unsent
	if dead && a.open() {
		f = lost(a.m, a.g.Intent, a.g.Cause, f)
	}
	// An answer nobody could classify may have been a good one.
	unanswered := !unsent && (f.ID == noAnswer || f.Kind == fault.Internal)
	pause := backoff(f, a.g.Failures+1)
	next := now.Add(pause)
	if a.open() && !dead && f.RetryAfter == 0 {
		next = now.Add(min(pause, slowBackoff)) // an open question is not left long
	}
	told := badNews(now, a, f, dead, next)
	err := b.persist(ctx, func(ctx context.Context) error {
		return b.store.FailRefresh(ctx, FailRefresh{
			MailboxID: a.mailboxID, Fence: a.g.Lease.Fence, KeepIntent: !dead && (unanswered || a.open()), Dead: dead, Aside: a.aside,
			NextRefreshAt: a.due(next, now), Cause: f.ID, CauseText: f.Text, Remedy: f.Remedy, Now: now, Events: told,
		})
	})
	switch {
	case fault.Has(err, "work.fenced"):
		return errSuperseded() // whoever took over decides
	case err != nil:
		return err
	}
	if f.ID == invalidClient && !unsent {
		b.shutGate(ctx, a, f, next)
	}
	if dead {
		b.shelf.drop(a.key)
		b.log.ErrorContext(ctx, "grant has ended", "mailbox", a.m.Address, "cause", f.ID, "error", f)
		return f
	}
	b.log.WarnContext(ctx, "renewal failed", "mailbox", a.m.Address, "cause", f.ID, "again_at", next, "error", f)
	w := wait{until: next, secrets: a.g.SecretsVersion, fault: f, failures: a.g.Failures + 1}
	b.shelf.backOff(a.key, a.generation, w)
	return w.failure(now)
}

// backoff is the pause after the nth failure in a row. A wait the provider
// asked for is never cut short.
func backoff(f *fault.Error, n int) time.Duration {
	first := firstBackoff
	if f.ID == invalidClient {
		n = 1 // the gate spares the provider already; a new secret shall help soon
	}
	switch f.Kind {
	case fault.Temporary, fault.Internal:
	case fault.Limited:
		first = time.Minute
	default:
		first = slowBackoff
	}
	pause := jitter(work.Backoff(n, first, mostBackoff), 0.2)
	if f.RetryAfter > 0 {
		pause = max(pause, time.Duration(float64(f.RetryAfter)*(1+0.2*rand.Float64())))
	}
	return pause
}

func badNews(now time.Time, a attempt, f *fault.Error, dead bool, next time.Time) []event.Event {
	n := a.g.Failures + 1
	if dead {
		return []event.Event{event.New(now, event.GrantDead, event.System(), f.Text).About(a.mailboxID, a.m.Address).
			Because(f).With("resource", a.resource)}
	}
	// Repetitions of one failure are told ever more rarely: the 1st, 2nd, 4th, 8th…
	if f.ID == a.g.Cause && n&(n-1) != 0 {
		return nil
	}
	text := fmt.Sprintf("Renewing the access token for %s failed: %s The next try is at %s.", a.resource, f.Text, moment(next))
	return []event.Event{event.New(now, event.GrantRefreshFailed, event.System(), text).About(a.mailboxID, a.m.Address).
		Because(f).With("resource", a.resource).With("provider", a.m.Provider).With("failures", fmt.Sprint(n))}
}

// persist offers an outcome to the store until it takes it, refuses it for a reason, or
// the patience ends. The fence makes repeating safe at any time.
func (b *Broker) persist(ctx context.Context, write func(context.Context) error) error {
	end := b.now().Add(b.storePatience)
	for pause := firstPause; ; pause = min(pause*2, mostPause) {
		try, cancel := context.WithTimeout(ctx, storeTry)
		err := write(try)
		cancel()
		switch fault.KindOf(err) {
		case fault.Internal, fault.Temporary, fault.Limited:
		default:
			return err
		}
		now := b.now()
		if b.isClosing() && end.After(now.Add(b.lease)) {
			end = now.Add(b.lease)
		}
		if err == nil || now.After(end) {
			return err
		}
		b.log.WarnContext(ctx, "the store did not take the outcome of a renewal; trying again", "error", err)
		time.Sleep(jitter(pause, 0.2))
	}
}
