package connect

import (
	"context"
	"fmt"
	"slices"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Plan checks providers and mailboxes that are to be saved together, providers
// first: a mailbox may name a provider of the same plan. Check all of them, then
// ask Fits and MayDelete, then save.
type Plan struct {
	connect *Connect
	whole   PlanScope
	records map[string]planned
	wanted  map[string]mailbox.Mailbox // by address
}

// planned is a provider of the plan; kind is nil where it is refused.
type planned struct {
	record provider.Record
	kind   provider.Kind
	fits   func(ctx context.Context, changes func(address string) bool) error
}

// PlanScope says whether others than those of the plan will be left afterwards.
type PlanScope struct{ Providers, Mailboxes bool }

// NewPlan begins a plan.
func (c *Connect) NewPlan(whole PlanScope) *Plan {
	return &Plan{connect: c, whole: whole, records: map[string]planned{}, wanted: map[string]mailbox.Mailbox{}}
}

// Provider checks a provider of the plan.
func (p *Plan) Provider(ctx context.Context, in ProviderSettings, by event.Actor) (Draft[provider.Record], error) {
	providers := p.connect.Providers
	d, err := providers.Check(ctx, in, by)
	one := planned{record: in.Record}
	if err == nil {
		one.record, one.fits = d.Becomes, d.fits
		one.kind, err = providers.kind(d.Becomes.Kind)
	}
	p.records[one.record.Name] = one
	return d, err
}

// Mailbox checks a mailbox of the plan.
func (p *Plan) Mailbox(ctx context.Context, in MailboxSettings, by event.Actor) (Draft[mailbox.Mailbox], error) {
	d, err := p.connect.Mailboxes.checkAgainst(ctx, p, in, by)
	if err == nil {
		p.wanted[d.Becomes.Address] = d.Becomes
	}
	return d, err
}

// record implements known.
func (p *Plan) record(ctx context.Context, name string) (provider.Record, provider.Kind, error) {
	if one, ok := p.records[name]; ok {
		return one.record, one.kind, nil
	}
	if p.whole.Providers {
		return provider.Record{}, nil, &fault.Error{ID: "provider.unknown", Kind: fault.NotFound, Text: "The provider is not in the plan."}
	}
	return p.connect.Providers.record(ctx, name)
}

// names implements known.
func (p *Plan) names(ctx context.Context) ([]string, error) {
	var names []string
	if !p.whole.Providers {
		var err error
		if names, err = p.connect.Providers.names(ctx); err != nil {
			return nil, err
		}
	}
	for name := range p.records {
		if resourceName.MatchString(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// changes reports whether a mailbox is in the plan, or goes with it.
func (p *Plan) changes(address string) bool {
	_, wanted := p.wanted[address]
	return wanted || p.whole.Mailboxes
}

// Fits asks whether the mailboxes outside the plan that use a provider of it can
// still do so.
func (p *Plan) Fits(ctx context.Context, name string) error {
	if fits := p.records[name].fits; fits != nil {
		return fits(ctx, p.changes)
	}
	return nil
}

// MayDelete asks whether a provider can be removed once the plan is carried out.
func (p *Plan) MayDelete(ctx context.Context, name string) error {
	return p.connect.Providers.eachMailbox(ctx, name, func(m mailbox.Mailbox) error {
		if p.changes(m.Address) {
			return nil
		}
		return &fault.Error{
			ID: "provider.in_use", Kind: fault.Conflict, Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("The provider %s would be removed, and the mailbox %s still uses it.", name, m.Address), Remedy: "Keep the provider, or move that mailbox to another one or remove it.",
		}
	})
}
