package connect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Providers keeps providers and opens their registrations.
type Providers struct{ needs Needs }

// KindNames lists the kinds of provider that there are.
func (p *Providers) KindNames() []string { return p.needs.KindNames }

// When says what a Save may do.
type When int

// The cases. The zero value writes in either case, as apply does.
const (
	Whichever  When = iota
	OnlyCreate      // "…exists" (Conflict) where there is one already
	OnlyUpdate      // "…unknown" (NotFound) where there is none
)

// ProviderSettings is a provider as an operator writes it. Of Record, the
// fields ID, Secrets, Version and the times are ignored.
type ProviderSettings struct {
	Record provider.Record
	// Secrets are the client secrets in the order in which they are tried; nil
	// keeps those that are stored, empty removes them.
	Secrets []SecretInput
	When    When
}

// SecretInput is a client secret on its way in. A zero Value with an ID keeps
// the stored one.
type SecretInput struct {
	ID        string
	Value     seal.Secret
	ExpiresAt time.Time
}

// Save checks and writes a provider. A stored client secret goes on only with
// the authorization server it was given for: where that changes, the secrets
// are asked for again ("provider.secret_needed"), and the grants of the
// provider's mailboxes are suspended until they are verified anew.
func (p *Providers) Save(ctx context.Context, in ProviderSettings, by event.Actor) (provider.Record, Change, error) {
	d, err := p.Check(ctx, in, by)
	if err == nil && d.fits != nil {
		err = d.fits(ctx, func(string) bool { return false })
	}
	if err != nil {
		return provider.Record{}, "", err
	}
	return d.Save(ctx)
}

// Check finds every mistake in a provider, and what saving it would change.
func (p *Providers) Check(ctx context.Context, in ProviderSettings, by event.Actor) (Draft[provider.Record], error) {
	r := in.Record
	kind, mistakes := p.check(&r)
	old, stored, err := p.needs.Providers.Provider(ctx, r.Name)
	isNew := fault.Has(err, "provider.unknown")
	switch {
	case err != nil && !isNew:
		return Draft[provider.Record]{}, err
	case isNew && in.When == OnlyUpdate:
		return Draft[provider.Record]{}, err
	case !isNew && in.When == OnlyCreate:
		mistakes = fault.Join(mistakes, &fault.Error{
			ID: "provider.exists", Kind: fault.Conflict, Field: "name", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("There is a provider called %s already.", r.Name), Remedy: "Choose another name, or change the one that exists.",
		})
	}
	now := p.needs.Now().UTC()
	r.ID, r.Version, r.CreatedAt, r.UpdatedAt = event.NewID(), 1, now, now
	if !isNew {
		r.ID, r.Version, r.CreatedAt = old.ID, old.Version+1, old.CreatedAt
	}
	secrets, changed, err := p.secrets(in.Secrets, old, r, stored)
	if fault.KindOf(err) == fault.Internal && err != nil {
		return Draft[provider.Record]{}, err
	}
	r.Secrets = refs(secrets)
	mistakes = fault.Join(mistakes, err)
	if kind != nil {
		mistakes = fault.Join(mistakes, kind.Check(r))
	}
	if mistakes != nil {
		return Draft[provider.Record]{}, mistakes
	}
	if isNew {
		return Draft[provider.Record]{Becomes: r, Change: Created, save: func(ctx context.Context) error {
			e := event.New(now, event.ProviderCreated, by, fmt.Sprintf("The provider %s was added.", r.Name)).With("provider", r.Name)
			return p.needs.Providers.SaveProvider(ctx, SaveProvider{Record: r, Secrets: secrets, Event: e})
		}}, nil
	}
	fields := changedFields(old, r)
	if changed {
		fields = append(fields, "client_secrets")
	}
	if len(fields) == 0 {
		return Draft[provider.Record]{Becomes: old, Change: Unchanged}, nil
	}
	d := Draft[provider.Record]{Becomes: r, Change: Updated, Fields: fields, save: func(ctx context.Context) error {
		return p.replace(ctx, old, r, secrets, by)
	}}
	if identityChanged(old, r) {
		d.Suspends = "what decides who signs in where changed"
	}
	if slices.Contains(fields, "profiles") {
		d.fits = func(ctx context.Context, changes func(string) bool) error { return p.fits(ctx, r, kind, changes) }
	}
	return d, nil
}

// fits asks whether the mailboxes that use a provider's profiles still can: one
// that they name may be gone.
func (p *Providers) fits(ctx context.Context, r provider.Record, kind provider.Kind, changes func(address string) bool) error {
	return p.eachMailbox(ctx, r.Name, func(m mailbox.Mailbox) error {
		if m.Profile == "" || changes(m.Address) {
			return nil
		}
		err := checkProfile(r, m.Profile)
		if err == nil {
			_, err = kind.Resources(r, m.Uses(), m.Profile)
		}
		if err == nil {
			return nil
		}
		return wrong("provider.profile_in_use", "profiles", fmt.Sprintf("The mailbox %s uses the profile %s, and could no longer: %s", m.Address, m.Profile, fault.Of(err).Text),
			"Keep the profile as that mailbox needs it, or change the mailbox first.")
	})
}

