package connect

import (
	"context"
	"fmt"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
)

// Mailboxes keeps mailboxes.
type Mailboxes struct {
	needs     Needs
	providers *Providers
	ids       ids
}

// MailboxSettings is a mailbox as an operator writes it. Of Mailbox, the fields
// ID, Paused, Version and the times are ignored. Present is the address it has
// now, where that changes; empty: the one in Mailbox.
type MailboxSettings struct {
	Mailbox mailbox.Mailbox
	Present string
	When    When
}

// Save checks and writes a mailbox. Changing address, host, provider or acts_as
// suspends its grant until the mailbox is verified anew.
func (b *Mailboxes) Save(ctx context.Context, in MailboxSettings, by event.Actor) (mailbox.Mailbox, Change, error) {
	d, err := b.Check(ctx, in, by)
	if err != nil {
		return mailbox.Mailbox{}, "", err
	}
	return d.Save(ctx)
}

// Check finds every mistake in a mailbox, and what saving it would change.
func (b *Mailboxes) Check(ctx context.Context, in MailboxSettings, by event.Actor) (Draft[mailbox.Mailbox], error) {
	return b.checkAgainst(ctx, b.providers, in, by)
}

func (b *Mailboxes) checkAgainst(ctx context.Context, known known, in MailboxSettings, by event.Actor) (Draft[mailbox.Mailbox], error) {
	m := in.Mailbox
	mistakes := b.check(ctx, known, &m)
	if fault.KindOf(mistakes) == fault.Internal && mistakes != nil {
		return Draft[mailbox.Mailbox]{}, mistakes
	}
	present := in.Present
	if present == "" {
		present = m.Address
	}
	old, err := b.Get(ctx, present)
	isNew := fault.Has(err, "mailbox.unknown")
	switch {
	case fault.Has(err, "message.address") && mistakes != nil: // told already
		return Draft[mailbox.Mailbox]{}, mistakes
	case err != nil && !isNew, isNew && (in.When == OnlyUpdate || present != m.Address && in.Present != ""):
		return Draft[mailbox.Mailbox]{}, err
	case !isNew && in.When == OnlyCreate:
		mistakes = fault.Join(mistakes, &fault.Error{
			ID: "mailbox.exists", Kind: fault.Conflict, Field: "address", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("The mailbox %s is here already.", m.Address), Remedy: "Change the one that exists, or delete it first.",
		})
	}
	if mistakes != nil {
		return Draft[mailbox.Mailbox]{}, mistakes
	}
	now := b.needs.Now().UTC()
	m.ID, m.Version, m.CreatedAt, m.UpdatedAt, m.Paused = event.NewID(), 1, now, now, false
	d := Draft[mailbox.Mailbox]{Becomes: m, Change: Created}
	d.Loosens = m.AllowUnknown && !old.AllowUnknown
	if !isNew {
		m.ID, m.Version, m.CreatedAt, m.Paused = old.ID, old.Version+1, old.CreatedAt, old.Paused
		if d = (Draft[mailbox.Mailbox]{Becomes: m, Change: Updated, Fields: changedFields(old, m), Loosens: d.Loosens}); len(d.Fields) == 0 {
			return Draft[mailbox.Mailbox]{Becomes: old, Change: Unchanged}, nil
		}
		if d.Suspends, err = b.decisive(ctx, old, m); err == nil && d.Suspends != "" {
			d.Consequence, err = b.consequence(ctx, old, d.Suspends)
		}
		if err != nil {
			return Draft[mailbox.Mailbox]{}, err
		}
	}
	d.save = func(ctx context.Context) error { return b.write(ctx, old, m, by) }
	return d, nil
}

