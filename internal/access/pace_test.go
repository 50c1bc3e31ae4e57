package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func program(name string) access.Caller {
	return access.Caller{Actor: event.Actor{Kind: event.ActorAPIKey, Name: name}, May: access.Rights()}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := access.New(access.Needs{Now: func() time.Time { return now }, Bounds: access.Bounds{PerSecond: 2, Burst: 5}})
	admitted := func(c access.Caller) (n int) {
		t.Helper()
		for range 50 {
			err := a.Admit(c)
			if err == nil {
				n++
				continue
			}
			wants(t, err, "access.too_many_requests")
			if f := fault.Of(err); f.Kind != fault.Limited || f.RetryAfter <= 0 || f.RetryAfter > 500*time.Millisecond || !strings.Contains(f.Text, c.Actor.Name) {
				t.Errorf("refused with %+v", f)
			}
		}
		return n
	}
	for _, step := range []struct {
		why   string
		after time.Duration
		who   access.Caller
		want  int
	}{
		{"the burst", 0, program("a"), 5},
		{"nothing is left", 0, program("a"), 0},
		{"another key is not hindered", 0, program("b"), 5},
		{"half a second gives one", 500 * time.Millisecond, program("a"), 1},
		{"the remainder is kept", 750 * time.Millisecond, program("a"), 1},
		{"and counted on", 250 * time.Millisecond, program("a"), 1},
		{"a long pause gives the burst and no more", time.Hour, program("a"), 5},
		{"a clock put back gives nothing", -time.Hour, program("a"), 0},
		{"and goes on from there", time.Second, program("a"), 2},
		{"an operator is not bounded", 0, access.OperatorCaller("anna"), 50},
		{"nor is the socket", 0, access.Local(0), 50},
	} {
		now = now.Add(step.after)
		if n := admitted(step.who); n != step.want {
			t.Errorf("%s: %d requests were admitted, want %d", step.why, n, step.want)
		}
	}
	// What is refused may be asked after the wait that was named.
	c := program("a")
	f := fault.Of(a.Admit(c))
	now = now.Add(f.RetryAfter + time.Nanosecond)
	if err := a.Admit(c); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	unbounded := access.New(access.Needs{Now: func() time.Time { return now }})
	for range 10_000 {
		if err := unbounded.Admit(c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenStream(t *testing.T) {
	t.Parallel()
	a := access.New(access.Needs{Bounds: access.Bounds{Streams: 2}})
	open := func(c access.Caller) func() {
		t.Helper()
		done, err := a.OpenStream(c)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	first, _ := open(program("a")), open(program("a"))
	_, err := a.OpenStream(program("a"))
	wants(t, err, "access.too_many_streams")
	if fault.Of(err).RetryAfter <= 0 {
		t.Error("no wait is named")
	}
	open(program("b"))
	for range 10 {
		open(access.Local(0))
	}
	first()
	open(program("a"))
	_, err = a.OpenStream(program("a"))
	wants(t, err, "access.too_many_streams")
}
