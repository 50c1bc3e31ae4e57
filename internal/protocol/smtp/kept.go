package smtp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// A connection that has taken a message may take the next one (RFC 5321 section
// 3.3), without meeting the server and signing in again. It is kept for a moment,
// signed in as it is: for the same server, user and access token alone.

// The bounds of keeping. keptTimeout is the patience with the first command on a
// connection that was kept; after that it is one like any other.
const (
	mostKept    = 64  // connections without work, of all mailboxes
	mostCarried = 100 // messages by one connection
	keptTimeout = 10 * time.Second
)

// as is what a connection was opened for.
type as struct {
	server, mode, authorities, mechanisms string
	user                                  string
	accessToken                           seal.Secret
}

func purpose(at protocol.Endpoint, login protocol.Login) as {
	return as{
		server: at.String(), mode: string(at.TLS), authorities: string(at.CAPEM), mechanisms: fmt.Sprint(at.Mechanisms),
		user: login.User, accessToken: login.AccessToken,
	}
}

// kept are the connections without work.
type kept struct {
	mu   sync.Mutex
	idle map[as][]*session
	n    int
}

// take gives the connection that was used last; nil when there is none.
func (k *kept) take(p as) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.idle[p]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	k.remove(p, s)
	return s
}

// remove takes a connection out; false when it is not there any more. k.mu is held.
func (k *kept) remove(p as, s *session) bool {
	at := slices.Index(k.idle[p], s)
	if at < 0 {
		return false
	}
	s.end.Stop()
	if k.idle[p] = slices.Delete(k.idle[p], at, at+1); len(k.idle[p]) == 0 {
		delete(k.idle, p)
	}
	k.n--
	return true
}

// put keeps a connection that has just taken a message, for a while; false: it is
// not kept.
func (k *kept) put(p as, s *session, while time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if while <= 0 || k.n >= mostKept || s.carried >= mostCarried {
		return false
	}
	if k.idle == nil {
		k.idle = map[as][]*session{}
	}
	k.idle[p] = append(k.idle[p], s)
	k.n++
	s.end = time.AfterFunc(while, func() {
		k.mu.Lock()
		still := k.remove(p, s)
		k.mu.Unlock()
		if still {
			s.close()
		}
	})
	return true
}

// begin gives a connection that has named the sender. What a server says to that on
// a connection that was kept may be about the connection (it has ended, or has
// carried enough), and nothing was sent on it: a fresh one says what counts.
func (c *Client) begin(ctx context.Context, at protocol.Endpoint, login protocol.Login, env message.Envelope, size int64) (*session, error) {
	p := purpose(at, login)
	for s := c.kept.take(p); s != nil; s = c.kept.take(p) {
		if s.sender(ctx, env, size, keptTimeout) == nil {
			return s, nil
		}
		s.close()
		if err := ctx.Err(); err != nil {
			return nil, at.Network(err)
		}
	}
	s, err := c.open(ctx, at, login, protocol.Climb{})
	if err != nil {
		return nil, err
	}
	if err := s.sender(ctx, env, size, commandTimeout); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}
