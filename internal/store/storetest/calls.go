package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/idempotency"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
)

// call is one that begins at noon and is leased for a minute.
func (w *world) call(key, request string) idempotency.Record {
	id := event.NewID()
	return idempotency.Record{
		ID: id, Caller: "api_key:desk", Path: "/v1/webhooks", Key: key, Digest: w.seal(request, "idempotency_key", id, "digest"),
		Fence: 1, LeasedTo: noon().Add(time.Minute), ExpiresAt: noon().Add(24 * time.Hour),
	}
}

// begun begins a call that must be the first under its key.
func (w *world) begun(r idempotency.Record, now time.Time) idempotency.Record {
	w.t.Helper()
	stored, begun, err := w.BeginCall(w.ctx, r, now)
	must(w.t, err)
	if !begun {
		w.t.Fatal("a call was taken for another")
	}
	return stored
}

func calls(t *testing.T, open func(*testing.T) *store.Store) {
	answer := idempotency.Answer{Status: 201, Body: []byte(`{"name":"desk"}`)}
	sealed := cmp.Comparer(func(a, b seal.Sealed) bool { return string(a.Bytes()) == string(b.Bytes()) })

	t.Run("one begins, however many at once", func(t *testing.T) {
		w := newWorld(t, open)
		ids, begun := make([]string, 10), make([]bool, 10)
		errs := race(10, func(i int) error {
			r, first, err := w.BeginCall(w.ctx, w.call("key", "request"), noon())
			ids[i], begun[i] = r.ID, first
			return err
		})
		first := 0
		for i, err := range errs {
			must(t, err)
			if begun[i] {
				first++
			}
			if ids[i] != ids[0] {
				t.Error("two calls began under one key")
			}
		}
		if first != 1 {
			t.Errorf("%d calls began", first)
		}
	})
	t.Run("another caller, path or key is another call", func(t *testing.T) {
		w := newWorld(t, open)
		w.begun(w.call("key", "request"), noon())
		other := w.call("key", "request")
		other.Caller = "api_key:other"
		w.begun(other, noon())
		other = w.call("key", "request")
		other.Path = "/v1/apps"
		w.begun(other, noon())
		w.begun(w.call("other", "request"), noon())
	})
	t.Run("is found as it was stored, and with its answer", func(t *testing.T) {
		w := newWorld(t, open)
		want := w.call("key", "request")
		w.begun(want, noon())
		got, _, err := w.BeginCall(w.ctx, w.call("key", "request"), noon())
		must(t, err)
		if d := cmp.Diff(want, got, sealed, cmp.Transformer("body", func(b []byte) string { return string(b) })); d != "" {
			t.Error(d)
		}
		must(t, w.AnswerCall(w.ctx, want.ID, 1, answer))
		got, begun, err := w.BeginCall(w.ctx, w.call("key", "request"), noon().Add(time.Hour))
		must(t, err)
		if begun || got.Answer.Status != 201 || string(got.Answer.Body) != string(answer.Body) || w.opened(got.Digest, "idempotency_key", want.ID, "digest") != "request" {
			t.Errorf("%v, %+v", begun, got)
		}
		wantFault(t, w.AnswerCall(w.ctx, want.ID, 1, answer), "work.fenced", fault.Conflict)
		wantFault(t, w.ForgetCall(w.ctx, want.ID, 1), "work.fenced", fault.Conflict)
	})
	t.Run("a refused one frees its key", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.begun(w.call("key", "request"), noon())
		must(t, w.ForgetCall(w.ctx, r.ID, 1))
		w.begun(w.call("key", "another request"), noon())
	})
	t.Run("one whose process died is taken over, by one only", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.begun(w.call("key", "request"), noon())
		_, err := w.ResumeCall(w.ctx, r.ID, 1, noon().Add(59*time.Second), noon().Add(time.Hour))
		wantFault(t, err, "work.fenced", fault.Conflict)
		errs := race(5, func(int) error {
			_, err := w.ResumeCall(w.ctx, r.ID, 1, noon().Add(time.Minute), noon().Add(2*time.Minute))
			return err
		})
		if won := tally(t, errs, "work.fenced"); won != 1 {
			t.Errorf("%d took it over", won)
		}
		wantFault(t, w.AnswerCall(w.ctx, r.ID, 1, answer), "work.fenced", fault.Conflict)
		must(t, w.AnswerCall(w.ctx, r.ID, 2, answer))
		_, err = w.ResumeCall(w.ctx, r.ID, 2, noon().Add(time.Hour), noon().Add(2*time.Hour))
		wantFault(t, err, "work.fenced", fault.Conflict)
	})
	t.Run("an expired one frees its key and is removed", func(t *testing.T) {
		w := newWorld(t, open)
		day := noon().Add(24 * time.Hour)
		must(t, w.AnswerCall(w.ctx, w.begun(w.call("again", "request"), noon()).ID, 1, answer))
		fresh := w.call("again", "request")
		fresh.ExpiresAt = day.Add(time.Hour)
		if r := w.begun(fresh, day); r.ID != fresh.ID || r.Answer.Status != 0 {
			t.Errorf("%+v", r)
		}
		for _, key := range []string{"a", "b", "c"} {
			w.begun(w.call(key, "request"), noon())
		}
		for _, want := range []int{2, 1, 0} {
			if n, err := w.PurgeCalls(w.ctx, day, 2); err != nil || n != want {
				t.Errorf("%d removed, want %d (%v)", n, want, err)
			}
		}
		if _, begun, err := w.BeginCall(w.ctx, w.call("again", "request"), day); err != nil || begun {
			t.Errorf("one that has not expired was removed (%v)", err)
		}
	})
}
