package fetch_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
)

const slowness = time.Second // of a batch being fetched, and of one being stored

// slowShelf is a shelf that takes its time, and notes in which order it was asked.
type slowShelf struct {
	shelf
	after  string // after_receive of the mailbox
	fail   map[uint32]int
	notes  sync.Mutex
	now    int      // batches being stored now
	asked  []uint32 // the first UIDs of the batches it was asked to store
	uids   []uint32 // stored
	wrong  []string
	ahead  int // messages that were fetched and are not stored
	most   int // of those, ever
	lately []uint32
}

func (s *slowShelf) ClaimWatches(ctx context.Context, owner string, now, until time.Time, n int) ([]fetch.Watch, error) {
	held, err := s.shelf.ClaimWatches(ctx, owner, now, until, n)
	for i := range held {
		held[i].Mailbox.AfterReceive = s.after
	}
	return held, err
}

func (s *slowShelf) note(f func()) {
	s.notes.Lock()
	defer s.notes.Unlock()
	f()
}

func (s *slowShelf) Keep(ctx context.Context, k fetch.Keep) (int, error) {
	first, failed := k.Messages[0].Received.UID, false
	s.note(func() {
		s.asked = append(s.asked, first)
		if s.now++; s.now > 1 {
			s.wrong = append(s.wrong, "two batches are stored at once")
		}
		if failed = s.fail[first] > 0; failed {
			s.fail[first]--
		}
	})
	<-time.After(slowness)
	defer s.note(func() { s.now--; s.ahead -= len(k.Messages) })
	if failed {
		return 0, errors.New("disk full")
	}
	s.note(func() {
		for _, m := range k.Messages {
			s.uids = append(s.uids, m.Received.UID)
		}
		if k.Cursor.UID != k.Messages[len(k.Messages)-1].Received.UID {
			s.wrong = append(s.wrong, "the cursor is not behind its batch")
		}
	})
	return s.shelf.Keep(ctx, k)
}

func (s *slowShelf) Disposed(_ context.Context, d fetch.Disposed) error {
	s.note(func() {
		s.lately = append(s.lately, d.UIDs...)
		if s.now > 0 {
			s.wrong = append(s.wrong, "it is noted that nothing is owed while a batch is stored that owes")
		}
		if len(s.lately) > len(s.uids) || !slices.Equal(s.lately, s.uids[:len(s.lately)]) {
			s.wrong = append(s.wrong, "something was disposed of that is not stored")
		}
	})
	return nil
}

// slowServer gives its messages in batches.
type slowServer struct {
	silent
	shelf *slowShelf
}

func (s *slowServer) OpenReader(context.Context, protocol.Endpoint, protocol.Login) (protocol.Reading, error) {
	s.shelf.note(func() { s.shelf.ahead = 0 })
	return s, nil
}

func (s *slowServer) Since(_ context.Context, after uint32, limit int, yield func(message.Received) error) error {
	var next []uint32
	s.set(func(x *silent) {
		for _, uid := range x.messages {
			if uid > after && len(next) < limit {
				next = append(next, uid)
			}
		}
	})
	if len(next) > 0 {
		<-time.After(slowness)
	}
	for _, uid := range next {
		s.shelf.note(func() {
			s.shelf.ahead++
			s.shelf.most = max(s.shelf.most, s.shelf.ahead)
		})
		if err := yield(message.Received{UID: uid, Raw: []byte("Subject: x\n\nx")}); err != nil {
			return err
		}
	}
	return nil
}

func TestFetch_FetchesAheadWhileItStores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome string
		after   string
		fail    map[uint32]int
		asked   []uint32
		bound   time.Duration
	}{
		{"both at once", "", nil, []uint32{1, 3, 5, 7, 9}, 7 * slowness},
		{"a batch behind one that failed waits for it", "", map[uint32]int{5: 1}, []uint32{1, 3, 5, 5, 7, 9}, 15 * slowness},
		{"what is owed is done between two of them", "mark_seen", nil, []uint32{1, 3, 5, 7, 9}, 7 * slowness},
		{"what is owed of batches before one that failed is done", "mark_seen", map[uint32]int{3: 1, 9: 1}, []uint32{1, 3, 3, 5, 7, 9, 9}, 20 * slowness},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &slowShelf{after: c.after, fail: c.fail}
				server := &slowServer{shelf: s}
				server.messages = []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}
				f := fetch.New(fetch.Options{
					Store: s, Lender: desk{}, Directory: desk{}, Owner: "test", Batch: 2,
					Readers: func(protocol.Name) protocol.Reader { return server },
				})
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- f.Run(ctx) }()
				pass(c.bound)
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if !slices.Equal(s.uids, server.messages) || s.at() != 9 {
					t.Errorf("stored %d, cursor at %d", s.uids, s.at())
				}
				if !slices.Equal(s.asked, c.asked) {
					t.Errorf("batches were stored in the order %d", s.asked)
				}
				if c.after != "" && !slices.Equal(s.lately, server.messages) {
					t.Errorf("disposed of: %d", s.lately)
				}
				if len(s.wrong) > 0 || s.most > 4 {
					t.Errorf("%q, and %d messages in memory", s.wrong, s.most)
				}
			})
		})
	}
}
