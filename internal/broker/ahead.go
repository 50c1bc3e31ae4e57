package broker

import (
	"context"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

const (
	batch        = 256             // due grants taken up in one round
	mostQueued   = 10_000          // due grants in memory
	longestRest  = time.Minute     // between two rounds
	leastRest    = time.Second     // while what is due is already taken up
	afterTrouble = 5 * time.Second // after a store that failed
)

// queue is what the loop has taken up, and a lane for each provider.
type queue struct {
	mu      sync.Mutex
	taken   map[string]bool
	lanes   map[string]chan struct{}
	width   int
	moved   chan struct{} // told when something was finished
	workers sync.WaitGroup
}

func (q *queue) take(mailboxID string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[mailboxID] {
		return false
	}
	q.taken[mailboxID] = true
	return true
}

func (q *queue) leave(mailboxID string) {
	q.mu.Lock()
	delete(q.taken, mailboxID)
	q.mu.Unlock()
	select {
	case q.moved <- struct{}{}:
	default:
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.taken)
}

func (q *queue) lane(providerName string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	l, ok := q.lanes[providerName]
	if !ok {
		l = make(chan struct{}, q.width)
		q.lanes[providerName] = l
	}
	return l
}

// Run renews grants ahead of need until ctx ends, and returns when every
// request that was sent is answered and stored. It sleeps until the next grant is due,
// a minute at most. Each provider has a lane of its own, so that a slow one delays
// nobody else. After Run has ended, stored access tokens are still lent, but
// nothing is renewed. It is called once.
func (b *Broker) Run(ctx context.Context) error {
	q := &queue{taken: map[string]bool{}, lanes: map[string]chan struct{}{}, width: b.perProvider, moved: make(chan struct{}, 1)}
	b.lastRun.Store(b.now().UnixNano())
	for ctx.Err() == nil {
		rest, full := b.round(ctx, q)
		moved := q.moved
		if !full {
			moved = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		case <-moved:
		}
	}
	b.closeOne.Do(func() { close(b.closing) })
	q.workers.Wait()
	b.flights.drain()
	return nil
}

func (b *Broker) isClosing() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

// round takes up what is due and gives how long to rest. full says that more is
// due than was listed. What is taken up but unfinished is listed again, so the
// limit makes room for it: a provider that hangs with hundreds of grants
// does not hide those of others.
func (b *Broker) round(ctx context.Context, q *queue) (rest time.Duration, full bool) {
	now := b.now()
	b.shelf.sweep(now)
	limit := min(q.length()+batch, mostQueued)
	due, err := b.store.Due(ctx, now, limit)
	if err != nil {
		if ctx.Err() == nil {
			b.log.ErrorContext(ctx, "the list of grants to renew cannot be read", "error", err)
		}
		return afterTrouble, false
	}
	for _, d := range due {
		if q.take(d.MailboxID) {
			q.workers.Go(func() {
				defer q.leave(d.MailboxID)
				b.ahead(ctx, q, d.MailboxID)
			})
		}
	}
	next, err := b.store.NextDue(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.log.ErrorContext(ctx, "the next renewal cannot be read", "error", err)
		}
		return afterTrouble, false
	}
	b.lastRun.Store(b.now().UnixNano())
	rest = longestRest
	if !next.IsZero() {
		rest = min(max(next.Sub(b.now()), leastRest), longestRest)
	}
	return rest, len(due) == limit
}

// ahead renews one grant for what its mailbox mainly does; its other
// resources are renewed when they are asked for.
func (b *Broker) ahead(ctx context.Context, q *queue, mailboxID string) {
	m, err := b.directory.MailboxByID(ctx, mailboxID)
	if err != nil {
		if ctx.Err() == nil && !fault.Has(err, "mailbox.unknown") {
			b.log.ErrorContext(ctx, "a mailbox to renew cannot be read", "mailbox_id", mailboxID, "error", err)
		}
		return
	}
	lane := q.lane(m.Provider)
	select {
	case lane <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-lane }()
	if ctx.Err() != nil {
		return
	}
	// It may have been renewed since it was listed, while it waited for its lane.
	if g, err := b.store.Grant(ctx, mailboxID); err == nil && g.NextRefreshAt.After(b.now()) {
		return
	}
	t := task{key: key{mailboxID, ""}, generation: b.shelf.generation(mailboxID), ahead: true}
	if o, err := b.declared(ctx, m, ""); err == nil {
		t.resource = o.resource.Name
	}
	// Failures are recorded, and logged, where they are settled.
	whole := context.WithoutCancel(ctx)
	_, err = share(whole, &b.flights, flightKey{t.key, renew, t.generation}, func() (*entry, error) { return b.renew(whole, t) })
	if f := fault.Of(err); f != nil && f.Kind == fault.Internal {
		b.log.ErrorContext(ctx, "a renewal ahead of need met an error", "mailbox", m.Address, "error", err)
	}
}

// LastRun is when Run last completed a round; zero when it never ran.
func (b *Broker) LastRun() time.Time {
	if n := b.lastRun.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// SilentAfter is how long Run may take for a round before it counts as silent.
func (b *Broker) SilentAfter() time.Duration { return b.silentAfter }

// Watch is the dead-man's alarm: it runs apart from Run and tells an event
// "broker.silent" when Run has not completed a round within
// Options.SilentAfter, once for each silence, until it is told without error.
func (b *Broker) Watch(ctx context.Context, tell func(context.Context, event.Event) error) error {
	last, told := b.now(), false
	tick := time.NewTicker(b.silentAfter / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if run := b.LastRun(); run.After(last) {
			last, told = run, false
		}
		now := b.now()
		if told || now.Sub(last) <= b.silentAfter {
			continue
		}
		e := event.New(now, event.RefreshSilent, event.System(),
			"The refresh loop has not completed a round since "+moment(last)+". Grants are not renewed ahead of need.")
		e.Remedy = "Look at the server's log: the database may not answer. Restart the server if nothing else helps."
		b.log.ErrorContext(ctx, "the refresh loop is silent", "last_run", last)
		if err := tell(ctx, e); err != nil {
			b.log.ErrorContext(ctx, "the alarm could not be told", "error", err)
			continue
		}
		told = true
	}
}
