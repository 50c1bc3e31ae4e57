package webhook

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Draft is a checked webhook that waits to be saved. It is saved over the version
// that was looked at: where somebody else changed the webhook since, that is
// refused as a conflict.
type Draft struct {
	IsNew  bool
	Fields []string // what changes in one that exists, as documents spell it
	save   func(context.Context) (Webhook, seal.Secret, error)
}

// Save writes it, where it changes anything, and gives the secret where one was
// generated.
func (d Draft) Save(ctx context.Context) (Webhook, seal.Secret, error) { return d.save(ctx) }

// Check finds every mistake in a webhook, and what saving it would change.
func (w *Webhooks) Check(ctx context.Context, by event.Actor, in Input) (Draft, error) {
	mistakes := w.check(&in)
	present, err := w.store.Webhook(ctx, in.Name)
	isNew := err != nil && fault.KindOf(err) == fault.NotFound
	if err != nil && !isNew {
		return Draft{}, err
	}
	if in.OnlyNew && !isNew {
		mistakes = fault.Join(mistakes, &fault.Error{
			ID: "webhook.exists", Kind: fault.Conflict, Field: "name", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("There is a webhook called %s already.", in.Name), Remedy: "Choose another name, or change the one that exists.",
		})
	}
	if mistakes != nil {
		return Draft{}, mistakes
	}
	next := present
	next.Name, next.URL, next.Events, next.Mailboxes, next.CAPEM = in.Name, in.URL, in.Events, in.Mailboxes, in.CAPEM
	if isNew {
		next.ID, next.CreatedAt = event.NewID(), w.now()
	}
	generated, another, err := w.takeSecret(&next, in.Secret)
	if err != nil {
		return Draft{}, err
	}
	d := Draft{IsNew: isNew, save: func(ctx context.Context) (Webhook, seal.Secret, error) {
		saved, err := w.write(ctx, by, present, next)
		if err != nil {
			return Webhook{}, seal.Secret{}, err
		}
		return saved, generated, nil
	}}
	if isNew {
		return d, nil
	}
	for _, part := range []struct {
		name string
		same bool
	}{
		{"url", next.URL == present.URL},
		{"secret", !another},
		{"events", slices.Equal(next.Events, present.Events)},
		{"mailboxes", slices.Equal(next.Mailboxes, present.Mailboxes)},
		{"ca_pem", next.CAPEM == present.CAPEM},
	} {
		if !part.same {
			d.Fields = append(d.Fields, part.name)
		}
	}
	if len(d.Fields) == 0 {
		d.save = func(context.Context) (Webhook, seal.Secret, error) { return present, seal.Secret{}, nil }
	}
	return d, nil
}

// write stores a checked webhook over the version that was looked at; present is
// zero where it is new.
func (w *Webhooks) write(ctx context.Context, by event.Actor, present, next Webhook) (Webhook, error) {
	kind, verb := event.WebhookUpdated, "changed"
	if present.ID == "" {
		kind, verb = event.WebhookCreated, "added"
	}
	if present.DisabledBy == ByReceiver && present.URL != next.URL {
		next.Disabled, next.DisabledBy, next.DisabledAt = "", "", time.Time{}
	}
	now := w.now()
	next.Version, next.UpdatedAt = present.Version+1, now
	e := event.New(now, kind, by, fmt.Sprintf("The webhook %s was %s.", next.Name, verb)).With("webhook", next.Name)
	afresh := present.ID != "" && next.Disabled == "" && !sameReceiver(present, next)
	if err := w.store.SaveWebhook(ctx, Saving{Webhook: next, IfVersion: present.Version, Afresh: afresh, Event: e}); err != nil {
		return Webhook{}, err
	}
	if afresh {
		w.sweep(ctx)
	}
	return next, nil
}
