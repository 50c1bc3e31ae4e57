package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Overview says how everything stands and what needs attention, from what the
// store knows: nobody outside is asked. Every field is required.
type Overview struct {
	Reads   OverviewReads
	Endings *Endings
	LastRun func() time.Time // when the refresh loop last completed a round
	Silent  time.Duration    // how long it may be silent
	Now     func() time.Time
}

// OverviewReads is what the overview is made from.
type OverviewReads interface {
	Mailboxes(ctx context.Context, f mailbox.Filter) ([]mailbox.Listed, error)
	CountStandings(ctx context.Context, addresses []string) (map[mailbox.Standing]int, error)
	// Unsent gives, for each mailbox, the submissions that failed or expired since a
	// time, the latest first.
	Unsent(ctx context.Context, since time.Time, mailboxIDs []string, limit int) ([]Unsent, error)
	// Undelivered gives the webhooks that their receiver switched off, or that have
	// put deliveries aside.
	Undelivered(ctx context.Context) ([]Undelivered, error)
	EventHours(ctx context.Context, from time.Time, kinds []event.Kind, mailboxIDs []string) ([]event.Hour, error)
	FirstSteps(ctx context.Context) (FirstSteps, error)
}

// FirstSteps says which steps of the first set-up have been taken.
type FirstSteps struct {
	Provider   bool // one is there
	Mailbox    bool // one is there
	Authorised bool // a mailbox has been
	Tested     bool // a mailbox has been
	HandedOn   bool // a webhook or an API key is there
}

// Providers lists the providers.
type Providers interface {
	List(ctx context.Context) ([]provider.Record, error)
}

// Unsent is what a mailbox could not send; the cause is that of the latest.
type Unsent struct {
	Mailbox string
	Number  int
	Last    time.Time
	Cause   string
	Text    string
	Remedy  string
}

// Undelivered is a webhook with what was put aside for it.
type Undelivered struct {
	Webhook  string
	Parked   int
	Disabled string // why its receiver switched it off; empty: it did not
}

// MatterKind names a sort of matter, as the API spells it.
type MatterKind string

// The sorts, in the order in which they are told.
const (
	MatterSilent      MatterKind = "refresh_silent" // the refresh loop does not run
	MatterDead        MatterKind = "dead"
	MatterSuspended   MatterKind = "suspended"
	MatterQuarantined MatterKind = "quarantined"
	MatterFailing     MatterKind = "failing"
	MatterStopped     MatterKind = "stopped"
	MatterUnsent      MatterKind = "unsent"        // messages failed or expired
	MatterDisabled    MatterKind = "disabled"      // a webhook was switched off
	MatterParked      MatterKind = "parked"        // deliveries were put aside
	MatterSecret      MatterKind = "client_secret" // it ends soon, or has ended
	MatterAPIKey      MatterKind = "api_key"       // the same
)

// Matter is one thing that needs attention; at most one of Mailbox, Provider,
// Webhook and App is what it is about.
type Matter struct {
	Kind     MatterKind  `json:"kind"`
	Mailbox  string      `json:"mailbox,omitempty"`
	Provider string      `json:"provider,omitempty"`
	Webhook  string      `json:"webhook,omitempty"`
	App      string      `json:"app,omitempty"`
	Title    string      `json:"title"`
	Since    time.Time   `json:"since,omitzero"`
	Until    time.Time   `json:"until,omitzero"`
	Ended    bool        `json:"ended,omitempty"` // Until has passed
	Cause    string      `json:"cause,omitempty"`
	Text     string      `json:"text"`
	Who      []fault.Who `json:"who"`
	Remedy   string      `json:"remedy"`
}

// Hour is the mail and the renewals of one hour, by its beginning.
type Hour struct {
	At            time.Time `json:"at"`
	Received      int       `json:"received"`
	Sent          int       `json:"sent"`
	Refreshed     int       `json:"refreshed"`
	RefreshFailed int       `json:"refresh_failed"`
}

// State is the answer: how many mailboxes stand where, what needs attention,
// and the last day by the hour, oldest first.
type State struct {
	Mailboxes int
	Standings map[mailbox.Standing]int
	Attention []Matter
	More      int // matters beyond those that are listed
	Hours     []Hour
	LastRun   time.Time
}

// Scope bounds what is looked at to some mailboxes: what concerns the whole
// server is left out then. The zero Scope is everything.
type Scope struct {
	Bound     bool // to Mailboxes, even where there are none
	Mailboxes []mailbox.Mailbox
}

