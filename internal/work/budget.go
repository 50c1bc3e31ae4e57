package work

import (
	"sync"
	"time"
)

// Budget is what one process may ask of mail servers for each mailbox: so many
// messages in any minute and so many connections at once. Everything that draws
// on a mailbox shares the one Budget. It never waits: it says when.
type Budget struct {
	mu    sync.Mutex
	boxes map[string]*allowance
}

type allowance struct {
	slots    []time.Time          // the last ones given out, in order
	reserved map[string]time.Time // by what they are for
	open     int
}

// NewBudget makes a Budget of which nothing is used.
func NewBudget() *Budget { return &Budget{boxes: map[string]*allowance{}} }

func (b *Budget) of(mailboxID string) *allowance {
	a, ok := b.boxes[mailboxID]
	if !ok {
		a = &allowance{reserved: map[string]time.Time{}}
		b.boxes[mailboxID] = a
	}
	return a
}

// Take asks for the turn to send one message, named by id. A positive wait says
// when to ask again: that turn is then kept for id. No bound: perMinute 0.
func (b *Budget) Take(mailboxID, id string, perMinute int, now time.Time) (wait time.Duration) {
	if perMinute <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(mailboxID)
	turn, ok := a.reserved[id]
	if ok && turn.Add(10*time.Minute).Before(now) { // nobody came for it
		delete(a.reserved, id)
		ok = false
	}
	if !ok {
		turn = now
		if n := len(a.slots); n >= perMinute {
			if free := a.slots[n-perMinute].Add(time.Minute); free.After(now) {
				turn = free
			}
			a.slots = append(a.slots[:0], a.slots[n-perMinute+1:]...)
		}
		a.slots = append(a.slots, turn)
		a.reserved[id] = turn
	}
	if wait = turn.Sub(now); wait <= 0 {
		delete(a.reserved, id)
	}
	return max(wait, 0)
}

// Connect asks for one more connection; release gives it back. No bound: most 0.
func (b *Budget) Connect(mailboxID string, most int) (release func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(mailboxID)
	if most > 0 && a.open >= most {
		return nil, false
	}
	a.open++
	var once sync.Once
	return func() {
		once.Do(func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if a.open--; a.open == 0 && len(a.slots) == 0 && len(a.reserved) == 0 {
				delete(b.boxes, mailboxID)
			}
		})
	}, true
}
