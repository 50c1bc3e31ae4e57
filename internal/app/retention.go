package app

import (
	"context"
	"time"
)

// The timeline is every room's, so that its retention is kept here. Messages and
// submissions are removed by the rooms that own them.
const (
	purgeEvery = time.Hour
	purgeBatch = 500                    // events removed in one transaction
	purgeRest  = 100 * time.Millisecond // between two batches: others write too
)

// keepRetention removes events past the retention, with their finished
// deliveries, at start and hourly, until ctx ends. Events that a webhook still
// waits for, or that were put aside for it, stay until the deliveries end.
func (a *App) keepRetention(ctx context.Context) error {
	for {
		rest := purgeEvery
		n, err := a.Store.PurgeEvents(ctx, a.now().Add(-a.cfg.Retention), purgeBatch)
		switch {
		case err != nil && ctx.Err() == nil:
			a.log.WarnContext(ctx, "old events could not be removed; it is tried again in an hour", "error", err)
		case n == purgeBatch:
			rest = purgeRest
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}