const (
	mattersPerSort = 25             // listed of each sort; the rest is counted
	unsentSince    = 24 * time.Hour // how long a message that was not sent is news
	hoursShown     = 24             // the present hour included
)

// Look looks at everything in the scope.
func (o *Overview) Look(ctx context.Context, scope Scope) (State, error) {
	now := o.Now()
	s := State{LastRun: o.LastRun(), Attention: []Matter{}}
	var addresses, ids []string
	for _, m := range scope.Mailboxes {
		addresses, ids = append(addresses, m.Address), append(ids, m.ID)
	}
	if scope.Bound && len(ids) == 0 {
		s.Hours = emptyHours(now)
		return s, nil
	}
	if !scope.Bound {
		s.Attention = append(s.Attention, o.silence(now)...)
	}
	if err := o.mailboxes(ctx, &s, addresses); err != nil {
		return State{}, err
	}
	unsent, err := o.Reads.Unsent(ctx, now.Add(-unsentSince), ids, mattersPerSort)
	if err != nil {
		return State{}, err
	}
	for _, u := range unsent {
		s.Attention = append(s.Attention, u.matter())
	}
	if !scope.Bound {
		more, err := o.whole(ctx, now)
		if err != nil {
			return State{}, err
		}
		s.Attention = append(s.Attention, more...)
	}
	s.Hours, err = o.hours(ctx, now, ids)
	return s, err
}

// mailboxes counts all and lists the troubled.
func (o *Overview) mailboxes(ctx context.Context, s *State, addresses []string) error {
	var err error
	if s.Standings, err = o.Reads.CountStandings(ctx, addresses); err != nil {
		return err
	}
	for _, n := range s.Standings {
		s.Mailboxes += n
	}
	for _, standing := range mailbox.Standings() {
		if !standing.Troubled() || s.Standings[standing] == 0 {
			continue
		}
		listed, err := o.Reads.Mailboxes(ctx, mailbox.Filter{Standing: standing, Addresses: addresses, Limit: mattersPerSort})
		if err != nil {
			return err
		}
		for _, l := range listed {
			if m := Trouble(l); m != nil { // it may have changed since it was counted
				s.Attention = append(s.Attention, *m)
			}
		}
		s.More += max(0, s.Standings[standing]-len(listed))
	}
	return nil
}

// FirstSteps says how far the first set-up has come.
func (o *Overview) FirstSteps(ctx context.Context) (FirstSteps, error) {
	return o.Reads.FirstSteps(ctx)
}

// silence tells of a refresh loop that does not run.
func (o *Overview) silence(now time.Time) []Matter {
	run := o.LastRun()
	if run.IsZero() || now.Sub(run) <= o.Silent {
		return nil
	}
	return []Matter{{
		Kind: MatterSilent, Title: "The refresh loop is silent", Since: run,
		Text: "Grants are not renewed ahead of need.", Who: []fault.Who{fault.Operator},
		Remedy: "Look at the server's log: the database may not answer. Restart the server if nothing else helps.",
	}}
}

// Trouble words why a mailbox that is troubled stands where it stands; nil where
// it is not.
func Trouble(l mailbox.Listed) *Matter {
	s := l.Standing()
	if !s.Troubled() {
		return nil
	}
	m := &Matter{
		Mailbox: l.Mailbox.Address, Cause: l.Cause, Text: l.CauseText, Remedy: l.Remedy,
		Who: []fault.Who{fault.Operator, fault.MailboxOwner},
	}
	anew := "Make an authorization link and send it to " + l.Mailbox.Principal() + "."
	switch s {
	case mailbox.StandingDead:
		m.Kind, m.Title = MatterDead, "It must be authorised again"
		m.Text = cmp.Or(m.Text, "The authorization server no longer honours the grant.")
		m.Remedy = cmp.Or(m.Remedy, anew)
	case mailbox.StandingSuspended:
		m.Kind, m.Title, m.Cause, m.Remedy = MatterSuspended, "Its authorisation is suspended", "", anew
		m.Who = []fault.Who{fault.Operator} // the link comes first
		m.Text = "The mailbox or its provider was changed after it was authorised, so it has to be verified anew."
	case mailbox.StandingFailing:
		m.Kind, m.Title, m.Who = MatterFailing, fmt.Sprintf("Renewing its access token fails (%s)", times(l.Failures)), []fault.Who{fault.Operator}
		m.Remedy = cmp.Or(m.Remedy, "Mailgrant tries again by itself; a test says more.")
	case mailbox.StandingQuarantined:
		q := *l.Quarantine
		m.Kind, m.Title = MatterQuarantined, "An authorisation waits in quarantine"
		m.Since, m.Until, m.Cause = q.CreatedAt, q.ExpiresAt, q.Cause
		m.Text = fmt.Sprintf("%s signed in, and the mailbox could not be opened yet. %s", q.Display, q.CauseText)
		m.Remedy, m.Who = WhileWaiting(q), q.Who
	case mailbox.StandingStopped:
		out := l.Stopped()
		m.Kind, m.Title, m.Since = MatterStopped, "Nothing is received", out.Since
		m.Cause, m.Text, m.Who = out.Cause, out.Text, out.Who
		m.Remedy = cmp.Or(out.Remedy, "Mailgrant tries again by itself; a test says more.")
	}
	if len(m.Who) == 0 {
		m.Who = []fault.Who{fault.Operator}
	}
	return m
}

