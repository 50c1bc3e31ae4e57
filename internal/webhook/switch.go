package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const (
	usualOverlap   = 24 * time.Hour
	longestOverlap = 7 * 24 * time.Hour
)

// Enable switches a webhook on again. What waited for it is tried at once, in its
// order; what happened meanwhile was not queued for it.
func (w *Webhooks) Enable(ctx context.Context, by event.Actor, name string) (Webhook, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil || h.Disabled == "" {
		return h, err
	}
	now := w.now()
	next := h
	next.Disabled, next.DisabledBy, next.DisabledAt = "", "", time.Time{}
	next.Version, next.UpdatedAt = h.Version+1, now
	e := event.New(now, event.WebhookEnabled, by, fmt.Sprintf("The webhook %s was switched on again.", name)).With("webhook", name)
	if err := w.store.SaveWebhook(ctx, Saving{Webhook: next, IfVersion: h.Version, Afresh: true, Event: e}); err != nil {
		return Webhook{}, err
	}
	w.sweep(ctx)
	return next, nil
}

// Disable switches a webhook off. What waits for it stays; what happens from now
// on is not queued for it.
func (w *Webhooks) Disable(ctx context.Context, by event.Actor, name string) (Webhook, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil || h.Disabled != "" {
		return h, err
	}
	now := w.now()
	next := h
	next.Disabled, next.DisabledBy, next.DisabledAt = "An operator switched it off.", ByOperator, now
	next.Version, next.UpdatedAt = h.Version+1, now
	e := event.New(now, event.WebhookDisabled, by, fmt.Sprintf("The webhook %s was switched off.", name)).With("webhook", name)
	e.Remedy = "Switch it on again when its receiver is to be told."
	if err := w.store.SaveWebhook(ctx, Saving{Webhook: next, IfVersion: h.Version, Event: e}); err != nil {
		return Webhook{}, err
	}
	return next, nil
}

// Rotation is a new signing secret. For Overlap deliveries are signed with the
// present one too, so that a receiver changes over without refusing any.
type Rotation struct {
	Secret  seal.Secret    // zero: one is generated
	Overlap *time.Duration // nil: a day; 0: the present secret ends at once
}

// RotateSecret gives a webhook a new signing secret. Where it was generated it is
// given back, this once. A secret that was still in its overlap ends.
func (w *Webhooks) RotateSecret(ctx context.Context, by event.Actor, name string, r Rotation) (Webhook, seal.Secret, error) {
	overlap := usualOverlap
	if r.Overlap != nil {
		overlap = *r.Overlap
	}
	if overlap < 0 || overlap > longestOverlap {
		return Webhook{}, seal.Secret{}, invalid("overlap", "The previous secret cannot be kept for so long.", "Give at most 7 days (168h); 0s ends it at once.")
	}
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return Webhook{}, seal.Secret{}, err
	}
	now := w.now()
	if overlap > 0 && now.Before(h.PreviousSecretUntil) {
		// The receiver may still check with the one before: it would be cut off.
		return Webhook{}, seal.Secret{}, &fault.Error{
			ID: "webhook.rotating", Kind: fault.Conflict, Field: "overlap", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("The signing secret of the webhook %s was rotated already; the previous one holds until %s, and only two can hold at once.",
				name, h.PreviousSecretUntil.UTC().Format(time.RFC1123)),
			Remedy: "Give the receiver the secret that was shown then. If nobody has it any more, rotate with the overlap 0s: both end at once, and only the newest holds.",
		}
	}
	secret, generated := r.Secret, seal.Secret{}
	if secret.IsZero() {
		if generated, err = newSigningSecret(); err != nil {
			return Webhook{}, seal.Secret{}, err
		}
		secret = generated
	} else if _, err := signingKey(secret); err != nil {
		return Webhook{}, seal.Secret{}, err
	}
	present, err := w.keys.Unseal(h.Secret, secretPlace(h.ID))
	if err != nil {
		overlap = 0 // its key is lost: nothing can be signed with it any more
	} else if present.Equal(secret) {
		return Webhook{}, seal.Secret{}, invalid("secret", "This is the webhook's secret already.", "Give another one, or leave it out to have one generated.")
	}
	next := h
	next.PreviousSecret, next.PreviousSecretUntil = seal.Sealed{}, time.Time{}
	text := fmt.Sprintf("The signing secret of the webhook %s was rotated; the previous one ended at once.", name)
	if overlap > 0 {
		next.PreviousSecret, next.PreviousSecretUntil = h.Secret, now.Add(overlap)
		text = fmt.Sprintf("The signing secret of the webhook %s was rotated; deliveries are signed with the previous one too until %s.",
			name, next.PreviousSecretUntil.UTC().Format(time.RFC1123))
	}
	if next.Secret, err = w.keys.Seal(secret, secretPlace(h.ID)); err != nil {
		return Webhook{}, seal.Secret{}, err
	}
	next.Version, next.UpdatedAt = h.Version+1, now
	e := event.New(now, event.WebhookSecret, by, text).With("webhook", name)
	if err := w.store.SaveWebhook(ctx, Saving{Webhook: next, IfVersion: h.Version, Event: e}); err != nil {
		return Webhook{}, seal.Secret{}, err
	}
	return next, generated, nil
}
