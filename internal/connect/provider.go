package connect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Providers keeps providers and opens their registrations.
type Providers struct{ needs Needs }

// Change says what a Save did.
type Change string

// The changes.
const (
	Created   Change = "created"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

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
	r := in.Record
	kind, err := p.check(&r)
	if err != nil {
		return provider.Record{}, "", err
	}
	old, stored, err := p.needs.Providers.Provider(ctx, r.Name)
	isNew := fault.Has(err, "provider.unknown")
	switch {
	case err != nil && !isNew, isNew && in.When == OnlyUpdate:
		return provider.Record{}, "", err
	case !isNew && in.When == OnlyCreate:
		return provider.Record{}, "", &fault.Error{
			ID: "provider.exists", Kind: fault.Conflict, Field: "name", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("There is a provider called %s already.", r.Name), Remedy: "Choose another name, or change the one that exists.",
		}
	}
	now := p.needs.Now().UTC()
	r.ID, r.Version, r.CreatedAt, r.UpdatedAt = event.NewID(), 1, now, now
	if !isNew {
		r.ID, r.Version, r.CreatedAt = old.ID, old.Version+1, old.CreatedAt
	}
	secrets, changed, err := p.secrets(in.Secrets, old, r, stored)
	if err != nil {
		return provider.Record{}, "", err
	}
	r.Secrets = refs(secrets)
	if err := kind.Check(r); err != nil {
		return provider.Record{}, "", err
	}
	if !isNew && !changed && sameProvider(old, r) {
		return old, Unchanged, nil
	}
	s := SaveProvider{Record: r, Secrets: secrets, IfVersion: old.Version}
	s.Event = event.New(now, event.ProviderCreated, by, fmt.Sprintf("The provider %s was added.", r.Name)).With("provider", r.Name)
	change := Created
	if !isNew {
		change = Updated
		s.RetryAt = now
		text := fmt.Sprintf("The provider %s was changed.", r.Name)
		if identityChanged(old, r) {
			s.Suspend = p.needs.suspension("its provider "+r.Name+" was changed in what decides who signs in where", by)
			text = fmt.Sprintf("The provider %s was changed in what decides who signs in where.", r.Name)
			s.Suspend.Text = fmt.Sprintf("The provider %s was changed in what decides who signs in where; the grants of its mailboxes are suspended until they are verified anew.", r.Name)
		}
		s.Event = event.New(now, event.ProviderUpdated, by, text).With("provider", r.Name)
	}
	if err := p.needs.Providers.SaveProvider(ctx, s); err != nil {
		return provider.Record{}, "", err
	}
	if !isNew {
		p.needs.nudge.give()
		if err := p.tell(ctx, r.Name); err != nil {
			return provider.Record{}, "", err
		}
	}
	return r, change, nil
}

// tell says of every mailbox at a changed provider that it changed too.
func (p *Providers) tell(ctx context.Context, name string) error {
	const page = 200
	after := ""
	for {
		listed, err := p.needs.Mailboxes.Mailboxes(ctx, after, page)
		if err != nil {
			return err
		}
		for _, l := range listed {
			after = l.Mailbox.Address
			if l.Mailbox.Provider == name {
				p.needs.Changed(l.Mailbox.ID)
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
	for _, s := range in {
		at := slices.IndexFunc(stored, func(x SealedSecret) bool { return x.ID == s.ID && s.ID != "" })
		if s.Value.IsZero() {
			switch {
			case at < 0:
				return nil, false, secretNeeded("The client secret is empty.")
			case !samePlace:
				return nil, false, secretNeeded(fmt.Sprintf("A stored client secret of %s is bound to the authorization server and client it was given for, and one of these changes now.", r.Name))
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
		changed = true
		id := event.NewID()
		sealed, err := p.needs.Keys.Seal(s.Value, secretPlace(r, id))
		if err != nil {
			return nil, false, fmt.Errorf("seal the client secret: %w", err)
		}
		out = append(out, SealedSecret{ID: id, Sealed: sealed, Where: secretPlace(r, id), ExpiresAt: s.ExpiresAt.UTC()})
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

func secretNeeded(text string) *fault.Error {
	return &fault.Error{
		ID: "provider.secret_needed", Kind: fault.Invalid, Field: "client_secrets", Text: text,
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

func sameProvider(a, b provider.Record) bool {
	return a.Kind == b.Kind && a.Tenant == b.Tenant && a.Cloud == b.Cloud && a.Issuer == b.Issuer && a.ClientID == b.ClientID &&
		a.RedirectURI == b.RedirectURI && a.Prompt == b.Prompt && a.CAPEM == b.CAPEM && a.IdentityClaim == b.IdentityClaim &&
		maps.Equal(a.Endpoints, b.Endpoints) &&
		slices.EqualFunc(a.Profiles, b.Profiles, func(x, y provider.Profile) bool {
			return x.Name == y.Name && x.GrantType == y.GrantType && slices.Equal(x.Scopes, y.Scopes)
		})
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
