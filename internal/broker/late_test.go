package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// paused has the nth request answered by the server at once, while the process that
// sent it sleeps for a time before it sees the answer.
func paused(which int, d time.Duration) func(int, error, tokens) (tokens, error) {
	return func(n int, err error, t tokens) (tokens, error) {
		if n == which {
			time.Sleep(d)
		}
		return t, err
	}
}

func TestFence_APausedProcessChangesNothing(t *testing.T) {
	t.Run("its late answer is kept aside, and what its successor stored stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.lenient, h.server.answer = true, paused(1, time.Minute)
			a, b := h.broker("a"), h.broker("b")
			first := make(chan string, 1)
			go func() { first <- lend(t, a) }()
			synctest.Wait()
			if got := lend(t, b); got != "A2-mail" { // waits for the lease to end, then takes over
				t.Errorf("the successor lent %q", got)
			}
			if got := <-first; got != "A2-mail" {
				t.Errorf("the paused process lent %q", got)
			}
			h.holds("R2")
			same(t, "events", h.store.kinds(), event.GrantRefreshed, event.GrantRecovered, event.GrantLateAnswer)
			time.Sleep(56 * time.Minute)
			lend(t, b)
			same(t, "requests", h.server.asked(), "R0", "R0", "R2") // the candidate is older than R2 and never used
		})
	})
	t.Run("its failure is not recorded over its successor's success", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.lenient = true
			h.server.answer = func(n int, err error, tk tokens) (tokens, error) {
				if n == 1 {
					time.Sleep(time.Minute)
					return tokens{}, invalidGrant()
				}
				return tk, err
			}
			a, b := h.broker("a"), h.broker("b")
			first := make(chan string, 1)
			go func() { first <- lend(t, a) }()
			synctest.Wait()
			lend(t, b)
			if got := <-first; got != "A2-mail" {
				t.Errorf("the paused process lent %q", got)
			}
			if g, err := h.store.Grant(t.Context(), "desk"); err != nil || g.State != mailbox.GrantActive || g.Failures != 0 {
				t.Errorf("%+v %v", g, err)
			}
		})
	})
	t.Run("its answer is dropped when the mailbox is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute)
			a := h.broker("a")
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			time.Sleep(50 * time.Second)
			h.adopt("S0")
			h.store.mu.Lock()
			delete(h.store.grants, "desk")
			h.store.mu.Unlock()
			if err := <-first; !fault.Has(err, "grant.none") {
				t.Errorf("got %v", err)
			}
			same(t, "events", h.store.kinds())
		})
	})
	t.Run("its answer never reaches a consent given meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute)
			a := h.broker("a")
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			time.Sleep(50 * time.Second)
			h.adopt("S0") // another person authorised
			<-first
			h.server.mu.Lock()
			clear(h.server.living)
			h.server.living["R1"] = true // the first person's family lives, the second's has ended
			h.server.mu.Unlock()
			h.store.edit("desk", func(g *mailbox.Grant) { g.Intent = mailbox.Intent{Fence: 1, At: time.Now()} })
			time.Sleep(time.Hour)
			refused(t, a, "grant.lost_answer")
			for _, used := range h.server.asked() {
				if used == "R1" {
					t.Error("another consent's refresh token was used")
				}
			}
		})
	})
}

// adopt replaces the grant as a new authorization does: fence raised, intent closed.
func (h *house) adopt(refreshToken string) {
	h.t.Helper()
	sealed, err := h.keys.Seal(seal.NewSecret(refreshToken), seal.Where("grant", "desk", "refresh_token"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.server.mu.Lock()
	h.server.living[refreshToken] = true
	h.server.mu.Unlock()
	h.store.edit("desk", func(g *mailbox.Grant) {
		g.RefreshToken, g.PreviousToken, g.Candidate = sealed, seal.Sealed{}, seal.Sealed{}
		g.Lease.Fence++
		g.Lease.Owner, g.Lease.Until = "", time.Time{}
		g.Intent = mailbox.Intent{}
	})
}

func TestCandidate(t *testing.T) {
	t.Run("one that is there resolves an open intent, and a strict provider's family lives", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute) // a's answer R1 comes late
			h.server.before = on(2, noAnswer())      // b's request never arrives
			a, b := h.broker("a"), h.broker("b")
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			synctest.Wait()
			refused(t, b, "oauth.no_answer")
			if err := <-first; err != nil {
				t.Errorf("the paused process, which holds the answer: %v", err)
			}
			if got := lend(t, b); got != "A3-mail" {
				t.Errorf("lent %q", got)
			}
			same(t, "requests", h.server.asked(), "R0", "R0", "R1")
			same(t, "events", h.store.kinds(), event.GrantRefreshFailed, event.GrantLateAnswer, event.GrantRefreshed, event.GrantRecovered)
			h.holds("R3")
		})
	})
	t.Run("one that appears while the current one is refused is tried once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, 50*time.Second)
			h.server.before = func(n int) error {
				if n == 2 { // refused, without ending the family, and slowly
					time.Sleep(10 * time.Second)
					return invalidGrant()
				}
				return nil
			}
			a, b := h.broker("a"), h.broker("b")
			first := make(chan string, 1)
			go func() { first <- lend(t, a) }()
			synctest.Wait()
			if got := lend(t, b); got != "A3-mail" {
				t.Errorf("lent %q", got)
			}
			if got := <-first; got != "A3-mail" {
				t.Errorf("the paused process lent %q", got)
			}
			same(t, "requests", h.server.asked(), "R0", "R0", "R1")
			h.holds("R3")
		})
	})
	t.Run("one that is refused too ends the grant, and its predecessor is not tried again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute)
			h.server.before = on(2, noAnswer())
			a, b := h.broker("a"), h.broker("b")
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			synctest.Wait()
			refused(t, b, "oauth.no_answer")
			h.server.mu.Lock()
			clear(h.server.living)
			h.server.mu.Unlock()
			if err := <-first; !fault.Has(err, "grant.lost_answer") {
				t.Errorf("got %v", err)
			}
			refused(t, b, "grant.lost_answer")
			same(t, "requests", h.server.asked(), "R0", "R0", "R1")
		})
	})
	t.Run("one at a provider that does not rotate any more becomes current", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute)
			h.server.before = on(2, noAnswer())
			a, b := h.broker("a"), h.broker("b")
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			synctest.Wait()
			refused(t, b, "oauth.no_answer")
			h.server.mu.Lock()
			h.server.noRotate = true
			h.server.mu.Unlock()
			if err := <-first; err != nil {
				t.Error(err)
			}
			h.holds("R1")
		})
	})
}
