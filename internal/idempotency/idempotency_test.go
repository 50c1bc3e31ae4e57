package idempotency_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/idempotency"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

// room is the capability on a database of its own, with a clock to turn.
type room struct {
	*idempotency.Calls
	t     *testing.T
	store *watched
	mu    sync.Mutex
	now   time.Time
	ran   int
}

// watched tells what was removed.
type watched struct {
	*store.Store
	purged chan int
}

func (w *watched) PurgeCalls(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := w.Store.PurgeCalls(ctx, now, limit)
	if err == nil {
		w.purged <- n
	}
	return n, err
}

func open(t *testing.T) *room {
	t.Helper()
	t.Parallel()
	r := &room{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	r.store = &watched{Store: storetest.OpenSQLite(t), purged: make(chan int, 1)}
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	r.Calls = idempotency.New(r.store, keys, r.clock, nil)
	return r
}

func (r *room) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *room) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func call(key, request string) idempotency.Call {
	return idempotency.Call{Caller: "api_key:desk", Path: "/v1/webhooks", Key: key, Request: []byte(request)}
}

// make answers as an operation does that counts how often it ran.
func (r *room) make(context.Context) (idempotency.Answer, error) {
	r.ran++
	return idempotency.Answer{Status: 201, Body: []byte(`{"name":"desk"}`)}, nil
}

// do must be answered.
func (r *room) do(key, request string) (replayed bool) {
	r.t.Helper()
	a, replayed, err := r.Do(r.t.Context(), call(key, request), r.make)
	if err != nil || a.Status != 201 || string(a.Body) != `{"name":"desk"}` {
		r.t.Fatalf("%+v, %v", a, err)
	}
	return replayed
}

func (r *room) refused(err error, id string, kind fault.Kind) {
	r.t.Helper()
	if !fault.Has(err, id) || fault.KindOf(err) != kind || fault.Of(err).Remedy == "" {
		r.t.Fatalf("got %v, want %s", err, id)
	}
}

func TestDo_RunsOnce(t *testing.T) {
	r := open(t)
	if r.do("key", "request") || !r.do("key", "request") || r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
	r.pass(idempotency.Life - time.Second)
	if !r.do("key", "request") {
		t.Error("the answer was not kept for a day")
	}
	r.pass(time.Second)
	if r.do("key", "request") || r.ran != 2 {
		t.Errorf("after a day the key is fresh; it ran %d times", r.ran)
	}
}

func TestDo_RefusesAnotherRequestUnderTheKey(t *testing.T) {
	r := open(t)
	r.do("key", "request")
	_, _, err := r.Do(t.Context(), call("key", "another"), r.make)
	r.refused(err, "idempotency.key_reused", fault.Invalid)
	if r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
}

func TestDo_RefusalFreesTheKey(t *testing.T) {
	r := open(t)
	no := errors.New("no")
	_, _, err := r.Do(t.Context(), call("key", "wrong"), func(context.Context) (idempotency.Answer, error) { return idempotency.Answer{}, no })
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if r.do("key", "mended") || r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
}

func TestDo_PanicFreesTheKey(t *testing.T) {
	r := open(t)
	func() {
		defer func() { _ = recover() }()
		_, _, _ = r.Do(t.Context(), call("key", "request"), func(context.Context) (idempotency.Answer, error) { panic("a bug") })
	}()
	if r.do("key", "request") {
		t.Error("an answer that never was is replayed")
	}
}

func TestDo_OneOfTwoAtOnceRuns(t *testing.T) {
	r := open(t)
	started, finish := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, _, err := r.Do(t.Context(), call("key", "request"), func(ctx context.Context) (idempotency.Answer, error) {
			close(started)
			<-finish
			return r.make(ctx)
		})
		done <- err
	}()
	<-started
	_, _, err := r.Do(t.Context(), call("key", "request"), r.make)
	r.refused(err, "idempotency.running", fault.Conflict)
	if fault.Of(err).RetryAfter <= 0 {
		t.Error("the refusal does not say when to come back")
	}
	close(finish)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !r.do("key", "request") || r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
}

func TestDo_EndsEvenWhenItsCallerIsGone(t *testing.T) {
	r := open(t)
	ctx, leave := context.WithCancel(t.Context())
	_, _, err := r.Do(ctx, call("key", "request"), func(running context.Context) (idempotency.Answer, error) {
		leave()
		if running.Err() != nil {
			t.Error("the call ended with its caller")
		}
		return r.make(running)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.do("key", "request") || r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
}

func TestDo_GoesOnWhereAProcessDied(t *testing.T) {
	r := open(t)
	// A process that dies keeps no answer and frees no key: as one whose call never ends.
	started, hang, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(hang); <-gone })
	go func() {
		defer close(gone)
		_, _, _ = r.Do(context.Background(), call("key", "request"), func(context.Context) (idempotency.Answer, error) {
			close(started)
			<-hang
			return idempotency.Answer{}, errors.New("too late")
		})
	}()
	<-started
	_, _, err := r.Do(t.Context(), call("key", "request"), r.make)
	r.refused(err, "idempotency.running", fault.Conflict)
	r.pass(3 * time.Minute)
	_, _, err = r.Do(t.Context(), call("key", "another"), r.make)
	r.refused(err, "idempotency.key_reused", fault.Invalid)
	if r.do("key", "request") || !r.do("key", "request") || r.ran != 1 {
		t.Errorf("ran %d times", r.ran)
	}
}

func TestCheckKey(t *testing.T) {
	r := open(t)
	for _, key := range []string{"", strings.Repeat("k", idempotency.MaxKey+1), "a\x00", "a\n", "é"} {
		_, _, err := r.Do(t.Context(), call(key, "request"), r.make)
		r.refused(err, "idempotency.key", fault.Invalid)
	}
	r.do(strings.Repeat("k", idempotency.MaxKey), "request")
}

func TestRun_RemovesWhatHasExpired(t *testing.T) {
	r := open(t)
	r.do("key", "request")
	r.pass(idempotency.Life)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	if n := <-r.store.purged; n != 1 {
		t.Errorf("%d removed", n)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
