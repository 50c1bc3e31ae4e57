package outbox

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
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

// eitherWay sends by the first way, and by the second where the first is shut or
// was found shut a while ago. The second way's no is never the end of a message:
// the first is asked then, and its fault counts.
func (a *attempt) eitherWay(ctx context.Context, first, second protocol.Endpoint) handover {
	byFirst := func() handover { return a.through(ctx, first, a.box.UserAt(a.box.Send.Server)) }
	bySecond := func() handover {
		h := a.through(ctx, second, a.box.Address)
		if h.err == nil {
			a.detourBy = second.Protocol
		}
		return h
	}
	if a.detoured() {
		two := bySecond()
		if two.decided() {
			return two
		}
		a.straight()
		one := byFirst()
		if one.err == nil || one.entered || !one.shut() {
			return one
		}
		return one.and(two)
	}
	one := byFirst()
	if one.err == nil || one.entered || !one.shut() {
		return one
	}
	two := bySecond()
	if two.err == nil {
		a.detour()
	}
	if two.decided() {
		return two
	}
	return one.and(two)
}

// decided reports that no other way may or need be tried: the message was taken,
// or may have been, or its turn is over.
func (h handover) decided() bool {
	return h.err == nil || protocol.NoReply(fault.Of(h.err)) || errors.Is(h.err, errLeaseOver) || fault.Has(h.err, "work.fenced")
}

// shut reports that the server of this way said, or did not even say, that it is
// not open.
func (h handover) shut() bool { return h.asked && shut(fault.Of(h.err)) }

// and is the first way's fault with the words of the second's.
func (h handover) and(second handover) handover {
	f := fault.Of(second.err)
	both := *fault.Of(h.err)
	both.Text = ended(both.Text) + " The second way of sending does not work either: " + f.Text
	both.Remedy = both.Remedy + " For the second way: " + f.Remedy
	h.err = &both
	return h
}

// detour takes the second way from now on, for a while.
func (a *attempt) detour() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.detours[a.s.MailboxID] = a.Now().Add(detourTime)
}

// straight takes the first way again.
func (a *attempt) straight() {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.detours, a.s.MailboxID)
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
