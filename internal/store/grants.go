package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

var (
	_ broker.Store       = (*Store)(nil)
	_ connect.GrantStore = (*Store)(nil)
	_ connect.EventStore = (*Store)(nil)
)

const grantColumns = `mailbox_id, state, verdict, subject, display, scopes, connected_at, connected_by,
	refresh_token, previous_refresh_token, candidate, lease_owner, lease_fence, lease_until,
	intent_fence, intent_resource, intent_at, next_refresh_at, last_refresh_at, failures, cause, cause_text, remedy, secrets_version`

func scanGrant(g *mailbox.Grant) []any {
	return []any{
		&g.MailboxID, &g.State, &g.Verdict, from(&g.Subject), &g.Display, from(&g.Scopes), at(&g.ConnectedAt), &g.ConnectedBy,
		shut(&g.RefreshToken), shut(&g.PreviousToken), shut(&g.Candidate), &g.Lease.Owner, &g.Lease.Fence, at(&g.Lease.Until),
		&g.Intent.Fence, &g.Intent.Resource, at(&g.Intent.At), at(&g.NextRefreshAt), at(&g.LastRefreshAt), &g.Failures,
		&g.Cause, &g.CauseText, &g.Remedy, &g.SecretsVersion,
	}
}

func noGrant() error {
	return unknown("grant.none", "The mailbox has not been authorised yet.", "Send the mailbox owner an authorization link.")
}

// Grant implements broker.Store and connect.GrantStore.
func (s *Store) Grant(ctx context.Context, mailboxID string) (mailbox.Grant, error) {
	var g mailbox.Grant
	err := s.read.QueryRowContext(ctx, "SELECT "+grantColumns+" FROM grants WHERE mailbox_id = $1", mailboxID).Scan(scanGrant(&g)...)
	if absent(err) {
		return mailbox.Grant{}, noGrant()
	}
	return g, fail(ctx, "read the grant", err)
}

// lockGrant reads the grant that the transaction is about to change.
func (t *tx) lockGrant(mailboxID string) (mailbox.Grant, error) {
	var g mailbox.Grant
	err := t.row("SELECT "+grantColumns+" FROM grants WHERE mailbox_id = $1"+t.s.dialect.forUpdate, mailboxID).Scan(scanGrant(&g)...)
	if absent(err) {
		return mailbox.Grant{}, noGrant()
	}
	return g, err
}

const accessColumns = `mailbox_id, resource, sealed, scopes, obtained_at, expires_at`

func scanAccess(a *mailbox.AccessToken) []any {
	return []any{&a.MailboxID, &a.Resource, shut(&a.Sealed), from(&a.Scopes), at(&a.ObtainedAt), at(&a.ExpiresAt)}
}

// AccessToken implements broker.Store.
func (s *Store) AccessToken(ctx context.Context, mailboxID, resource string) (mailbox.AccessToken, error) {
	var a mailbox.AccessToken
	err := s.read.QueryRowContext(ctx, "SELECT "+accessColumns+" FROM access_tokens WHERE mailbox_id = $1 AND resource = $2",
		mailboxID, resource).Scan(scanAccess(&a)...)
	if absent(err) {
		return mailbox.AccessToken{}, nil
	}
	return a, fail(ctx, "read the access token", err)
}

// AccessTokens implements connect.GrantStore.
func (s *Store) AccessTokens(ctx context.Context, mailboxID string) ([]mailbox.AccessToken, error) {
	var tokens []mailbox.AccessToken
	err := s.rows(ctx, "SELECT "+accessColumns+" FROM access_tokens WHERE mailbox_id = $1 ORDER BY resource", []any{mailboxID}, func(row scanner) error {
		var a mailbox.AccessToken
		err := row.Scan(scanAccess(&a)...)
		tokens = append(tokens, a)
		return err
	})
	return tokens, fail(ctx, "list access tokens", err)
}