// replace writes a changed provider over the version that was looked at.
func (p *Providers) replace(ctx context.Context, old, r provider.Record, secrets []SealedSecret, by event.Actor) error {
	now := p.needs.Now().UTC()
	s := SaveProvider{Record: r, Secrets: secrets, IfVersion: old.Version, RetryAt: now}
	text := fmt.Sprintf("The provider %s was changed.", r.Name)
	if identityChanged(old, r) {
		s.Suspend = p.needs.suspension("its provider "+r.Name+" was changed in what decides who signs in where", by)
		text = fmt.Sprintf("The provider %s was changed in what decides who signs in where.", r.Name)
		s.Suspend.Text = fmt.Sprintf("The provider %s was changed in what decides who signs in where; the grants of its mailboxes are suspended until they are verified anew.", r.Name)
	}
	s.Event = event.New(now, event.ProviderUpdated, by, text).With("provider", r.Name)
	if err := p.needs.Providers.SaveProvider(ctx, s); err != nil {
		return err
	}
	p.needs.nudge.give()
	return p.tell(ctx, r.Name)
}

// tell says of every mailbox at a changed provider that it changed too.
func (p *Providers) tell(ctx context.Context, name string) error {
	return p.eachMailbox(ctx, name, func(m mailbox.Mailbox) error {
		p.needs.Changed(m.ID)
		return nil
	})
}

// eachMailbox visits the mailboxes at a provider, page by page.
func (p *Providers) eachMailbox(ctx context.Context, name string, visit func(mailbox.Mailbox) error) error {
	const page = 200
	after := ""
	for {
		listed, err := p.needs.Mailboxes.Mailboxes(ctx, mailbox.Filter{After: after, Provider: name, Limit: page})
		if err != nil {
			return err
		}
		for _, l := range listed {
			after = l.Mailbox.Address
			if err := visit(l.Mailbox); err != nil {
				return err
			}
		}
		if len(listed) < page {
			return nil
		}
	}
}

// secrets seals what is to be stored: given values afresh, kept ones anew where
// their place stays the same.
func (p *Providers) secrets(in []SecretInput, old, r provider.Record, stored []SealedSecret) (out []SealedSecret, changed bool, err error) {
	samePlace := slices.Equal(secretPlace(old, ""), secretPlace(r, ""))
	if in == nil {
		for _, s := range stored {
			in = append(in, SecretInput{ID: s.ID, ExpiresAt: s.ExpiresAt})
		}
	}
	now := p.needs.Now()
	var mistakes error
	for i, s := range in {
		at := slices.IndexFunc(stored, func(x SealedSecret) bool { return x.ID == s.ID && s.ID != "" })
		field := fmt.Sprintf("client_secrets[%d]", i)
		if s.Value.IsZero() {
			switch {
			case at < 0 && s.ID != "":
				mistakes = fault.Join(mistakes, wrong("provider.secret_needed", field, "There is no stored client secret with this id.", "Give the secret itself, or the id of one that is stored: a provider's own list shows them."))
				continue
			case at < 0:
				mistakes = fault.Join(mistakes, secretNeeded(field, "The client secret is empty."))
				continue
			case !samePlace:
				mistakes = fault.Join(mistakes, secretNeeded(field, fmt.Sprintf("A stored client secret of %s is bound to the authorization server and client it was given for, and one of these changes now.", r.Name)))
				continue
			}
			kept := stored[at]
			changed = changed || !kept.ExpiresAt.Equal(s.ExpiresAt)
			kept.ExpiresAt = s.ExpiresAt
			out = append(out, kept)
			continue
		}
		if kept, ok := p.sameSecret(s.Value, old, stored); ok && samePlace {
			changed = changed || !kept.ExpiresAt.Equal(s.ExpiresAt)
			kept.ExpiresAt = s.ExpiresAt
			out = append(out, kept)
			continue
		}
		if !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now) {
			mistakes = fault.Join(mistakes, wrong("provider.secret_ended", field+".expires_at", fmt.Sprintf("This client secret ended on %s.", s.ExpiresAt.UTC().Format(time.DateOnly)),
				"Make a new client secret at the provider and give that one; or correct the date, or leave it out."))
			continue
		}
		changed = true
		id := event.NewID()
		sealed, err := p.needs.Keys.Seal(s.Value, secretPlace(r, id))
		if err != nil {
			return nil, false, fmt.Errorf("seal the client secret: %w", err)
		}
		out = append(out, SealedSecret{ID: id, Sealed: sealed, Where: secretPlace(r, id), ExpiresAt: s.ExpiresAt.UTC()})
	}
	if mistakes != nil {
		return nil, false, mistakes
	}
	moved := !slices.EqualFunc(out, stored, func(a, b SealedSecret) bool { return a.ID == b.ID })
	return out, changed || moved, nil
}

