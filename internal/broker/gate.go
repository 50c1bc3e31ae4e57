package broker

import (
	"context"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// gates keep a wrong or expired client secret from being presented once per
// mailbox: the provider has refused the application, not a grant, so all
// its mailboxes wait together and one of them tries. A changed provider record opens
// its gate at once.
type gates struct {
	mu     sync.Mutex
	closed map[string]gate
}

type gate struct {
	version int64
	until   time.Time
	fault   *fault.Error
}

// shut gives the failure that binds a provider at now; nil when its gate is open.
func (g *gates) shut(r provider.Record, now time.Time) *fault.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, ok := g.closed[r.Name]
	if !ok || c.version != r.Version || !now.Before(c.until) {
		return nil
	}
	f := *c.fault
	f.RetryAfter = c.until.Sub(now)
	return &f
}

// shutUntil closes a gate; first is false where it was closed for this version before.
func (g *gates) shutUntil(r provider.Record, until time.Time, f *fault.Error) (first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = map[string]gate{}
	}
	c, ok := g.closed[r.Name]
	g.closed[r.Name] = gate{r.Version, until, f}
	return !ok || c.version != r.Version
}

func (g *gates) open(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closed, name)
}

// shutGate says loudly, once per provider, that the application itself is refused.
func (b *Broker) shutGate(ctx context.Context, a attempt, f *fault.Error, until time.Time) {
	_, reg, err := b.directory.Registration(ctx, a.m.Provider)
	if err != nil {
		return // the next renewal meets the same failure and says so
	}
	if b.gates.shutUntil(reg.Record, until, f) {
		b.log.ErrorContext(ctx, "the provider refuses the application: no mailbox of it can be renewed; all grants are kept",
			"provider", a.m.Provider, "again_at", until, "error", f)
	}
}
