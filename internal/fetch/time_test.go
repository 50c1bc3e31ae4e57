package fetch_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// shelf is a store of one mailbox in memory, for tests in synthetic time: it
// keeps cursor, messages and events as the real one does.
type shelf struct {
	mu      sync.Mutex
	paused  bool
	fence   int64     // of the lease, less one
	dead    bool      // the lease is another's, who renewed it just after the first claim and died
	until   time.Time // when that ends
	cursor  message.Cursor
	kept    []time.Time
	events  []event.Event
	outage  mailbox.Outage
	keepErr error
}

func (s *shelf) ClaimWatches(_ context.Context, owner string, now, until time.Time, _ int) ([]fetch.Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead && s.until.IsZero() {
		s.until = until.Add(time.Millisecond)
	}
	if s.paused || now.Before(s.until) {
		return nil, nil
	}
	return []fetch.Watch{{
		Mailbox: mailbox.Mailbox{ID: "m", Address: "adele@contoso.test", Version: 1, Receive: &mailbox.Receive{Protocol: protocol.IMAP, Folders: []string{"INBOX"}, Mode: mailbox.ModePush}},
		Lease:   work.Lease{Owner: owner, Fence: 1 + s.fence, Until: until},
		Outage:  s.outage,
	}}, nil
}

func (s *shelf) ReleaseWatches(context.Context, string) error { return nil }

func (s *shelf) Cursor(context.Context, string, string) (message.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

func (s *shelf) Keep(_ context.Context, k fetch.Keep) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keepErr != nil {
		return 0, s.keepErr
	}
	s.cursor = k.Cursor
	for range k.Messages {
		s.kept = append(s.kept, time.Now())
	}
	return len(k.Messages), nil
}

func (s *shelf) ResetFolder(_ context.Context, _ string, _ int64, _ string, c message.Cursor, e event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = c
	s.events = append(s.events, e)
	return nil
}

func (s *shelf) Owed(context.Context, string, string) ([]uint32, error) { return nil, nil }

func (s *shelf) Handed(context.Context, string, string, uint32) (map[string]uint32, uint32, error) {
	return nil, 0, nil
}

func (s *shelf) Forget(context.Context, string, int64, string, uint32, []string) error { return nil }

func (s *shelf) Purge(context.Context, time.Time, int) (int, error) { return 0, nil }

func (s *shelf) StopReceiving(_ context.Context, _ string, _ int64, o mailbox.Outage, e event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outage.Since.IsZero() {
		s.events = append(s.events, e)
	} else {
		o.Since = s.outage.Since
	}
	s.outage = o
	return nil
}

func (s *shelf) ResumeReceiving(_ context.Context, _ string, _ int64, e event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = mailbox.Outage{}
	s.events = append(s.events, e)
	return nil
}

func (s *shelf) Disposed(_ context.Context, d fetch.Disposed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, d.Event)
	return nil
}

func (s *shelf) messages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

func (s *shelf) at() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor.UID
}

func (s *shelf) count(kind event.Kind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// silent is a server that never pushes anything. With fault it lets nobody in.
type silent struct {
	mu       sync.Mutex
	messages []uint32
	opened   []time.Time
	fault    error
}

func (s *silent) set(f func(*silent)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *silent) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened)
}

func (s *silent) OpenReader(context.Context, protocol.Endpoint, protocol.Login) (protocol.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, time.Now())
	if s.fault != nil {
		return nil, s.fault
	}
	return s, nil
}

func (s *silent) Select(_ context.Context, folder string) (protocol.FolderStatus, error) {
	return protocol.FolderStatus{Folder: folder, UIDValidity: 1}, nil
}

