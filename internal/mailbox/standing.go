package mailbox

import (
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Standing is where a mailbox stands, in one word: the worst of what is true of
// it. The API, the pages and the command line spell it so.
type Standing string

// The standings, those first for which somebody has to act.
const (
	StandingDead        Standing = "dead"         // the authorization server no longer honours the grant
	StandingSuspended   Standing = "suspended"    // changed after it was authorised
	StandingQuarantined Standing = "quarantined"  // authorised, and not verified yet
	StandingFailing     Standing = "failing"      // renewing the access token fails; it is tried again
	StandingStopped     Standing = "stopped"      // authorised, but nothing is received
	StandingNone        Standing = "unauthorised" // nobody has authorised it yet
	StandingPaused      Standing = "paused"       // an operator has paused it
	StandingRevoked     Standing = "revoked"      // an operator has ended its grant
	StandingConnected   Standing = "connected"
)

// Standings lists every standing, the most urgent first.
func Standings() []Standing {
	return []Standing{
		StandingDead, StandingSuspended, StandingQuarantined, StandingFailing, StandingStopped,
		StandingNone, StandingPaused, StandingRevoked, StandingConnected,
	}
}

// Troubled reports a standing in which mail that should flow does not, or soon
// will not.
func (s Standing) Troubled() bool {
	return slices.Contains([]Standing{StandingDead, StandingSuspended, StandingQuarantined, StandingFailing, StandingStopped}, s)
}

// Outage is why nothing is received from a mailbox just now, since when, and
// who can help. The zero Outage is none.
type Outage struct {
	Since  time.Time
	Cause  string // a fault's ID
	Text   string
	Remedy string
	Who    []fault.Who
}

// Listed is a mailbox with what a list shows of its state.
type Listed struct {
	Mailbox       Mailbox
	State         GrantState // empty: not authorised yet
	Verdict       Verdict
	Display       string // who signed in
	Quarantine    *Quarantine
	NextRefreshAt time.Time
	LastRefreshAt time.Time
	LastMailAt    time.Time
	Failures      int
	Cause         string
	CauseText     string
	Remedy        string
	Outage        Outage // as last known; it counts only while the mailbox is watched
}

// Stopped is the outage of a mailbox that is to be received from.
func (l Listed) Stopped() Outage {
	if l.Mailbox.Receive == nil || l.Mailbox.Paused || l.State != GrantActive {
		return Outage{}
	}
	return l.Outage
}

// Standing is where the mailbox stands. An authorization in quarantine comes
// first where nothing else works: it is the way out of what was before.
func (l Listed) Standing() Standing {
	switch {
	case l.State == GrantActive && l.Failures > 0:
		return StandingFailing
	case l.State == GrantActive && l.Mailbox.Paused:
		return StandingPaused
	case l.State == GrantActive && !l.Stopped().Since.IsZero():
		return StandingStopped
	case l.State == GrantActive:
		return StandingConnected
	case l.Quarantine != nil:
		return StandingQuarantined
	case l.State == GrantDead:
		return StandingDead
	case l.State == GrantSuspended:
		return StandingSuspended
	case l.Mailbox.Paused:
		return StandingPaused
	case l.State == GrantRevoked:
		return StandingRevoked
	}
	return StandingNone
}

// Filter selects mailboxes of a list, which is in the order of their addresses.
type Filter struct {
	After     string // the cursor: addresses that sort after it
	Part      string // of the address, compared without case
	Standing  Standing
	Provider  string
	Addresses []string // only these; empty: all
	Limit     int
}
