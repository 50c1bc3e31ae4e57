package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: filepath.Join(t.TempDir(), "mailgrant.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// tell writes an event, and then does what the change is to end with.
func tell(ctx context.Context, s *Store, text string, then func() error) error {
	return s.change(ctx, "tell", func(t *tx) error {
		if err := t.addEvents(event.New(time.Now(), event.MailboxTested, event.System(), text)); err != nil {
			return err
		}
		return then()
	})
}

func told(t *testing.T, s *Store) map[string]int {
	t.Helper()
	events, err := s.Events(t.Context(), event.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range events {
		found[e.Text]++
	}
	return found
}

// crowd has so many changes wait for their turn before the first goes on.
func crowd(t *testing.T, s *Store, n int, change func(i int)) {
	t.Helper()
	s.line.turn.Lock()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { change(i) })
	}
	for s.line.waiting.Load() < int64(n) {
		select {
		case <-t.Context().Done():
			t.Fatal("nobody waits")
		default:
		}
	}
	s.line.turn.Unlock()
	group.Wait()
}

func TestTogether_EachChangeStandsForItself(t *testing.T) {
	t.Parallel()
	s := open(t)
	refused := errors.New("refused")
	errs := make([]error, 30)
	crowd(t, s, len(errs), func(i int) {
		defer func() {
			if v := recover(); v != nil {
				errs[i] = fmt.Errorf("%v", v)
			}
		}()
		errs[i] = tell(t.Context(), s, fmt.Sprint(i), func() error {
			switch i % 3 {
			case 1:
				return refused
			case 2:
				panic("a bug")
			}
			return nil
		})
	})
	found := told(t, s)
	for i, err := range errs {
		if stayed := found[fmt.Sprint(i)] == 1; stayed != (i%3 == 0) {
			t.Errorf("change %d: it stayed is %v", i, stayed)
		}
		if (err == nil) != (i%3 == 0) || i%3 == 1 && !errors.Is(err, refused) {
			t.Errorf("change %d gave %v", i, err)
		}
	}
}

func TestTogether_WhoGivesUpWaitingChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	crowd(t, s, 10, func(i int) {
		asked := t.Context()
		if i%2 == 1 {
			asked = ctx
		}
		err := tell(asked, s, fmt.Sprint(i), func() error { return nil })
		if (err != nil) != (i%2 == 1) || err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("change %d gave %v", i, err)
		}
	})
	if found := told(t, s); len(found) != 5 {
		t.Errorf("%v stayed, want the five that did not give up", found)
	}
}

func TestTogether_WhatUndoesEverythingIsToldToEverybody(t *testing.T) {
	t.Parallel()
	s := open(t)
	errs := make([]error, 8)
	crowd(t, s, len(errs), func(i int) {
		errs[i] = tell(t.Context(), s, fmt.Sprint(i), func() error { return nil })
	})
	broken := s.change(t.Context(), "break", func(x *tx) error {
		_, err := x.exec("ROLLBACK") // as SQLite does by itself when the disk is full
		return errors.Join(err, errors.New("the disk is full"))
	})
	if broken == nil {
		t.Error("a change that was undone was acknowledged")
	}
	for i, err := range errs {
		if err != nil {
			t.Errorf("change %d gave %v", i, err)
		}
	}
	// The next one finds everything in order.
	if err := tell(t.Context(), s, "after", func() error { return nil }); err != nil {
		t.Error(err)
	}
	if found := told(t, s); len(found) != len(errs)+1 {
		t.Errorf("%v stayed", found)
	}
	// Members of the undone transaction, whichever of them it was that broke.
	crowd(t, s, len(errs), func(i int) {
		errs[i] = s.change(t.Context(), "tell", func(x *tx) error {
			if i == 3 {
				_, err := x.exec("ROLLBACK")
				return errors.Join(err, errors.New("the disk is full"))
			}
			return x.addEvents(event.New(time.Now(), event.MailboxTested, event.System(), "crowd "+fmt.Sprint(i)))
		})
	})
	found := told(t, s)
	for i, err := range errs {
		if acknowledged := err == nil; acknowledged != (found["crowd "+fmt.Sprint(i)] == 1) {
			t.Errorf("change %d: acknowledged is %v, but it is stored %d times", i, acknowledged, found["crowd "+fmt.Sprint(i)])
		}
	}
	if errs[3] == nil {
		t.Error("the change that broke was acknowledged")
	}
}

func TestRemembering_KeepsAnswersApart(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 5 {
		if err := tell(t.Context(), s, fmt.Sprint(i), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	err := s.change(t.Context(), "ask within an answer", func(x *tx) error {
		const query = "SELECT position FROM events WHERE position > $1 ORDER BY position"
		pairs := 0
		err := x.rows(query, []any{0}, func(row scanner) error {
			var outer int64
			if err := row.Scan(&outer); err != nil {
				return err
			}
			return x.rows(query, []any{outer}, func(row scanner) error {
				var inner int64
				pairs++
				return row.Scan(&inner)
			})
		})
		if err == nil && pairs != 10 {
			err = fmt.Errorf("%d pairs, want 10", pairs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// More statements than are remembered, an error among them, and all of them again.
	for range 2 {
		for i := range 2 * mostPrepared {
			var n int
			if err := s.read.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d + $1", i), 1).Scan(&n); err != nil || n != i+1 {
				t.Fatalf("%d + 1 is %d (%v)", i, n, err)
			}
		}
		if _, err := s.read.ExecContext(t.Context(), "DELETE FROM events"); err == nil {
			t.Fatal("who may only read has removed something")
		}
	}
}