func times(n int) string {
	if n == 1 {
		return "once so far"
	}
	return fmt.Sprintf("%d times in a row", n)
}

func (u Unsent) matter() Matter {
	title := "A message could not be sent"
	if u.Number > 1 {
		title = fmt.Sprintf("%d messages could not be sent", u.Number)
	}
	return Matter{
		Kind: MatterUnsent, Mailbox: u.Mailbox, Title: title, Since: u.Last, Cause: u.Cause, Text: u.Text,
		Who: []fault.Who{fault.Operator}, Remedy: cmp.Or(u.Remedy, "Look at what the server said, and send it again from the program that it came from."),
	}
}

// whole tells what concerns the whole server: webhooks, and what ends soon.
func (o *Overview) whole(ctx context.Context, now time.Time) ([]Matter, error) {
	var matters []Matter
	webhooks, err := o.Reads.Undelivered(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range webhooks {
		if w.Disabled != "" {
			matters = append(matters, Matter{
				Kind: MatterDisabled, Webhook: w.Webhook, Title: "The webhook is switched off", Text: w.Disabled,
				Who: []fault.Who{fault.Operator}, Remedy: "Correct its address, or have its receiver mended, and switch it on again.",
			})
		}
		if w.Parked > 0 {
			title := "A delivery was put aside"
			if w.Parked > 1 {
				title = fmt.Sprintf("%d deliveries were put aside", w.Parked)
			}
			matters = append(matters, Matter{
				Kind: MatterParked, Webhook: w.Webhook, Title: title, Text: "The receiver did not take them for too long; what came later goes on.",
				Who: []fault.Who{fault.Operator}, Remedy: "See what the receiver answered, mend it, then have them delivered again.",
			})
		}
	}
	endings, err := o.Endings.List(ctx)
	for _, e := range endings {
		if EndsSoon(e.Kind, now, e.EndsAt) {
			matters = append(matters, e.matter(now))
		}
	}
	return matters, err
}

func emptyHours(now time.Time) []Hour {
	first := now.UTC().Truncate(time.Hour).Add(-(hoursShown - 1) * time.Hour)
	hours := make([]Hour, hoursShown)
	for i := range hours {
		hours[i].At = first.Add(time.Duration(i) * time.Hour)
	}
	return hours
}

// hours gives the last day by the hour, hours without anything included.
func (o *Overview) hours(ctx context.Context, now time.Time, ids []string) ([]Hour, error) {
	hours := emptyHours(now)
	kinds := []event.Kind{event.MessageReceived, event.SubmissionSent, event.GrantRefreshed, event.GrantRefreshFailed}
	counted, err := o.Reads.EventHours(ctx, hours[0].At, kinds, ids)
	for _, c := range counted {
		i := slices.IndexFunc(hours, func(h Hour) bool { return h.At.Equal(c.At) })
		if i < 0 { // the clock of another process is ahead
			continue
		}
		switch c.Kind {
		case event.MessageReceived:
			hours[i].Received = c.Number
		case event.SubmissionSent:
			hours[i].Sent = c.Number
		case event.GrantRefreshed:
			hours[i].Refreshed = c.Number
		case event.GrantRefreshFailed:
			hours[i].RefreshFailed = c.Number
		}
	}
	return hours, err
}