func (s *silent) Since(_ context.Context, after uint32, _ int, yield func(message.Received) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uid := range s.messages {
		if uid > after {
			if err := yield(message.Received{UID: uid, Raw: []byte("Subject: x\n\nx")}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *silent) Wait(ctx context.Context, atMost time.Duration) (bool, error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(atMost):
		return false, nil
	}
}

func (s *silent) Dispose(context.Context, []uint32, protocol.Disposal) error { return nil }
func (s *silent) Close() error                                               { return nil }

// desk is the rest of what a Fetch needs.
type desk struct{ provider.Kind }

func (desk) Lend(context.Context, string, string, time.Duration) (seal.Secret, time.Time, error) {
	return seal.NewSecret("access"), time.Now().Add(time.Hour), nil
}
func (desk) Refused(context.Context, string, string, seal.Secret)  {}
func (desk) Mail(provider.Record, protocol.Name) protocol.Endpoint { return protocol.Endpoint{} }

func (d desk) Registration(context.Context, string) (provider.Kind, provider.Registration, error) {
	return d, provider.Registration{}, nil
}

// inTime runs a Fetch in synthetic time.
func inTime(t *testing.T, broken error, do func(t *testing.T, f *fetch.Fetch, s *shelf, server *silent)) {
	synctest.Test(t, func(t *testing.T) {
		s, server := &shelf{}, &silent{fault: broken}
		f := fetch.New(fetch.Options{
			Store: s, Lender: desk{}, Directory: desk{}, Owner: "test",
			Readers: func(protocol.Name) protocol.Reader { return server },
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		do(t, f, s, server)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets synthetic time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestFetch_DoesNotTrustIDLE(t *testing.T) {
	t.Parallel()
	inTime(t, nil, func(t *testing.T, _ *fetch.Fetch, s *shelf, server *silent) {
		pass(time.Minute)
		server.set(func(x *silent) { x.messages = []uint32{1} })
		pass(5 * time.Minute)
		if s.messages() != 1 || server.attempts() != 1 {
			t.Fatalf("%d messages over %d connections: a server that never pushes was trusted", s.messages(), server.attempts())
		}
	})
}

func TestFetch_BacksOffAndTellsOnce(t *testing.T) {
	t.Parallel()
	refused := &fault.Error{ID: "net.refused", Kind: fault.Temporary, Retry: true, Text: "Nothing listens."}
	inTime(t, refused, func(t *testing.T, _ *fetch.Fetch, s *shelf, server *silent) {
		pass(24 * time.Hour)
		if n := server.attempts(); n < 200 || n > 400 {
			t.Errorf("%d attempts in a day", n)
		}
		if s.count(event.FetchStopped) != 1 || s.count(event.FetchResumed) != 0 {
			t.Errorf("stopped was told %d times", s.count(event.FetchStopped))
		}
		server.set(func(x *silent) { x.fault = nil })
		pass(10 * time.Minute)
		if s.count(event.FetchStopped) != 1 || s.count(event.FetchResumed) != 1 {
			t.Error("the recovery was not told once")
		}
	})
}

func TestFetch_WaitsAsLongAsTheServerAsked(t *testing.T) {
	t.Parallel()
	throttled := &fault.Error{ID: "imap.throttled", Kind: fault.Limited, Retry: true, RetryAfter: 2 * time.Hour, Text: "Slow down."}
	inTime(t, throttled, func(t *testing.T, f *fetch.Fetch, _ *shelf, server *silent) {
		pass(119 * time.Minute)
		if n := server.attempts(); n != 1 {
			t.Fatalf("%d attempts before the time was up", n)
		}
		pass(2 * time.Minute)
		if n := server.attempts(); n != 2 {
			t.Fatalf("%d attempts after the time was up", n)
		}
		f.Nudge("m")
		pass(time.Second)
		if n := server.attempts(); n != 3 {
			t.Fatalf("%d attempts after a nudge", n)
		}
	})
}

func TestFetch_KeepsTheCursorWhenStoringFails(t *testing.T) {
	t.Parallel()
	inTime(t, nil, func(t *testing.T, _ *fetch.Fetch, s *shelf, server *silent) {
		s.mu.Lock()
		s.keepErr = errors.New("disk full")
		s.mu.Unlock()
		server.set(func(x *silent) { x.messages = []uint32{1, 2, 3} })
		pass(time.Hour)
		if s.at() != 0 || s.messages() != 0 || s.count(event.FetchStopped) != 1 {
			t.Fatalf("cursor at %d, %d kept", s.at(), s.messages())
		}
		s.mu.Lock()
		s.keepErr = nil
		s.mu.Unlock()
		pass(10 * time.Minute)
		if s.at() != 3 || s.messages() != 3 {
			t.Fatalf("cursor at %d, %d kept", s.at(), s.messages())
		}
	})
}

func TestFetch_DropsAPausedMailboxAtOnce(t *testing.T) {
	t.Parallel()
	inTime(t, nil, func(t *testing.T, f *fetch.Fetch, s *shelf, server *silent) {
		pass(time.Minute)
		s.mu.Lock()
		s.paused = true
		s.mu.Unlock()
		f.Nudge("m")
		pass(time.Millisecond)
		server.set(func(x *silent) { x.messages = []uint32{1} })
		pass(time.Hour)
		if s.messages() != 0 {
			t.Fatal("a paused mailbox was read")
		}
	})
}

func TestFetch_WhatADeadProcessWatchedIsWatchedAgainWithin15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, server := &shelf{dead: true}, &silent{}
		died := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		f := fetch.New(fetch.Options{Store: s, Lender: desk{}, Directory: desk{}, Owner: "next", Readers: func(protocol.Name) protocol.Reader { return server }})
		go func() { done <- f.Run(ctx) }()
		pass(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(server.opened) == 0 || server.opened[0].Sub(died) > 15*time.Second {
			t.Errorf("it died at %v, and the mailbox was opened again at %v", died, server.opened)
		}
	})
}

// A process that was stopped over its lease and won it back, after another had
// it, must not go on with what it read before.
func TestFetch_AWatchWhoseLeaseWasLostAndWonBackBeginsAnew(t *testing.T) {
	inTime(t, nil, func(t *testing.T, _ *fetch.Fetch, s *shelf, server *silent) {
		pass(time.Minute)
		if n := server.attempts(); n != 1 {
			t.Fatalf("%d connections", n)
		}
		s.mu.Lock()
		s.fence++
		s.mu.Unlock()
		pass(time.Minute)
		if n := server.attempts(); n != 2 {
			t.Errorf("%d connections after another process had the mailbox, want a second one", n)
		}
	})
}

func TestFetch_GoesOnWithAnOutageOfAnotherProcess(t *testing.T) {
	t.Parallel()
	inTime(t, nil, func(t *testing.T, _ *fetch.Fetch, s *shelf, _ *silent) {
		pass(time.Minute)
		if s.count(event.FetchResumed) != 0 {
			t.Fatal("a mailbox that was never stopped resumed")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		refused := &fault.Error{ID: "net.refused", Kind: fault.Temporary, Retry: true, Text: "Nothing listens."}
		s, server := &shelf{}, &silent{fault: refused}
		for process := range 3 {
			f := fetch.New(fetch.Options{
				Store: s, Lender: desk{}, Directory: desk{}, Owner: "test", Readers: func(protocol.Name) protocol.Reader { return server },
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- f.Run(ctx) }()
			pass(time.Hour)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if process == 1 {
				server.set(func(x *silent) { x.fault = nil })
			}
		}
		if s.count(event.FetchStopped) != 1 || s.count(event.FetchResumed) != 1 || !s.outage.Since.IsZero() {
			t.Errorf("over three processes it was told %d times that it stopped and %d times that it resumed", s.count(event.FetchStopped), s.count(event.FetchResumed))
		}
	})
}