// putAccess stores an access token in place of the one for the same resource.
func (t *tx) putAccess(mailboxID string, a mailbox.AccessToken) error {
	_, err := t.exec(`
		INSERT INTO access_tokens (`+accessColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (mailbox_id, resource) DO UPDATE SET sealed = excluded.sealed, scopes = excluded.scopes,
			obtained_at = excluded.obtained_at, expires_at = excluded.expires_at`,
		mailboxID, a.Resource, bytesOf(a.Sealed), list(a.Scopes), stamp(a.ObtainedAt), stamp(a.ExpiresAt))
	return err
}

// Adopt implements connect.GrantStore.
func (s *Store) Adopt(ctx context.Context, a connect.Adoption) error {
	return s.change(ctx, "adopt the grant", func(t *tx) error {
		id := a.Grant.MailboxID
		if err := t.unchanged(id, a.IfMailboxVersion, a.IfProviderVersion); err != nil {
			return err
		}
		if err := t.spend(a.Link); err != nil {
			return err
		}
		if err := t.putGrant(a.Grant); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM access_tokens WHERE mailbox_id = $1", id); err != nil {
			return err
		}
		for _, token := range a.Access {
			if err := t.putAccess(id, token); err != nil {
				return err
			}
		}
		if a.Released != nil {
			if err := t.dropQuarantine(*a.Released); err != nil {
				return err
			}
		} else if _, err := t.exec("DELETE FROM quarantines WHERE mailbox_id = $1", id); err != nil {
			return err
		}
		return t.addEvents(a.Events...)
	})
}

// putGrant stores a grant in place of what was there. The fence goes on from
// that of the row, so that whoever refreshed the replaced grant is fenced off.
func (t *tx) putGrant(g mailbox.Grant) error {
	subject, err := text(g.Subject)
	if err != nil {
		return err
	}
	_, err = t.exec(`
		INSERT INTO grants (`+grantColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', 1, 0, 0, '', 0, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (mailbox_id) DO UPDATE SET
			state = excluded.state, verdict = excluded.verdict, subject = excluded.subject, display = excluded.display,
			scopes = excluded.scopes, connected_at = excluded.connected_at, connected_by = excluded.connected_by,
			refresh_token = excluded.refresh_token, previous_refresh_token = excluded.previous_refresh_token, candidate = excluded.candidate,
			lease_owner = '', lease_fence = grants.lease_fence + 1, lease_until = 0,
			intent_fence = 0, intent_resource = '', intent_at = 0,
			next_refresh_at = excluded.next_refresh_at, last_refresh_at = excluded.last_refresh_at, failures = excluded.failures,
			cause = excluded.cause, cause_text = excluded.cause_text, remedy = excluded.remedy,
			secrets_version = grants.secrets_version + 1`,
		g.MailboxID, string(g.State), string(g.Verdict), subject, plain(g.Display), list(g.Scopes), stamp(g.ConnectedAt), plain(g.ConnectedBy),
		bytesOf(g.RefreshToken), bytesOf(g.PreviousToken), bytesOf(g.Candidate), stamp(g.NextRefreshAt), stamp(g.LastRefreshAt),
		g.Failures, g.Cause, plain(g.CauseText), plain(g.Remedy), max(1, g.SecretsVersion))
	return err
}

// unchanged refuses where the mailbox or its provider is at another version than
// the one that was seen. It locks both, so that a change waits for what follows.
func (t *tx) unchanged(mailboxID string, mailboxVersion, providerVersion int64) error {
	var m, p int64
	err := t.row("SELECT m.version, p.version FROM mailboxes m JOIN providers p ON p.name = m.provider WHERE m.id = $1"+t.s.dialect.forUpdate, mailboxID).Scan(&m, &p)
	switch {
	case absent(err):
		return noMailbox("")
	case err != nil:
		return err
	case m != mailboxVersion || p != providerVersion:
		return mailboxChanged()
	}
	return nil
}

// EndGrant implements connect.GrantStore. The fence is raised, so that the
// answer to a refresh under way does not bring the grant back.
func (s *Store) EndGrant(ctx context.Context, mailboxID string, now time.Time, e connect.EndGrant) error {
	return s.change(ctx, "end the grant", func(t *tx) error {
		ended, err := t.exec(`
			UPDATE grants SET state = 'revoked', refresh_token = NULL, previous_refresh_token = NULL, candidate = NULL,
				lease_owner = '', lease_fence = lease_fence + 1, lease_until = 0, intent_fence = 0, intent_resource = '', intent_at = 0,
				next_refresh_at = 0, failures = 0, cause = '', cause_text = '', remedy = ''
			WHERE mailbox_id = $1`, mailboxID)
		if err != nil {
			return err
		}
		dropped, err := t.exec("DELETE FROM quarantines WHERE mailbox_id = $1", mailboxID)
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM access_tokens WHERE mailbox_id = $1", mailboxID); err != nil {
			return err
		}
		var events []event.Event
		if dropped > 0 {
			events = append(events, e.Dropped)
		}
		if ended > 0 {
			events = append(events, e.Revoked)
		}
		if len(events) == 0 {
			return noGrant()
		}
		return t.addEvents(events...)
	})
}

// suspend does what a decisive change does to the mailboxes whose column has the
// value, and gives the events of it. They are written after it: who holds the events and
// waits for a grant, and who holds that grant and waits for the events, would wait in a circle.
// A refresh under way still stores its answer: a refresh token is never lost.
func (t *tx) suspend(s *connect.Suspension, column, value string) ([]event.Event, error) {
	if s == nil {
		return nil, nil
	}
	var events []event.Event
	err := t.rows(`
		UPDATE grants SET state = 'suspended' WHERE state = 'active' AND mailbox_id IN (SELECT id FROM mailboxes WHERE `+column+` = $1)
		RETURNING (SELECT document FROM mailboxes WHERE mailboxes.id = grants.mailbox_id)`, []any{value}, func(row scanner) error {
		var m mailbox.Mailbox
		err := row.Scan(from(&m))
		events = append(events, s.Suspended(m))
		return err
	})
	if err != nil {
		return nil, err
	}
	err = t.rows(`
		DELETE FROM quarantines WHERE mailbox_id IN (SELECT id FROM mailboxes WHERE `+column+` = $1)
		RETURNING display, (SELECT document FROM mailboxes WHERE mailboxes.id = quarantines.mailbox_id)`, []any{value}, func(row scanner) error {
		var m mailbox.Mailbox
		var display string
		err := row.Scan(&display, from(&m))
		events = append(events, s.Dropped(m, display))
		return err
	})
	return events, err
}

// notActive is what a grant that must not be refreshed answers.
func notActive(g mailbox.Grant) error {
	f := &fault.Error{
		ID: "grant.not_active", Kind: fault.Dead, Who: []fault.Who{fault.MailboxOwner, fault.Operator},
		Text:   "The grant of the mailbox is " + string(g.State) + ", not active.",
		Remedy: "Send the mailbox owner a new authorization link.",
	}
	if g.State == mailbox.GrantSuspended {
		f.Remedy = "The mailbox or its provider was changed: authorise it again, so that it is verified anew."
	}
	return f
}
