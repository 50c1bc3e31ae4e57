package diagnose

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Ladder tests mailboxes step by step. Every field but Courier, Audiences and
// Log is required.
type Ladder struct {
	Mailboxes Mailboxes
	Directory Directory
	Grants    Grants
	Lender    Lender
	Probes    Probes
	Courier   Courier // nil: no message can be sent by a test
	Events    Events
	Audiences []provider.Audience // to tell whom an access token is for
	Now       func() time.Time
	Log       *slog.Logger
}

// TestOptions shapes a test.
type TestOptions struct {
	SendTo string      // one real message goes there; empty: none is sent
	By     event.Actor // who asked; zero: Mailgrant itself
}

// Rung is one step of a test, with what a person needs who has to mend it.
type Rung struct {
	Name     string        `json:"name"`  // "configuration", "grant", "receive.tls", …
	Title    string        `json:"title"` // for people
	OK       bool          `json:"ok"`
	Skipped  bool          `json:"skipped,omitempty"`
	Observed string        `json:"observed"`
	ID       string        `json:"id,omitempty"` // the fault's
	Cause    string        `json:"cause,omitempty"`
	Who      []fault.Who   `json:"who,omitempty"`
	Remedy   string        `json:"remedy,omitempty"`
	Retry    bool          `json:"retry,omitempty"` // Mailgrant tries again by itself
	Detail   *fault.Detail `json:"detail,omitempty"`
	Took     time.Duration `json:"took_ns"`
}

// Limits of a test: of each step of ours, and of a protocol's whole climb.
const (
	stepTime  = 40 * time.Second
	probeTime = 60 * time.Second
	sendTime  = 2 * time.Minute
)

// climb is one test under way.
type climb struct {
	*Ladder
	yield   func(Rung)
	mailbox mailbox.Mailbox
	kind    provider.Kind
	reg     provider.Registration
	receive *protocol.Endpoint
	send    *protocol.Endpoint
	second  *protocol.Endpoint // the second way of sending; nil: none
	grant   mailbox.Grant
	waiting *mailbox.Quarantine // what waits in quarantine where there is no grant
	lent    map[string]seal.Secret
	steps   int
	first   error  // the first failure
	at      string // and the title of its rung
}

// Test climbs the ladder of a mailbox and reports every rung to yield as it is
// climbed. It returns the fault of the first rung that failed, or nil. A rung
// that cannot be tried because an earlier one failed is reported as skipped.
func (l *Ladder) Test(ctx context.Context, address string, o TestOptions, yield func(Rung)) error {
	c := &climb{Ladder: l, yield: yield, lent: map[string]seal.Secret{}}
	var err error
	if c.mailbox, err = l.Mailboxes.Get(ctx, address); err != nil {
		return err
	}
	c.run(ctx, o)
	if ctx.Err() == nil {
		c.tell(ctx, o.By)
	}
	return c.first
}

func (c *climb) run(ctx context.Context, o TestOptions) {
	configured := c.rung(ctx, "configuration", "The settings fit together", c.configuration)
	if configured {
		c.rung(ctx, "provider", "The provider answers and knows us", c.provider)
	} else {
		c.skip("provider", "The provider answers and knows us", "The settings have to be right first.")
	}
	granted := c.rung(ctx, "grant", "The mailbox is authorised", c.granted)
	lent := false
	switch {
	case configured && granted:
		lent = c.rung(ctx, "access_token", "An access token can be had", c.lend)
		c.rung(ctx, "identity", "It is the right person's", c.identity)
	default:
		c.skip("access_token", "An access token can be had", c.unlent(granted))
		c.skip("identity", "It is the right person's", c.unproved(granted))
	}
	sent := true
	if c.receive != nil {
		c.protocol(ctx, *c.receive, c.mailbox.Receive.Server, "receive", "Receiving", lent)
	}
	if c.send != nil {
		before := c.first
		sent = c.protocol(ctx, *c.send, c.mailbox.Send.Server, "send", "Sending", lent)
		if c.second != nil && c.protocol(ctx, *c.second, mailbox.Server{}, "fallback", "Sending by "+string(c.second.Protocol), lent) && !sent {
			c.first, sent = before, true // mail goes out by the second way
		}
	}
	if o.SendTo != "" {
		c.message(ctx, o.SendTo, lent && sent)
	}
}

