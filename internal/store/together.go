package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// SQLite has one writer, and a commit costs a write to the disk that takes longer
// than most changes. So changes that come at the same time share a commit: each
// runs in a savepoint of a common transaction, and nobody is answered before that is
// on the disk. Whoever comes while nobody waits commits at once; nobody waits for
// others to come. PostgreSQL does the same among its own connections.

// What bounds a common transaction, so that its first change is not kept waiting.
const (
	mostTogether    = 64
	longestTogether = 20 * time.Millisecond
)

// line is where changes wait for their turn to write.
type line struct {
	turn    sync.Mutex
	waiting atomic.Int64 // in front of turn
	group   *group       // open; guarded by turn
}

// group is a common transaction.
type group struct {
	*sql.Tx
	end     context.CancelFunc
	begun   time.Time
	members int
	done    chan struct{} // closed when it is on the disk, or is not
	err     error         // why not; read after done
}

// together runs fn within a common transaction, and returns when that has ended.
func (s *Store) together(ctx context.Context, fn func(*tx) error) error {
	s.line.waiting.Add(1)
	s.line.turn.Lock()
	s.line.waiting.Add(-1)
	g, err := s.join(ctx)
	if err != nil {
		if s.line.group != nil {
			s.leave(s.line.group)
		}
		s.line.turn.Unlock()
		return err
	}
	// A statement that is interrupted may undo the whole transaction, which is others' too.
	t := &tx{Tx: g.Tx, s: s, ctx: context.WithoutCancel(ctx)}
	err = s.member(g, t, fn)
	<-g.done
	if err == nil {
		err = g.err
	}
	if err == nil {
		t.committed()
	}
	return err
}

// join gives the open group, or opens one.
func (s *Store) join(ctx context.Context) (*group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.line.group != nil {
		return s.line.group, nil
	}
	// The caller's end counts while the database is waited for, and not after that.
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	begun, err := s.write.BeginTx(own, nil)
	if !stop() && err == nil {
		err = errors.Join(ctx.Err(), begun.Rollback())
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("begin: %w", err)
	}
	s.line.group = &group{Tx: begun, end: end, begun: time.Now(), done: make(chan struct{})}
	return s.line.group, nil
}

// errNothing ends a transaction whose first change was refused: there is nothing
// else in it, so it needs no savepoint, which would have every page copied.
var errNothing = errors.New("nothing was changed")

// member runs fn in its turn and passes the turn on. Also where fn panics nothing of
// it stays, and the others go on.
func (s *Store) member(g *group, t *tx, fn func(*tx) error) (err error) {
	stays, first := false, g.members == 0
	defer func() {
		switch {
		case stays:
		case first:
			g.err = errNothing
		default:
			g.undo(err)
		}
		s.leave(g)
		s.line.turn.Unlock()
	}()
	if !first {
		if _, err := t.exec("SAVEPOINT change"); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	if err = fn(t); err == nil {
		err = t.enqueue()
	}
	if err == nil && !first {
		_, err = t.exec("RELEASE change")
	}
	stays = err == nil
	return err
}

// undo takes back what one member did. Where that is not possible the database
// has undone everything, and every member is told why.
func (g *group) undo(why error) {
	ctx := context.Background()
	_, err := g.ExecContext(ctx, "ROLLBACK TO change")
	if err == nil {
		_, err = g.ExecContext(ctx, "RELEASE change")
	}
	if err == nil {
		return
	}
	g.err = fmt.Errorf("undo: %w", err)
	var f *fault.Error
	if why != nil && !errors.As(why, &f) {
		g.err = errors.Join(g.err, why)
	}
}

// leave ends the group unless somebody waits who can.
func (s *Store) leave(g *group) {
	g.members++
	if g.err == nil && s.line.waiting.Load() > 0 && g.members < mostTogether && time.Since(g.begun) < longestTogether {
		return
	}
	if g.err != nil {
		_ = g.Rollback() // there may be nothing left to roll back
	} else if err := g.Commit(); err != nil {
		g.err = fmt.Errorf("commit: %w", err)
	}
	g.end()
	s.line.group = nil
	close(g.done)
}
