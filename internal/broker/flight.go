package broker

import (
	"context"
	"sync"
)

// stage separates the two kinds of shared work: a look into the store is never
// held up by a token request that is under way for the same mailbox.
type stage int

const (
	look stage = iota
	renew
)

// flightKey carries the shelf's generation: who comes after Invalidate does not
// wait for work that read the store before it.
type flightKey struct {
	key
	stage      stage
	generation uint64
}

// flight is work that several callers wait for.
type flight struct {
	done  chan struct{}
	value any
	err   error
}

// flights shares work in a process: whoever comes while it runs waits for its
// outcome instead of doing it again.
type flights struct {
	mu   sync.Mutex
	open map[flightKey]*flight
}

// share runs work once for all who ask while it runs. A caller whose context
// ends leaves; the work goes on for the others, and for its own sake: a token
// request that was sent must be brought home.
func share[T any](ctx context.Context, f *flights, k flightKey, work func() (T, error)) (T, error) {
	running := f.join(k, func() (any, error) { return work() })
	var none T
	select {
	case <-running.done:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if running.err != nil {
		return none, running.err
	}
	return running.value.(T), nil
}

func (f *flights) join(k flightKey, work func() (any, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running, ok := f.open[k]; ok {
		return running
	}
	if f.open == nil {
		f.open = map[flightKey]*flight{}
	}
	started := &flight{done: make(chan struct{})}
	f.open[k] = started
	go func() {
		value, err := work()
		f.mu.Lock()
		delete(f.open, k)
		f.mu.Unlock()
		started.value, started.err = value, err
		close(started.done)
	}()
	return started
}

// drain waits until nothing is under way.
func (f *flights) drain() {
	for {
		f.mu.Lock()
		var one *flight
		for _, running := range f.open {
			one = running
			break
		}
		f.mu.Unlock()
		if one == nil {
			return
		}
		<-one.done
	}
}