// rung climbs one rung of our own.
func (c *climb) rung(ctx context.Context, name, title string, try func(context.Context) (observed string, err error)) bool {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	began := c.Now()
	observed, err := try(ctx)
	return c.report(Rung{Name: name, Title: title, Observed: observed, Took: c.Now().Sub(began)}, err)
}

// report fills in what the fault knows and hands the rung on.
func (c *climb) report(r Rung, err error) bool {
	c.steps++
	r.OK = err == nil
	if f := fault.Of(err); f != nil {
		r.ID, r.Cause, r.Who, r.Remedy, r.Retry = f.ID, f.Text, f.Who, f.Remedy, f.Retry
		if f.Detail != (fault.Detail{}) {
			d := f.Detail
			r.Detail = &d
		}
		if r.Observed == "" {
			r.Observed = f.Detail.Reply
		}
		if f.Kind == fault.Internal && c.Log != nil {
			c.Log.Error("a step of a test failed", "mailbox", c.mailbox.Address, "step", r.Name, "error", err)
		}
		if c.first == nil {
			c.first, c.at = err, r.Title
		}
	}
	c.yield(r)
	return r.OK
}

func (c *climb) skip(name, title, why string) {
	c.yield(Rung{Name: name, Title: title, Skipped: true, Observed: why})
}

func (c *climb) configuration(ctx context.Context) (string, error) {
	var err error
	if c.kind, c.reg, err = c.Directory.Registration(ctx, c.mailbox.Provider); err != nil {
		return "", err
	}
	if err := c.kind.Check(c.reg.Record); err != nil {
		return "", err
	}
	if c.receive, c.send, err = c.Mailboxes.Endpoints(ctx, c.mailbox); err != nil {
		return "", err
	}
	c.second = c.mailbox.Fallback(c.kind, c.reg.Record)
	if _, err := c.kind.Resources(c.reg.Record, c.mailbox.Uses(), c.mailbox.Profile); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s through the provider %s (%s)", c.mailbox.Address, c.reg.Name, c.kind.Traits().Title)
	if d := c.mailbox.ActsAs.Delegate(); d != "" {
		text += ", opened by the delegate " + d
	}
	if c.receive != nil {
		text += fmt.Sprintf("; receives by %s from %s port %d", c.receive.Protocol, c.receive.Host, c.receive.Port)
	}
	if c.send != nil {
		text += fmt.Sprintf("; sends by %s through %s port %d", c.send.Protocol, c.send.Host, c.send.Port)
	}
	if c.second != nil {
		text += fmt.Sprintf(", or by %s where that is shut", c.second.Protocol)
	}
	if c.mailbox.Paused {
		text += "; paused by an operator"
	}
	return text + ".", nil
}

func (c *climb) provider(ctx context.Context) (string, error) {
	if err := c.kind.Verify(ctx, c.reg); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s knows the settings of %s.", c.kind.Traits().Title, c.reg.Name), nil
}

func (c *climb) granted(ctx context.Context) (string, error) {
	g, err := c.Grants.Grant(ctx, c.mailbox.ID)
	if fault.Has(err, "grant.none") {
		return c.ungranted(ctx, err)
	}
	if err != nil {
		return "", err
	}
	c.grant = g
	observed := fmt.Sprintf("%s authorised it on %s.", named(g), day(g.ConnectedAt))
	if g.State == mailbox.GrantActive {
		return observed, nil
	}
	f := &fault.Error{
		ID: "grant." + string(g.State), Kind: fault.Dead, Text: g.CauseText, Remedy: g.Remedy,
		Who: []fault.Who{fault.MailboxOwner, fault.Operator},
	}
	words := map[mailbox.GrantState][2]string{
		mailbox.GrantSuspended: {
			"The grant is suspended, because the mailbox or its provider was changed after it was given.",
			"Make an authorization link and send it to " + c.mailbox.Principal() + "; the grant works again once the changed mailbox was verified.",
		},
		mailbox.GrantDead: {
			"The authorization server no longer honours the grant.",
			"Make an authorization link and send it to " + c.mailbox.Principal() + ".",
		},
		mailbox.GrantRevoked: {
			"An operator ended the grant.",
			"To connect the mailbox again, make an authorization link and send it to " + c.mailbox.Principal() + ".",
		},
	}[g.State]
	if f.Text == "" {
		f.Text = words[0]
	}
	if f.Remedy == "" {
		f.Remedy = words[1]
	}
	return observed + " " + words[0], f
}