// write stores a checked mailbox over the version that was looked at; old is zero
// where it is new.
func (b *Mailboxes) write(ctx context.Context, old, m mailbox.Mailbox, by event.Actor) error {
	now := b.needs.Now().UTC()
	s := SaveMailbox{Mailbox: m, IfVersion: old.Version}
	if old.ID == "" {
		s.Events = []event.Event{event.New(now, event.MailboxCreated, by, fmt.Sprintf("The mailbox %s was added.", m.Address)).About(m.ID, m.Address)}
	} else {
		reason, err := b.decisive(ctx, old, m)
		if err != nil {
			return err
		}
		if reason != "" {
			s.Suspend = b.needs.suspension(reason, by)
		} else {
			s.RetryAt = now
		}
		s.Events = []event.Event{event.New(now, event.MailboxUpdated, by, fmt.Sprintf("The mailbox %s was changed.", m.Address)).About(m.ID, m.Address)}
	}
	if err := b.needs.Mailboxes.SaveMailbox(ctx, s); err != nil {
		return err
	}
	b.ids.forget()
	b.needs.Changed(m.ID)
	b.needs.nudge.give()
	return nil
}

// Get gives a mailbox by address, compared without case.
func (b *Mailboxes) Get(ctx context.Context, address string) (mailbox.Mailbox, error) {
	normal, err := message.Address(address)
	if err != nil {
		return mailbox.Mailbox{}, err
	}
	return b.needs.Mailboxes.Mailbox(ctx, normal)
}

// List gives the mailboxes that a filter selects, by address, with where each
// stands. A standing that there is not is refused with those that there are.
func (b *Mailboxes) List(ctx context.Context, f mailbox.Filter) ([]mailbox.Listed, error) {
	if f.Standing != "" {
		if err := oneOf("mailbox.standing", "state", f.Standing, mailbox.Standings()...); err != nil {
			return nil, err
		}
	}
	return b.needs.Mailboxes.Mailboxes(ctx, f)
}

// Look gives one mailbox with where it stands.
func (b *Mailboxes) Look(ctx context.Context, address string) (mailbox.Listed, error) {
	m, err := b.Get(ctx, address)
	if err != nil {
		return mailbox.Listed{}, err
	}
	listed, err := b.needs.Mailboxes.Mailboxes(ctx, mailbox.Filter{Addresses: []string{m.Address}, Limit: 1})
	if err != nil {
		return mailbox.Listed{}, err
	}
	if len(listed) == 0 { // removed in between
		return mailbox.Listed{Mailbox: m}, nil
	}
	return listed[0], nil
}

// Pause stops receiving and sending until Resume; the grant stays fresh.
func (b *Mailboxes) Pause(ctx context.Context, address string, by event.Actor) error {
	return b.setPaused(ctx, address, true, event.MailboxPaused, "The mailbox %s was paused: nothing is received or sent.", by)
}

// Resume lets a paused mailbox go on.
func (b *Mailboxes) Resume(ctx context.Context, address string, by event.Actor) error {
	return b.setPaused(ctx, address, false, event.MailboxResumed, "The mailbox %s goes on.", by)
}

func (b *Mailboxes) setPaused(ctx context.Context, address string, paused bool, kind event.Kind, text string, by event.Actor) error {
	m, err := b.Get(ctx, address)
	if err != nil || m.Paused == paused {
		return err
	}
	now, version := b.needs.Now().UTC(), m.Version
	m.Paused, m.Version, m.UpdatedAt = paused, version+1, now
	e := event.New(now, kind, by, fmt.Sprintf(text, m.Address)).About(m.ID, m.Address)
	if err := b.needs.Mailboxes.SaveMailbox(ctx, SaveMailbox{Mailbox: m, IfVersion: version, Events: []event.Event{e}}); err != nil {
		return err
	}
	b.needs.Changed(m.ID)
	return nil
}

// Delete removes a mailbox with everything that belongs to it.
func (b *Mailboxes) Delete(ctx context.Context, address string, by event.Actor) error {
	m, err := b.Get(ctx, address)
	if err != nil {
		return err
	}
	e := event.New(b.needs.Now(), event.MailboxDeleted, by, fmt.Sprintf("The mailbox %s was removed with its grant and its stored messages.", m.Address)).About(m.ID, m.Address)
	if err := b.needs.Mailboxes.DeleteMailbox(ctx, m.ID, e); err != nil {
		return err
	}
	b.ids.forget()
	b.needs.Changed(m.ID)
	return nil
}
