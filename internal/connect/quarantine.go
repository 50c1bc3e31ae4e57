package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// How long an authorization may wait for its mailbox, and how often it is tried.
const (
	quarantineLife = 24 * time.Hour
	firstRetry     = time.Minute
	longestRetry   = time.Hour
	tryTime        = 5 * time.Minute  // a try is surely over after that
	turn           = 20 * time.Second // how often Run looks
)

// Run lets links expire and tries quarantined authorizations again, until ctx
// ends. It returns nil then.
func (l *Links) Run(ctx context.Context) error {
	tick := time.NewTicker(turn)
	defer tick.Stop()
	for {
		if err := l.Turn(ctx); err != nil && ctx.Err() == nil {
			l.needs.Log.ErrorContext(ctx, "links and quarantine could not be looked after", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.needs.nudge:
		}
	}
}

// nudge asks Run of this process for a round at once; one that is asked for
// already is enough.
type nudge chan struct{}

func (n nudge) give() {
	select {
	case n <- struct{}{}:
	default:
	}
}

// Turn is one round of Run.
func (l *Links) Turn(ctx context.Context) error {
	now := l.needs.Now().UTC()
	_, err := l.needs.Links.ExpireLinks(ctx, now)
	due, dueErr := l.needs.Grants.DueQuarantines(ctx, now, 20)
	err = errors.Join(err, dueErr)
	for _, q := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = errors.Join(err, l.again(ctx, q))
	}
	return err
}

// again tries one quarantined authorization: it is released, dropped or waits
// on. Where somebody ended or replaced it meanwhile, that holds.
func (l *Links) again(ctx context.Context, q mailbox.Quarantine) error {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	err := l.try(ctx, q)
	if fault.Has(err, "quarantine.none") || fault.Has(err, "work.leased") || fault.Has(err, "mailbox.changed") {
		return nil
	}
	return err
}

func (l *Links) try(ctx context.Context, q mailbox.Quarantine) error {
	m, err := l.needs.Mailboxes.MailboxByID(ctx, q.MailboxID)
	if err != nil {
		return err
	}
	now := l.needs.Now().UTC()
	if !now.Before(q.ExpiresAt) {
		return l.drop(ctx, q, m, fmt.Sprintf("The mailbox %s could not be opened within %d hours, so the authorisation by %s was dropped. The last reason: %s",
			m.Address, int(quarantineLife/time.Hour), q.Display, q.CauseText), q.Cause)
	}
	if !fits(m, q.Verdict) {
		return l.drop(ctx, q, m, fmt.Sprintf("The mailbox %s was changed while the authorisation by %s waited, so that it no longer fits; it was dropped.", m.Address, q.Display), "mailbox.changed")
	}
	if err := l.needs.Aside.ClaimQuarantine(ctx, q, now.Add(tryTime)); err != nil {
		return err
	}
	q.NextTryAt = now.Add(tryTime)
	v, result, why := l.examine(ctx, m, q)
	switch result {
	case ProbeOpened:
		return l.release(ctx, q, v, now)
	case ProbeRefused:
		f := fault.Of(why)
		return l.drop(ctx, q, m, fmt.Sprintf("%s signed in, but the mailbox %s does not open: %s The authorisation was dropped.", q.Display, m.Address, f.Text), f.ID)
	}
	f := fault.Of(why)
	next := now.Add(work.Backoff(q.Tries+1, firstRetry, longestRetry))
	return l.needs.Aside.RetryQuarantine(ctx, q, earlier(next, q.ExpiresAt), aside(f))
}

// fits reports whether a verdict can still be given to a mailbox as it is
// configured now.
func fits(m mailbox.Mailbox, v mailbox.Verdict) bool {
	switch v {
	case mailbox.VerdictDelegate:
		return m.ActsAs.Delegate() != ""
	case mailbox.VerdictMatch, mailbox.VerdictAlias:
		return m.ActsAs.Delegate() == ""
	case mailbox.VerdictUnverifiable:
		return m.AllowUnknown
	}
	return false
}

