package connect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// adopt makes what was verified the mailbox's grant.
func (f *finishing) adopt(ctx context.Context) error {
	now := f.needs.Now().UTC()
	f.done = f.outcome(now, adoptedText(f.mailbox, f.binding.Verdict, shown(f.who)), "")
	a, err := f.adoption(verified{
		mailbox: f.mailbox, who: f.who.Subject, display: shown(f.who), verdict: f.binding.Verdict,
		scopes: f.tokens.Scopes, refreshToken: f.tokens.RefreshToken, access: f.access, connectedBy: f.link.CreatedBy.Name,
		providerVersion: f.reg.Version,
	}, now)
	if err != nil {
		return err
	}
	a.Link = SpentLink{LinkID: f.link.ID, Outcome: f.done}
	kind, text := event.GrantCreated, "The mailbox "+f.mailbox.Address+" has its first grant."
	if f.present.MailboxID != "" {
		kind = event.GrantReplaced
		text = fmt.Sprintf("A new authorisation replaced the grant of %s, which %s had given.", f.mailbox.Address, orUnknown(f.present.Display))
	}
	a.Events = []event.Event{
		f.event(now, event.AttemptGranted, f.done.Text),
		f.event(now, kind, text),
	}
	if err := f.needs.Grants.Adopt(ctx, a); err != nil {
		if fault.Has(err, "mailbox.changed") {
			return errMailboxChanged(err)
		}
		return fmt.Errorf("store the grant of %s: %w", f.mailbox.Address, spentWords(err))
	}
	f.needs.Adopted(f.mailbox.ID)
	return nil
}

// setAside keeps what could not be verified to its end, sealed and apart. A
// grant in place goes on as if nothing had happened.
func (f *finishing) setAside(ctx context.Context, why error) error {
	now, cause := f.needs.Now().UTC(), fault.Of(why)
	f.quarantined = true
	f.done = f.outcome(now, fmt.Sprintf("%s signed in, as expected. The mail server could not be asked yet whether the mailbox %s opens: %s Mailgrant keeps trying until %s.",
		shown(f.who), f.mailbox.Address, cause.Text, clock(now.Add(quarantineLife))), cause.ID)
	// The owner's page says that they are done; this is for whoever repairs it.
	f.done.Remedy = aside(cause).Remedy
	sealed, err := f.needs.Keys.Seal(f.tokens.RefreshToken, seal.Where("quarantine", f.mailbox.ID, "refresh_token"))
	if err != nil {
		return fmt.Errorf("seal the refresh token: %w", err)
	}
	q := mailbox.Quarantine{
		MailboxID: f.mailbox.ID, Subject: f.who.Subject, Display: shown(f.who), Verdict: f.binding.Verdict,
		Scopes: f.tokens.Scopes, RefreshToken: sealed, ConnectedBy: f.link.CreatedBy.Name,
		CreatedAt: now, ExpiresAt: now.Add(quarantineLife), NextTryAt: now.Add(firstRetry),
	}.Because(aside(cause))
	e := f.event(now, event.GrantQuarantined, f.done.Text).Because(cause)
	err = f.needs.Grants.SetAside(ctx, SetAside{
		Quarantine: q, IfMailboxVersion: f.mailbox.Version, IfProviderVersion: f.reg.Version,
		Link: SpentLink{LinkID: f.link.ID, Outcome: f.done}, Event: e,
	})
	if fault.Has(err, "mailbox.changed") {
		return errMailboxChanged(err)
	}
	if err != nil {
		return fmt.Errorf("store the quarantine of %s: %w", f.mailbox.Address, spentWords(err))
	}
	return nil
}

func (f *finishing) outcome(now time.Time, text, cause string) Outcome {
	return Outcome{
		AttemptID: f.attempt.ID, At: now, OK: true, Verdict: f.binding.Verdict, Expected: f.mailbox.Principal(),
		SignedIn: shown(f.who), Text: text, Cause: cause,
	}
}

func (f *finishing) event(now time.Time, kind event.Kind, text string) event.Event {
	return event.New(now, kind, f.actor(), text).About(f.mailbox.ID, f.mailbox.Address).
		With("link_id", f.link.ID).With("attempt_id", f.attempt.ID).With("verdict", string(f.binding.Verdict)).
		With("signed_in", shown(f.who)).With("subject", f.who.Key()).With("connected_by", f.link.CreatedBy.Name)
}

