package outbox

import (
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// detourTime is how long the second way of sending is taken before the first is
// tried again: a server that says no is not asked for every message.
const detourTime = 15 * time.Minute

// shut reports a fault that says that the first way of sending is not open at
// all, whatever the message: switched off for the mailbox or the organisation,
// without a sign-in by access token, or not to be reached.
func shut(f *fault.Error) bool {
	switch f.ID {
	case "smtp.auth_disabled_tenant", "smtp.auth_disabled_mailbox", "smtp.no_mechanism", "smtp.turned_away", "smtp.greeting":
		return true
	case "net.cancelled":
		return false
	}
	return strings.HasPrefix(f.ID, "net.")
}

// detour takes the second way from now on, for a while.
func (a *attempt) detour() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.detours[a.s.MailboxID] = a.Now().Add(detourTime)
}

// detoured reports whether the second way is taken now.
func (a *attempt) detoured() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, is := a.detours[a.s.MailboxID]
	if is && !a.Now().Before(until) {
		delete(a.detours, a.s.MailboxID)
		return false
	}
	return is
}