func (c *climb) ungranted(ctx context.Context, err error) (string, error) {
	q, qerr := c.Grants.QuarantineOf(ctx, c.mailbox.ID)
	if qerr != nil {
		return "", qerr
	}
	if q == nil {
		return "", &fault.Error{
			ID: "grant.none", Kind: fault.Dead, Text: "Nobody has authorised the mailbox yet.", Who: []fault.Who{fault.Operator, fault.MailboxOwner},
			Remedy: "Make an authorization link and send it to " + c.mailbox.Principal() + ".", Err: err,
		}
	}
	c.waiting = q
	f := &fault.Error{
		ID: "grant.quarantined", Kind: fault.Temporary, Retry: true, Who: q.Who, Field: q.CauseField,
		Text:   "The authorisation waits in quarantine, because the mailbox could not be opened yet: " + q.CauseText,
		Remedy: WhileWaiting(*q),
	}
	if len(f.Who) == 0 {
		f.Who = []fault.Who{fault.Operator}
	}
	return fmt.Sprintf("%s signed in on %s.", q.Display, day(q.CreatedAt)), f
}

// WhileWaiting says what to do about an authorization that waits in quarantine:
// what removes its cause, and that Mailgrant tries again by itself.
func WhileWaiting(q mailbox.Quarantine) string {
	if strings.Contains(q.Remedy, "tries again by itself") {
		return fmt.Sprintf("%s The authorisation waits until %s.", q.Remedy, day(q.ExpiresAt))
	}
	return strings.TrimSpace(fmt.Sprintf("%s Mailgrant tries again by itself until %s.", q.Remedy, day(q.ExpiresAt)))
}

// unlent says why no access token is asked for.
func (c *climb) unlent(granted bool) string {
	switch {
	case granted:
		return "The settings have to be right first."
	case c.waiting != nil:
		return "Not used while the authorisation waits in quarantine."
	case c.grant.State == mailbox.GrantSuspended:
		return "Not used while the authorisation is suspended."
	}
	return "There is nothing to renew one with."
}

// unproved says whose authorization it is that is not used.
func (c *climb) unproved(granted bool) string {
	switch {
	case granted:
		return named(c.grant) + " authorised it; the settings have to be right first."
	case c.waiting != nil:
		return fmt.Sprintf("%s signed in (verdict: %s); the authorisation waits in quarantine.", c.waiting.Display, c.waiting.Verdict)
	case c.grant.State == mailbox.GrantSuspended:
		return fmt.Sprintf("%s signed in (verdict: %s); the authorisation is suspended.", named(c.grant), c.grant.Verdict)
	}
	return "Nobody has authorised the mailbox, or the authorisation ended."
}

// lend asks for an access token of every resource that the endpoints need.
func (c *climb) lend(ctx context.Context) (string, error) {
	var observed []string
	for _, e := range []*protocol.Endpoint{c.receive, c.send, c.second} {
		if e == nil || !c.lent[e.Resource].IsZero() {
			continue
		}
		accessToken, until, err := c.Lender.Lend(ctx, c.mailbox.ID, e.Resource, time.Minute)
		if err != nil {
			return strings.Join(observed, " "), err
		}
		c.lent[e.Resource] = accessToken
		observed = append(observed, fmt.Sprintf("One for %s is good for %s more.", e.Resource, span(until.Sub(c.Now()))))
	}
	return strings.Join(observed, " "), nil
}

