// Package fetch follows the folders of every mailbox that receives and hands
// new messages on, at least once and without doubling them.
//
// A mailbox is watched under a lease by one process, with one goroutine and one
// connection. Each folder has a cursor (UIDVALIDITY and UID) that moves only in
// the transaction that stores the messages, so that a crash loses nothing; what
// after_receive asks is done at the server after that, at least once: what is
// owed is stored with the cursor. A folder that was never read is handed on
// from its beginning.
//
//	claim ──▶ open ──▶ read every folder ──▶ wait (IDLE or timer) ─┐
//	  ▲         │            ▲                                     │
//	  │         │ fault      └───────── something came, or a round ┘
//	  │         ▼                       ended: IDLE is not trusted
//	  └──── back off, by fault and with jitter; "stopped" once an outage
//
// A mailbox that fails waits alone: no other is delayed by it.
package fetch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Options are what a Fetch is made of. Zero durations and numbers mean the
// defaults named.
type Options struct {
	Store     Store
	Lender    Lender
	Directory Directory
	Readers   Readers
	Owner     string           // names this run of this process
	Now       func() time.Time // time.Now
	Logger    *slog.Logger

	Retention time.Duration // how long messages are kept: 30 days
	Watches   int           // mailboxes watched at most: 20,000
	Dials     int           // connections being opened at once: 32
	Lease     time.Duration // of a watch: 10 s, renewed at a third of it; a dead process's mailboxes are watched again within 15 s
	Round     time.Duration // longest wait before every folder is looked at: 5 min, at most 9
	Batch     int           // messages listed at once: 500
}

// Fetch is the capability. Run runs it.
type Fetch struct {
	Options
	dials chan struct{}
	nudge chan struct{}

	mu      sync.Mutex
	running map[string]*watch
	ending  map[string]*watch  // dropped, and perhaps not ended yet
	outages map[string]*outage // by mailbox; survives a watch that is begun anew
	nudged  map[string]bool
	drain   sync.WaitGroup
}

// New makes a Fetch; nothing happens until Run.
func New(o Options) *Fetch {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Retention = orDefault(o.Retention, 30*24*time.Hour)
	o.Watches = orDefault(o.Watches, 20000)
	o.Dials = orDefault(o.Dials, 32)
	o.Lease = orDefault(o.Lease, 10*time.Second)
	o.Round = min(orDefault(o.Round, 5*time.Minute), 9*time.Minute)
	o.Batch = orDefault(o.Batch, 500)
	return &Fetch{
		Options: o, dials: make(chan struct{}, o.Dials), nudge: make(chan struct{}, 1),
		running: map[string]*watch{}, ending: map[string]*watch{}, outages: map[string]*outage{}, nudged: map[string]bool{},
	}
}

func orDefault[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// Nudge says that a mailbox or its grant changed: its watch is begun, ended or
// begun anew at once, and does not wait for a back-off.
func (f *Fetch) Nudge(mailboxID string) {
	f.mu.Lock()
	f.nudged[mailboxID] = true
	f.mu.Unlock()
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends, then gives back every lease. It returns when all
// watches have ended.
func (f *Fetch) Run(ctx context.Context) error {
	f.drain.Go(func() { f.purge(ctx) })
	tick := time.NewTicker(f.Lease / 3)
	defer tick.Stop()
	for ctx.Err() == nil {
		f.claim(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-f.nudge:
		}
	}
	f.mu.Lock()
	for _, w := range f.running {
		w.cancel()
	}
	f.mu.Unlock()
	f.drain.Wait()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := f.Store.ReleaseWatches(release, f.Owner); err != nil {
		// They run out by themselves in a few seconds; that is no reason to end badly.
		f.Logger.WarnContext(ctx, "leases of mailboxes could not be given back", "error", err)
	}
	return nil
}

// claim renews the leases and makes the watches that run those that are held.
func (f *Fetch) claim(ctx context.Context) {
	now := f.Now()
	asked, cancel := context.WithTimeout(ctx, f.Lease)
	held, err := f.Store.ClaimWatches(asked, f.Owner, now, now.Add(f.Lease), f.Watches)
	cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			f.Logger.Error("claim mailboxes to watch", "err", err)
		}
		for id, w := range f.running { // beyond its lease a watch is somebody else's
			if f.Now().After(w.until) {
				f.drop(id, w)
			}
		}
		return
	}
	keep := make(map[string]bool, len(held))
	for _, h := range held {
		id := h.Mailbox.ID
		keep[id] = true
		w, ok := f.running[id]
		// Another fence says that somebody else held the lease meanwhile: what this watch has
		// in its hands is old, and must not be written under the new one.
		if ok && (w.box.Version != h.Mailbox.Version || w.ended() || w.fence.Load() != h.Lease.Fence) {
			w.cancel()
			ok = false
		}
		if !ok {
			w = f.begin(ctx, h, w)
		}
		w.fence.Store(h.Lease.Fence)
		w.until = h.Lease.Until
		if f.nudged[id] {
			w.wake()
		}
	}
	clear(f.nudged)
	for id, w := range f.running {
		if !keep[id] {
			f.drop(id, w)
		}
	}
	for id, w := range f.ending {
		if w.ended() {
			delete(f.ending, id)
		}
	}
}

// drop ends a watch that is not ours any more, and forgets its outage.
func (f *Fetch) drop(id string, w *watch) {
	w.cancel()
	delete(f.running, id)
	delete(f.outages, id)
	f.ending[id] = w
}

// begin starts a watch, after the one before it has let go.
func (f *Fetch) begin(ctx context.Context, held Watch, before *watch) *watch {
	box := held.Mailbox
	if before == nil {
		before = f.ending[box.ID]
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{
		Fetch: f, box: box, cancel: cancel, done: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	w.fence.Store(held.Lease.Fence)
	o, ok := f.outages[box.ID]
	if !ok {
		o = outageOf(held.Outage)
		f.outages[box.ID] = o
	}
	w.outage = o
	f.running[box.ID] = w
	f.drain.Go(func() {
		defer close(w.done)
		defer cancel()
		if before != nil {
			<-before.done
		}
		w.run(ctx)
	})
	return w
}

// purge removes messages past their retention.
func (f *Fetch) purge(ctx context.Context) {
	const batch = 500
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for {
			n, err := f.Store.Purge(ctx, f.Now(), batch)
			if err != nil && !errors.Is(err, context.Canceled) {
				f.Logger.Error("remove messages past their retention", "err", err)
			}
			if err != nil || n < batch {
				break
			}
		}
	}
}
