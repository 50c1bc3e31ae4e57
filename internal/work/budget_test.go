package work_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/work"
)

func TestBudget_NeverExceedsTheMinute(t *testing.T) {
	t.Parallel()
	b, start := work.NewBudget(), time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	var sent []time.Time
	due := map[string]time.Time{}
	for i := range 100 {
		due[fmt.Sprint(i)] = start
	}
	for now := start; len(due) > 0 && now.Before(start.Add(10*time.Minute)); now = now.Add(time.Second) {
		for id, at := range due {
			if at.After(now) {
				continue
			}
			if wait := b.Take("m", id, 30, now); wait > 0 {
				due[id] = now.Add(wait)
				continue
			}
			delete(due, id)
			sent = append(sent, now)
		}
	}
	if len(sent) != 100 || sent[99].Sub(start) > 4*time.Minute {
		t.Fatalf("%d sent, the last after %s", len(sent), sent[len(sent)-1].Sub(start))
	}
	for i := 30; i < len(sent); i++ {
		if gap := sent[i].Sub(sent[i-30]); gap < time.Minute {
			t.Fatalf("31 messages within %s", gap)
		}
	}
	if b.Take("other", "x", 30, start) != 0 {
		t.Fatal("another mailbox had to wait")
	}
}

func TestBudget_BoundsConnections(t *testing.T) {
	t.Parallel()
	b := work.NewBudget()
	first, ok := b.Connect("m", 1)
	if !ok {
		t.Fatal("the first connection was refused")
	}
	if _, ok := b.Connect("m", 1); ok {
		t.Fatal("a second connection was allowed")
	}
	first()
	first()
	if _, ok := b.Connect("m", 1); !ok {
		t.Fatal("the connection given back is not free")
	}
}
