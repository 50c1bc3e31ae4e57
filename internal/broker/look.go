package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// lookLimit bounds one look into the store.
const lookLimit = 30 * time.Second

// looked is what the store holds for a mailbox and resource.
type looked struct {
	entry   *entry // nil: no access token stored
	secrets int64  // the grant's SecretsVersion
	refused bool   // a server refused the token and it is time to renew it
}

func (l looked) lendable(now time.Time, minTTL time.Duration) bool {
	return l.entry != nil && !l.refused && l.entry.good(now, minTTL)
}

// orElse gives the token as long as it is valid, although renewing it failed:
// a passing error of the provider takes nothing from anybody. That of a dead grant
// is not lent.
func (l looked) orElse(now time.Time, err error) (*entry, error) {
	if l.entry != nil && l.entry.valid(now) && fault.KindOf(err) != fault.Dead {
		return l.entry, nil
	}
	return nil, err
}

// look gives what the store holds, read once for all who ask at this generation.
func (b *Broker) look(ctx context.Context, k key, generation uint64) (looked, error) {
	return share(ctx, &b.flights, flightKey{k, look, generation}, b.lookUp(ctx, k, generation))
}

// lookUp reads whether the grant stands, whether the mailbox may have this
// resource, and which access token is stored. Where nothing changed since the
// last look it costs two reads by key and opens nothing.
func (b *Broker) lookUp(ctx context.Context, k key, generation uint64) func() (looked, error) {
	ctx = context.WithoutCancel(ctx)
	return func() (looked, error) {
		ctx, cancel := context.WithTimeout(ctx, lookLimit)
		defer cancel()
		now := b.now()
		m, err := b.directory.MailboxByID(ctx, k.mailboxID)
		if err != nil {
			return looked{}, err
		}
		g, err := b.store.Grant(ctx, k.mailboxID)
		if err != nil {
			return looked{}, withoutGrant(m, err)
		}
		if g.State != mailbox.GrantActive {
			b.shelf.drop(k)
			return looked{}, notActive(m, g)
		}
		if e := b.shelf.find(k); e != nil && e.secrets == g.SecretsVersion && e.mailbox == m.Version {
			confirmed := *e
			confirmed.checked = now
			b.shelf.put(k, generation, &confirmed)
			return looked{&confirmed, g.SecretsVersion, b.shelf.mustRenew(k, &confirmed, now)}, nil
		}
		if _, err := b.declared(ctx, m, k.resource); err != nil {
			b.shelf.drop(k)
			return looked{}, err
		}
		e, err := b.stored(ctx, k)
		if err != nil || e == nil {
			return looked{secrets: g.SecretsVersion}, err
		}
		e.checked, e.secrets, e.mailbox = now, g.SecretsVersion, m.Version
		b.shelf.put(k, generation, e)
		return looked{e, g.SecretsVersion, b.shelf.mustRenew(k, e, now)}, nil
	}
}

// stored opens the stored access token; nil when there is none.
func (b *Broker) stored(ctx context.Context, k key) (*entry, error) {
	at, err := b.store.AccessToken(ctx, k.mailboxID, k.resource)
	if err != nil {
		return nil, err
	}
	if at.Sealed.IsZero() {
		return nil, nil
	}
	token, err := b.keys.Unseal(at.Sealed, whereAccess(k))
	if err != nil {
		return nil, fmt.Errorf("the access token of mailbox %s: %w", k.mailboxID, err)
	}
	return &entry{token: token, obtained: at.ObtainedAt, expires: at.ExpiresAt, secrets: unknownVersion}, nil
}

func whereAccess(k key) []byte { return seal.Where("access_token", k.mailboxID, k.resource) }

// opened is a mailbox's provider, ready for one call.
type opened struct {
	kind      provider.Kind
	reg       provider.Registration
	resources []provider.Resource
	resource  provider.Resource // the one that was asked for
}

// declared opens the provider of a mailbox and finds a resource that the
// mailbox declares by what it does; empty: the first, which is what it
// mainly does.
func (b *Broker) declared(ctx context.Context, m mailbox.Mailbox, resource string) (opened, error) {
	kind, reg, err := b.directory.Registration(ctx, m.Provider)
	if err != nil {
		return opened{}, err
	}
	resources, err := kind.Resources(reg.Record, m.Uses(), m.Profile)
	if err != nil {
		return opened{}, err
	}
	if resource == "" && len(resources) > 0 {
		resource = resources[0].Name
	}
	i := slices.IndexFunc(resources, func(r provider.Resource) bool { return r.Name == resource })
	if i < 0 {
		return opened{}, undeclared(m, resource, resources)
	}
	return opened{kind, reg, resources, resources[i]}, nil
}

func undeclared(m mailbox.Mailbox, resource string, resources []provider.Resource) error {
	names := make([]string, len(resources))
	for i, r := range resources {
		names[i] = r.Name
	}
	allowed := "It declares none."
	if len(names) > 0 {
		allowed = "It declares: " + strings.Join(names, ", ") + "."
	}
	return &fault.Error{
		ID: "grant.undeclared_resource", Kind: fault.Invalid, Field: "resource",
		Text:   fmt.Sprintf("The mailbox %s does not declare the resource %q. %s", m.Address, resource, allowed),
		Who:    []fault.Who{fault.Operator},
		Remedy: "Ask for one of these, or change what the mailbox receives and sends by.",
	}
}