// identity says whose grant it is, and reads the access tokens where they can
// be read: one for another resource or of another person is found here, not as
// a bare refusal by the mail server.
func (c *climb) identity(context.Context) (string, error) {
	g := c.grant
	observed := fmt.Sprintf("%s; verdict: %s.", named(g), g.Verdict)
	switch g.Verdict {
	case mailbox.VerdictMatch, mailbox.VerdictAlias, mailbox.VerdictDelegate, mailbox.VerdictApp:
	case mailbox.VerdictUnverifiable:
		if !c.mailbox.AllowUnknown {
			return observed, c.notTheirs("Nothing proves who authorised the mailbox, and that is not allowed for it any more.")
		}
	default:
		return observed, c.notTheirs(fmt.Sprintf("The grant belongs to %s, not to %s.", named(g), c.mailbox.Principal()))
	}
	inspector := Inspector{Audiences: c.Audiences, Now: c.Now}
	for resource, accessToken := range c.lent {
		report, err := inspector.Inspect(accessToken, Expectation{Resource: resource, TenantID: g.Subject.TenantID, ObjectID: g.Subject.ObjectID, ClientID: c.reg.ClientID})
		if err != nil {
			return observed, err
		}
		for _, f := range report.Findings {
			return observed, &fault.Error{ID: f.ID, Kind: fault.Refused, Text: f.Text, Who: f.Who, Remedy: f.Remedy}
		}
	}
	return observed, nil
}

func (c *climb) notTheirs(text string) error {
	return &fault.Error{
		ID: "connect.wrong_person", Kind: fault.Refused, Text: text, Who: []fault.Who{fault.MailboxOwner, fault.Operator},
		Remedy: "Make an authorization link and send it to " + c.mailbox.Principal() + ".",
	}
}

// protocol climbs the rungs of one protocol.
func (c *climb) protocol(ctx context.Context, at protocol.Endpoint, own mailbox.Server, name, title string, lent bool) bool {
	prober := c.Probes(at.Protocol)
	if prober == nil {
		c.skip(name, title, fmt.Sprintf("The protocol %s cannot be tried.", at.Protocol))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	user := own.User
	if user == "" {
		user = c.mailbox.Address
	}
	failed := false
	login := protocol.Login{User: user}
	if lent {
		login.AccessToken = c.lent[at.Resource]
	}
	err := prober.Probe(ctx, at, login, func(s protocol.Step) {
		r := Rung{Name: name + "." + s.Name, Title: title + ": " + s.Title, Observed: s.Observed, Took: s.Took}
		switch {
		case s.Skipped:
			r.Skipped = true
			c.yield(r)
		case s.OK:
			c.report(r, nil)
		default:
			failed = true
			err := s.Err
			if err == nil {
				err = fmt.Errorf("the step %s of %s failed without a fault", s.Name, at.Protocol)
			}
			c.report(r, err)
		}
	})
	if err != nil && !failed && !fault.Has(err, "protocol.no_access_token") {
		c.report(Rung{Name: name, Title: title}, err)
	}
	return err == nil
}

// message sends one real message.
func (c *climb) message(ctx context.Context, to string, possible bool) {
	const name, title = "message", "A message is sent"
	switch {
	case !possible:
		c.skip(name, title, "Sending has to work first.")
		return
	case c.Courier == nil || c.send == nil:
		c.skip(name, title, "The mailbox does not send.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	began := c.Now()
	reply, err := c.Courier.SendTest(ctx, c.mailbox.Address, to)
	r := Rung{Name: name, Title: title, Took: c.Now().Sub(began)}
	if err == nil {
		r.Observed = fmt.Sprintf("The server took a message to %s: %s", fault.Shorten(to, 120), fault.Shorten(reply, 300))
	}
	c.report(r, err)
}

// tell writes the event of the test.
func (c *climb) tell(ctx context.Context, by event.Actor) {
	if by.Kind == "" {
		by = event.System()
	}
	text := fmt.Sprintf("A test of %s went well in all %d steps.", c.mailbox.Address, c.steps)
	if c.first != nil {
		text = fmt.Sprintf("A test of %s failed at “%s”: %s", c.mailbox.Address, c.at, fault.Of(c.first).Text)
	}
	e := event.New(c.Now(), event.MailboxTested, by, text).About(c.mailbox.ID, c.mailbox.Address)
	if c.first != nil {
		e = e.Because(c.first)
	}
	if err := c.Events.WriteEvent(ctx, e); err != nil && c.Log != nil {
		c.Log.ErrorContext(ctx, "the event of a test could not be written", "mailbox", c.mailbox.Address, "error", err)
	}
}

func named(g mailbox.Grant) string {
	if g.Display != "" {
		return g.Display
	}
	return "Somebody without a name"
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006 15:04 UTC") }

// span says a time in words, roughly.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