// sameSecret finds a given value among the stored, so that applying the same
// file again changes nothing.
func (p *Providers) sameSecret(value seal.Secret, old provider.Record, stored []SealedSecret) (SealedSecret, bool) {
	for _, s := range stored {
		if have, err := p.needs.Keys.Unseal(s.Sealed, secretPlace(old, s.ID)); err == nil && have.Equal(value) {
			return s, true
		}
	}
	return SealedSecret{}, false
}

func secretNeeded(field, text string) *fault.Error {
	return &fault.Error{
		ID: "provider.secret_needed", Kind: fault.Invalid, Field: field, Text: text,
		Who: []fault.Who{fault.Operator}, Remedy: "Give the client secrets again, together with this change.",
	}
}

func refs(secrets []SealedSecret) []provider.ClientSecretRef {
	var out []provider.ClientSecretRef
	for _, s := range secrets {
		out = append(out, provider.ClientSecretRef{ID: s.ID, ExpiresAt: s.ExpiresAt})
	}
	return out
}

// secretPlace is what a client secret is sealed to: the provider, its issuer,
// tenant, cloud and client id, and the origin of every endpoint that an operator
// names, so that no change of the record can make it go to another server.
func secretPlace(r provider.Record, secretID string) []byte {
	parts := []string{"provider", r.ID, "client_secret", secretID, r.Kind, r.Issuer, r.Tenant, r.Cloud, r.ClientID}
	for _, name := range slices.Sorted(maps.Keys(r.Endpoints)) {
		parts = append(parts, name, originOf(r.Endpoints[name]))
	}
	return seal.Where(parts...)
}

// identityChanged reports whether a record decides anew who signs in where.
func identityChanged(old, r provider.Record) bool {
	return !slices.Equal(secretPlace(old, ""), secretPlace(r, "")) || old.IdentityClaim != r.IdentityClaim
}

// names lists the providers there are.
func (p *Providers) names(ctx context.Context) ([]string, error) {
	all, err := p.List(ctx)
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names, err
}

// List gives all providers by name, without secrets.
func (p *Providers) List(ctx context.Context) ([]provider.Record, error) {
	return p.needs.Providers.Providers(ctx)
}

// Get gives one by name, without secrets.
func (p *Providers) Get(ctx context.Context, name string) (provider.Record, error) {
	r, _, err := p.needs.Providers.Provider(ctx, name)
	return r, err
}

// Delete removes a provider that no mailbox uses.
func (p *Providers) Delete(ctx context.Context, name string, by event.Actor) error {
	if _, err := p.Get(ctx, name); err != nil {
		return err
	}
	e := event.New(p.needs.Now(), event.ProviderDeleted, by, fmt.Sprintf("The provider %s was removed.", name)).With("provider", name)
	return p.needs.Providers.DeleteProvider(ctx, name, e)
}

// Registration opens a provider for one call: its kind, its record with the
// effective redirect URI, and its client secrets.
func (p *Providers) Registration(ctx context.Context, name string) (provider.Kind, provider.Registration, error) {
	r, stored, err := p.needs.Providers.Provider(ctx, name)
	if err != nil {
		return nil, provider.Registration{}, err
	}
	kind, err := p.kind(r.Kind)
	if err != nil {
		return nil, provider.Registration{}, err
	}
	reg := provider.Registration{Record: r, RedirectURI: p.RedirectURI(r)}
	for _, s := range stored {
		value, err := p.needs.Keys.Unseal(s.Sealed, secretPlace(r, s.ID))
		if err != nil {
			return nil, provider.Registration{}, fmt.Errorf("open a client secret of %s: %w", name, err)
		}
		reg.ClientSecrets = append(reg.ClientSecrets, value)
	}
	return kind, reg, nil
}

// RedirectURI is the effective redirect URI of a provider.
func (p *Providers) RedirectURI(r provider.Record) string {
	if r.RedirectURI != "" {
		return r.RedirectURI
	}
	return p.needs.PublicURL + callbackPaths[0]
}

// Verify asks the provider whether its record can work.
func (p *Providers) Verify(ctx context.Context, name string) error {
	kind, reg, err := p.Registration(ctx, name)
	if err != nil {
		return err
	}
	return kind.Verify(ctx, reg)
}

// record gives a provider without opening its secrets.
func (p *Providers) record(ctx context.Context, name string) (provider.Record, provider.Kind, error) {
	r, _, err := p.needs.Providers.Provider(ctx, name)
	if err != nil {
		return r, nil, err
	}
	kind, err := p.kind(r.Kind)
	return r, kind, err
}
