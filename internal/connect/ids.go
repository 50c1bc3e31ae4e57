package connect

import (
	"context"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
)

// idLife is how long the ID of an address is remembered, as long as the broker lends
// an access token without asking whether its grant still stands. What changes in this
// process counts at once.
const (
	idLife  = time.Second
	mostIDs = 10_000
)

// ids remembers which mailbox an address is of, for those who ask many times a
// second.
type ids struct {
	mu      sync.Mutex
	changes int // grows with every change: what was read before one is not remembered after it
	byName  map[string]remembered
}

type remembered struct {
	id   string
	seen time.Time
}

func (i *ids) find(address string, now time.Time) (id string, changes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.byName[address]
	if age := now.Sub(r.seen); age < 0 || age >= idLife {
		return "", i.changes
	}
	return r.id, i.changes
}

func (i *ids) keep(address string, r remembered, changes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if changes != i.changes {
		return
	}
	if i.byName == nil || len(i.byName) >= mostIDs {
		i.byName = map[string]remembered{}
	}
	i.byName[address] = r
}

// forget drops everything: an address may be another mailbox's now.
func (i *ids) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changes++
	i.byName = nil
}

// ID gives a mailbox's ID by its address, compared without case. For up to a
// second it may be that of a mailbox which another process has removed or renamed.
func (b *Mailboxes) ID(ctx context.Context, address string) (string, error) {
	normal, err := message.Address(address)
	if err != nil {
		return "", err
	}
	now := b.needs.Now()
	id, changes := b.ids.find(normal, now)
	if id != "" {
		return id, nil
	}
	m, err := b.needs.Mailboxes.Mailbox(ctx, normal)
	if err != nil {
		return "", err
	}
	b.ids.keep(normal, remembered{m.ID, now}, changes)
	return m.ID, nil
}
