package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

const (
	// atOnce bounds the deliveries under way to one webhook in this process. Nothing
	// bounds all webhooks together: there are as many as operators made, and a
	// place that one of them could take from another would be taken by one that hangs.
	atOnce = 8
	// inTurn is how many deliveries of a queue are made before another queue of
	// the webhook has its turn.
	inTurn = 8
	// mostWaiting bounds the queues of one webhook that wait in memory. The sweep
	// finds the others when there is room.
	mostWaiting = 1000
	// sweepEvery is how often due queues are looked for whose job was lost, or is
	// another process's.
	sweepEvery = 5 * time.Second
	// endTime is how long attempts under way may take once Run is to end.
	endTime = 5 * time.Second
)

// lanes is what this process is about to do, by webhook.
type lanes struct {
	mu      sync.Mutex
	lasting context.Context //nolint:containedctx // what attempts run under; nil outside Run
	going   context.Context //nolint:containedctx // ends first: no attempt begins any more
	of      map[string]*lane
	working sync.WaitGroup
}

// lane is one webhook's: the queues to look at, in the order in which they were woken.
type lane struct {
	waiting []string
	queues  map[string]*turn // those in waiting, and those under way
	busy    int
}

type turn struct {
	underWay bool
	again    bool // woken while it was under way
}

// Wake says that the head of a queue may be due. It returns at once: the work is
// done by Run, and where Run is not running the next sweep finds it.
func (w *Webhooks) Wake(webhookID, mailboxID string) {
	l := &w.lanes
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lasting == nil {
		return
	}
	mine, ok := l.of[webhookID]
	if !ok {
		mine = &lane{queues: map[string]*turn{}}
		l.of[webhookID] = mine
	}
	if q, ok := mine.queues[mailboxID]; ok {
		q.again = q.underWay
		return
	}
	if len(mine.waiting) >= mostWaiting {
		return
	}
	mine.queues[mailboxID] = &turn{}
	mine.waiting = append(mine.waiting, mailboxID)
	if mine.busy < atOnce {
		mine.busy++
		lasting, going := l.lasting, l.going
		l.working.Go(func() { w.work(lasting, going, webhookID, mine) })
	}
}

// work gives the queues of one webhook their turns until none waits.
func (w *Webhooks) work(lasting, going context.Context, webhookID string, mine *lane) {
	for {
		mailboxID, ok := w.lanes.next(going, webhookID, mine)
		if !ok {
			return
		}
		more, err := w.turn(lasting, going, webhookID, mailboxID)
		if err != nil && going.Err() == nil {
			w.log.WarnContext(lasting, "deliver; it is tried again in a moment", "webhook_id", webhookID, "error", fault.Of(err))
		}
		w.lanes.done(mine, mailboxID, more && err == nil)
	}
}

// next takes the queue that has waited longest; a worker that finds none ends.
func (l *lanes) next(going context.Context, webhookID string, mine *lane) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(mine.waiting) == 0 || going.Err() != nil {
		if mine.busy--; mine.busy == 0 {
			delete(l.of, webhookID)
		}
		return "", false
	}
	mailboxID := mine.waiting[0]
	mine.waiting = mine.waiting[1:]
	mine.queues[mailboxID].underWay = true
	return mailboxID, true
}

// done ends a turn. A queue that has more to do goes to the end.
func (l *lanes) done(mine *lane, mailboxID string, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := mine.queues[mailboxID]
	if !more && !q.again {
		delete(mine.queues, mailboxID)
		return
	}
	*q = turn{}
	mine.waiting = append(mine.waiting, mailboxID)
}

// Run works on what is woken and sweeps for what is not, until ctx ends. Then
// nothing begins any more; attempts under way get a moment to finish, and one that
// is cut off is given back as if it had not been made.
func (w *Webhooks) Run(ctx context.Context) error {
	lasting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	l := &w.lanes
	l.mu.Lock()
	l.lasting, l.going, l.of = lasting, ctx, map[string]*lane{}
	l.mu.Unlock()

	sweep, tidy := time.NewTicker(sweepEvery), time.NewTicker(tidyEvery)
	defer sweep.Stop()
	defer tidy.Stop()
	w.tidy(ctx)
	for ctx.Err() == nil {
		w.sweep(ctx)
		select {
		case <-ctx.Done():
		case <-sweep.C:
		case <-tidy.C:
			w.tidy(ctx)
		}
	}

	l.mu.Lock()
	l.lasting = nil
	l.mu.Unlock()
	late := time.AfterFunc(endTime, cut)
	defer late.Stop()
	l.working.Wait()
	return nil
}

// sweep wakes the queues that are due.
func (w *Webhooks) sweep(ctx context.Context) {
	queues, err := w.store.DueQueues(ctx, w.now(), mostWaiting)
	if err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "look for due deliveries", "error", fault.Of(err))
	}
	for _, q := range queues {
		w.Wake(q.WebhookID, q.MailboxID)
	}
}