// suspension is what a decisive change does, with its reason as half a sentence.
func (n Needs) suspension(reason string, by event.Actor) *Suspension {
	return &Suspension{
		Suspended: func(m mailbox.Mailbox) event.Event {
			e := event.New(n.Now(), event.GrantSuspended, by, fmt.Sprintf("The grant of %s is suspended because %s; it works again once the mailbox is authorised anew.", m.Address, reason)).
				About(m.ID, m.Address)
			e.Remedy = "Make an authorization link and send it to " + m.Principal() + "."
			return e
		},
		Dropped: func(m mailbox.Mailbox, display string) event.Event {
			e := event.New(n.Now(), event.GrantDropped, by, fmt.Sprintf("The authorisation by %s that waited in quarantine was dropped, because %s.", display, reason)).
				About(m.ID, m.Address)
			e.Cause, e.Remedy = "mailbox.changed", "Make a new authorization link and send it to "+m.Principal()+"."
			return e
		},
	}
}

// examine fetches an access token with the quarantined refresh token and opens
// the mailbox. A provider that rotates its refresh tokens gives a new one here;
// it is kept before it is used.
func (l *Links) examine(ctx context.Context, m mailbox.Mailbox, q mailbox.Quarantine) (verified, ProbeResult, error) {
	refuse := func(err error) (verified, ProbeResult, error) { return verified{}, ProbeUndecided, err }
	kind, reg, err := l.providers.Registration(ctx, m.Provider)
	if err != nil {
		return refuse(err)
	}
	refreshToken, err := l.needs.Keys.Unseal(q.RefreshToken, seal.Where("quarantine", m.ID, "refresh_token"))
	if err != nil {
		return refuse(err)
	}
	d, err := l.door(kind, reg.Record, m)
	if err != nil {
		return refuse(err)
	}
	t, err := l.fetchAccess(ctx, kind, reg, m, d.at.Resource, refreshToken)
	if err != nil {
		if fault.KindOf(err) == fault.Dead {
			return verified{}, ProbeRefused, err
		}
		return refuse(err)
	}
	if !t.RefreshToken.IsZero() {
		refreshToken = t.RefreshToken
		sealed, err := l.needs.Keys.Seal(refreshToken, seal.Where("quarantine", m.ID, "refresh_token"))
		if err == nil {
			err = l.needs.Aside.RotateQuarantine(ctx, q, sealed)
		}
		if err != nil {
			return refuse(fmt.Errorf("keep the rotated refresh token: %w", err))
		}
	}
	v := verified{
		mailbox: m, who: q.Subject, display: q.Display, verdict: q.Verdict, scopes: q.Scopes,
		refreshToken: refreshToken, access: []provider.Tokens{t}, connectedBy: q.ConnectedBy, connectedAt: q.CreatedAt,
		providerVersion: reg.Version,
	}
	result, why := d.probe(ctx, t.AccessToken)
	return v, result, why
}

func (l *Links) release(ctx context.Context, q mailbox.Quarantine, v verified, now time.Time) error {
	a, err := l.adoption(v, now)
	if err != nil {
		return err
	}
	a.Released = &q
	text := fmt.Sprintf("The mailbox %s opens now: the authorisation by %s left quarantine and is in use.", v.mailbox.Address, v.display)
	a.Events = []event.Event{event.New(now, event.GrantReleased, event.System(), text).About(v.mailbox.ID, v.mailbox.Address).
		With("verdict", string(v.verdict)).With("signed_in", v.display).With("subject", v.who.Key())}
	if err := l.needs.Grants.Adopt(ctx, a); err != nil {
		return err
	}
	l.needs.Adopted(v.mailbox.ID)
	return nil
}

func (l *Links) drop(ctx context.Context, q mailbox.Quarantine, m mailbox.Mailbox, text, cause string) error {
	e := event.New(l.needs.Now(), event.GrantDropped, event.System(), text).About(m.ID, m.Address)
	e.Cause, e.Remedy = cause, "Make a new authorization link once the cause is removed."
	return l.needs.Aside.DropQuarantine(ctx, q, e)
}

// Revoke ends a mailbox's grant and forgets its tokens, quarantine included.
func (l *Links) Revoke(ctx context.Context, address string, by event.Actor) error {
	m, err := l.mailboxes.Get(ctx, address)
	if err != nil {
		return err
	}
	now := l.needs.Now().UTC()
	err = l.needs.Grants.EndGrant(ctx, m.ID, now, EndGrant{
		Revoked: event.New(now, event.GrantRevoked, by, fmt.Sprintf("The grant of %s was ended and its tokens were forgotten.", m.Address)).About(m.ID, m.Address),
		Dropped: event.New(now, event.GrantDropped, by, fmt.Sprintf("The authorisation of %s that waited in quarantine was dropped.", m.Address)).About(m.ID, m.Address),
	})
	if err != nil {
		return err
	}
	l.needs.Changed(m.ID)
	return nil
}