func adoptedText(m mailbox.Mailbox, v mailbox.Verdict, who string) string {
	switch v {
	case mailbox.VerdictAlias:
		return fmt.Sprintf("%s signed in, whose alias %s is. The mailbox opens and is connected.", who, m.Principal())
	case mailbox.VerdictDelegate:
		return fmt.Sprintf("%s signed in, who acts for %s as declared. The mailbox opens and is connected.", who, m.Address)
	case mailbox.VerdictUnverifiable:
		return fmt.Sprintf("%s signed in. Nothing proves that this is %s, which an operator allowed for this mailbox. It opens and is connected.", who, m.Principal())
	default:
		return fmt.Sprintf("%s signed in, as expected. The mailbox opens and is connected.", who)
	}
}

// verified is an authorization that passed, from a callback or from quarantine.
type verified struct {
	mailbox      mailbox.Mailbox
	who          provider.Subject
	display      string
	verdict      mailbox.Verdict
	scopes       []string
	refreshToken seal.Secret
	access       []provider.Tokens
	connectedBy  string
	connectedAt  time.Time // zero: now
	// providerVersion is that of the registration it was verified with.
	providerVersion int64
}

// adoption seals the tokens for their rows.
func (l *Links) adoption(v verified, now time.Time) (Adoption, error) {
	refreshToken, err := l.needs.Keys.Seal(v.refreshToken, seal.Where("grant", v.mailbox.ID, "refresh_token"))
	if err != nil {
		return Adoption{}, fmt.Errorf("seal the refresh token: %w", err)
	}
	a := Adoption{
		Grant: mailbox.Grant{
			MailboxID: v.mailbox.ID, State: mailbox.GrantActive, Verdict: v.verdict, Subject: v.who, Display: v.display,
			Scopes: v.scopes, ConnectedAt: v.connectedAt, ConnectedBy: v.connectedBy, RefreshToken: refreshToken,
			NextRefreshAt: now, LastRefreshAt: now,
		},
		IfMailboxVersion: v.mailbox.Version, IfProviderVersion: v.providerVersion, Now: now,
	}
	if v.connectedAt.IsZero() {
		a.Grant.ConnectedAt = now
	}
	newest := map[string]provider.Tokens{}
	for _, t := range v.access {
		newest[t.Resource] = t
	}
	for resource, t := range newest {
		sealed, err := l.needs.Keys.Seal(t.AccessToken, seal.Where("access_token", v.mailbox.ID, resource))
		if err != nil {
			return Adoption{}, fmt.Errorf("seal the access token for %s: %w", resource, err)
		}
		a.Access = append(a.Access, mailbox.AccessToken{
			MailboxID: v.mailbox.ID, Resource: resource, Sealed: sealed, Scopes: t.Scopes, ObtainedAt: now, ExpiresAt: t.ExpiresAt,
		})
		if next := aheadOf(now, t.ExpiresAt); resource == provider.ResourceMail || a.Grant.NextRefreshAt.Equal(now) {
			a.Grant.NextRefreshAt = next
		}
	}
	return a, nil
}

// aheadOf is when to renew an access token first: after three quarters of its
// life, so that a failure leaves time to try again.
func aheadOf(now, expires time.Time) time.Time {
	life := expires.Sub(now)
	if life <= 0 {
		return now
	}
	return now.Add(life * 3 / 4)
}

// fetchAccess asks for an access token of another resource with a refresh token
// that is not in any grant yet.
func (l *Links) fetchAccess(ctx context.Context, kind provider.Kind, reg provider.Registration, m mailbox.Mailbox, resource string, refreshToken seal.Secret) (provider.Tokens, error) {
	all, err := kind.Resources(reg.Record, m.Uses(), m.Profile)
	if err != nil {
		return provider.Tokens{}, err
	}
	var names []string
	for _, r := range all {
		if r.Name == resource {
			return kind.Refresh(ctx, reg, refreshToken, r)
		}
		names = append(names, r.Name)
	}
	return provider.Tokens{}, fmt.Errorf("connect: the resource %q is none of the mailbox's: %s", resource, strings.Join(names, ", "))
}
