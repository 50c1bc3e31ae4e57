package broker

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const (
	// leastTTL is the least that a lent access token is good for, whatever was
	// asked: the borrower's clock may differ, and it has yet to connect.
	leastTTL = 30 * time.Second
	// youngest is the age below which a valid access token is lent whatever was
	// asked: no wish makes the provider give one more often than that.
	youngest = 10 * time.Second
	// refusedPause is the least time between two renewals of a mailbox that a
	// mail server's refusal caused.
	refusedPause = time.Minute
	// refusedFor is how long a refusal is remembered. It outlasts a back-off; a
	// server that still means it says so again.
	refusedFor = time.Hour
	// counters is how many generation counters a shelf has. Mailboxes share them,
	// so their number does not grow; sharing one costs an additional look at most.
	counters = 256
)

type key struct{ mailboxID, resource string }

// entry is an opened access token. It is never changed, only replaced.
type entry struct {
	token    seal.Secret
	obtained time.Time
	expires  time.Time
	checked  time.Time // when the store last confirmed it: the moment before it was asked
	secrets  int64     // the grant's SecretsVersion then; unknownVersion after an own refresh
	mailbox  int64     // the mailbox's Version then
}

// unknownVersion stands for a version nobody read yet: an entry with it is read again at the
// next check; a back-off with it binds whatever the version.
const unknownVersion = -1

// good reports whether the token is good for minTTL, or for as long as one can
// ask of a token with this life; one that has just come is good for anybody.
func (e *entry) good(now time.Time, minTTL time.Duration) bool {
	if now.Sub(e.obtained) < youngest {
		return e.valid(now)
	}
	need := max(minTTL, leastTTL)
	if !e.obtained.IsZero() && e.expires.After(e.obtained) {
		need = min(need, e.expires.Sub(e.obtained)/10*9)
	}
	return e.valid(now) && e.expires.Sub(now) >= need
}

// valid reports whether the token has not ended.
func (e *entry) valid(now time.Time) bool { return now.Before(e.expires) }

// wait is a back-off after a failed renewal, for the grant as it was then.
type wait struct {
	until    time.Time
	secrets  int64
	fault    *fault.Error
	failures int // in a row, this one included
}

// failure is the failure again, with the time that is left.
func (w wait) failure(now time.Time) error {
	f := *w.fault
	if f.Kind != fault.Dead {
		f.RetryAfter = w.until.Sub(now)
	}
	return &f
}

// refusal is an access token that a server refused.
type refusal struct {
	token seal.Secret
	at    time.Time
}

// shelf holds what a process keeps in memory per mailbox and resource: the
// opened access token, the one a server refused, and the running back-off.
//
// What is put on it was read from the store some time before, and may have been
// forgotten since. So whoever reads takes the mailbox's generation first and hands it in
// with what was read: nothing is kept that is of an older generation.
type shelf struct {
	seed maphash.Seed

	mu      sync.RWMutex
	raised  [counters]uint64
	held    map[key]*entry
	refused map[key]refusal
	forced  map[string]time.Time // last renewal caused by a refusal, by mailbox
	waits   map[key]wait
}

func newShelf() *shelf {
	return &shelf{
		seed: maphash.MakeSeed(), held: map[key]*entry{}, refused: map[key]refusal{},
		forced: map[string]time.Time{}, waits: map[key]wait{},
	}
}

func (s *shelf) counter(mailboxID string) *uint64 {
	return &s.raised[maphash.String(s.seed, mailboxID)%counters]
}

// generation is what forget raises. It is taken before the store is read.
func (s *shelf) generation(mailboxID string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return *s.counter(mailboxID)
}

func (s *shelf) find(k key) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.held[k]
}

func (s *shelf) put(k key, generation uint64, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *s.counter(k.mailboxID) == generation {
		s.held[k] = e
	}
}

func (s *shelf) drop(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, k)
}

func (s *shelf) forget(mailboxID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.counter(mailboxID)++
	for k := range s.held {
		if k.mailboxID == mailboxID {
			delete(s.held, k)
		}
	}
	for k := range s.waits {
		if k.mailboxID == mailboxID {
			delete(s.waits, k)
		}
	}
	for k := range s.refused {
		if k.mailboxID == mailboxID {
			delete(s.refused, k)
		}
	}
}

// refuse notes a refused token and takes it off the shelf, so that the next
// Lend thinks about it.
func (s *shelf) refuse(k key, token seal.Secret, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[k] = refusal{token, now}
	delete(s.held, k)
}

// mustRenew reports whether a refusal of this token calls for a renewal now.
// A token that is younger than the pause was renewed for that very reason, here or in
// another process, and is lent on.
func (s *shelf) mustRenew(k key, e *entry, now time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bad, ok := s.refused[k]
	return ok && bad.token == e.token && now.Sub(e.obtained) >= refusedPause && now.Sub(s.forced[k.mailboxID]) >= refusedPause
}

// isRefused reports whether a server refused this very token.
func (s *shelf) isRefused(k key, token seal.Secret) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bad, ok := s.refused[k]
	return ok && bad.token == token
}

func (s *shelf) force(mailboxID string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forced[mailboxID] = now
}

func (s *shelf) backOff(k key, generation uint64, w wait) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *s.counter(k.mailboxID) == generation {
		s.waits[k] = w
	}
}

// renewed ends the back-off and the refusal of a key.
func (s *shelf) renewed(k key, generation uint64, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *s.counter(k.mailboxID) != generation {
		return
	}
	s.held[k] = e
	delete(s.waits, k)
	if s.refused[k].token != e.token {
		delete(s.refused, k)
	}
}

// waiting gives the back-off that binds a key at now. A grant whose tokens
// changed since (a new authorization, another process's success) is not bound.
func (s *shelf) waiting(k key, secrets int64, now time.Time) (wait, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w, ok := s.waits[k]
	return w, ok && (w.secrets == secrets || w.secrets == unknownVersion) && now.Before(w.until)
}

// failures gives how often a key failed in a row, and the last cause.
func (s *shelf) failures(k key) (n int, cause string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w, ok := s.waits[k]; ok {
		return w.failures, w.fault.ID
	}
	return 0, ""
}

// sweep removes what has ended, so that memory follows the mailboxes in use.
func (s *shelf) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.held {
		if !e.valid(now) {
			delete(s.held, k)
			delete(s.refused, k)
		}
	}
	for k, r := range s.refused {
		if now.Sub(r.at) > refusedFor {
			delete(s.refused, k)
		}
	}
	for k, w := range s.waits {
		if now.Sub(w.until) > mostBackoff { // until then it still counts failures in a row
			delete(s.waits, k)
		}
	}
	for id, at := range s.forced {
		if now.Sub(at) > refusedPause {
			delete(s.forced, id)
		}
	}
}
