package connect

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Callback is what a browser brought back from the provider (RFC 6749 sections
// 4.1.2 and 4.1.2.1, RFC 9207), with the binding from its cookie.
type Callback struct {
	State            string
	Code             seal.Secret
	Issuer           string // parameter iss
	Error            string
	ErrorDescription string
	Binding          seal.Secret
}

// Result is how an attempt ended, for the page and for the API. Where LinkID is
// empty the answer could not be attributed to any link, and only the words of
// the outcome are there.
type Result struct {
	Outcome
	LinkID       string
	LinkState    string
	MailboxID    string
	Mailbox      string
	Principal    string
	Quarantined  bool   // OK, but the mailbox could not be asked yet
	RetryAllowed bool   // the link has attempts left
	AttemptsLeft int    // of the link
	SignOutURL   string // where the provider ends its session in this browser; empty: not known
}

// finishTime bounds everything between callback and adoption.
const finishTime = 2 * time.Minute

// Finish takes a callback. The error is nil when the authorization was adopted
// or waits in quarantine; else it is a *fault.Error, nothing was stored but the
// outcome, and Result says the same in words. A browser that goes away does not
// stop it: the code can be redeemed only once.
func (l *Links) Finish(ctx context.Context, cb Callback) (Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	now := l.needs.Now().UTC()
	if cb.State == "" {
		return l.unattributed(errStateMissing())
	}
	a, link, err := l.needs.Links.TakeAttempt(ctx, digest(cb.State), now)
	switch {
	case fault.Has(err, "attempt.unknown"):
		return l.unattributed(errStateUnknown())
	case fault.Has(err, "attempt.used"):
		return l.unattributed(errStateUsed())
	case err != nil:
		return l.unattributed(err)
	}
	link, m, err := l.whole(ctx, link)
	if err != nil {
		return l.unattributed(err)
	}
	f := &finishing{Links: l, attempt: a, link: link, mailbox: m}
	if err := f.run(ctx, cb); err != nil {
		return f.refuse(ctx, err)
	}
	return f.result(f.done), nil
}

// unattributed words an answer that belongs to no open attempt.
func (l *Links) unattributed(err error) (Result, error) {
	f := fault.Of(err)
	return Result{Outcome: outcomeOf(f, l.needs.Now().UTC())}, f
}

func outcomeOf(f *fault.Error, at time.Time) Outcome {
	o := Outcome{At: at, Cause: f.ID, Text: f.Text, Remedy: f.Remedy, Reference: f.Detail.CorrelationID}
	o.Reply = f.Detail.Said()
	for _, w := range f.Who {
		o.Who = append(o.Who, string(w))
	}
	return o
}

// finishing is one attempt on its way from callback to grant.
type finishing struct {
	*Links
	attempt Attempt
	link    Link
	mailbox mailbox.Mailbox

	kind        provider.Kind
	reg         provider.Registration
	tokens      provider.Tokens   // of the mail resource, with the newest refresh token
	access      []provider.Tokens // every access token that came
	who         provider.Identity // zero until identified
	binding     Binding
	present     mailbox.Grant // the grant in place, zero when there is none
	done        Outcome       // when it went well
	quarantined bool
}

func (f *finishing) run(ctx context.Context, cb Callback) error {
	if err := f.admit(cb); err != nil {
		return err
	}
	var err error
	if f.kind, f.reg, err = f.providers.Registration(ctx, f.mailbox.Provider); err != nil {
		return err
	}
	if !bytes.Equal(f.attempt.Basis, basis(f.mailbox, f.reg)) {
		return errMailboxChanged(nil)
	}
	if err := f.answer(cb); err != nil {
		return err
	}
	if err := f.redeem(ctx, cb); err != nil {
		return err
	}
	return f.decide(ctx)
}

// admit checks that this browser may finish this attempt at this link now.
func (f *finishing) admit(cb Callback) error {
	if subtle.ConstantTimeCompare(digest(cb.Binding.Reveal()), f.attempt.BindingHash) != 1 {
		return errForeignBrowser()
	}
	switch {
	case f.link.State == LinkExpired:
		return errLinkExpired()
	case f.link.State == LinkCancelled:
		return errLinkCancelled()
	case f.link.State == LinkGranted:
		return errLinkGranted()
	case !f.needs.Now().Before(f.attempt.ExpiresAt):
		return errStateExpired()
	}
	return nil
}

// answer explains an error that the provider sent through the browser. Its
// words come from the browser, so they are shown and decide nothing.
func (f *finishing) answer(cb Callback) error {
	if cb.Error == "" {
		if cb.Code.IsZero() {
			return errNoCode()
		}
		return nil
	}
	response, err := oauth.ParseAuthorizationResponse(url.Values{"error": {cb.Error}, "error_description": {cb.ErrorDescription}})
	if err != nil {
		return err
	}
	why := oauth.Fault(response.Refusal)
	if cb.Error == "invalid_request" && strings.Contains(strings.ToLower(cb.ErrorDescription), "prompt") && f.attempt.Prompt != string(provider.PromptOmit) {
		refused := errPrompt(f.attempt.Prompt, why)
		refused.Detail = why.Detail
		return refused
	}
	if k, ok := f.kind.(provider.AuthorizationRefusals); ok {
		if better := k.AuthorizationRefused(f.reg, why); better != nil {
			why = better
		}
	}
	if cb.Error == "access_denied" && why.ID == "oauth.access_denied" {
		declined := errDeclined(why)
		declined.Detail = why.Detail
		return declined
	}
	return why
}

// redeem exchanges the code, proves who signed in and collects the tokens.
func (f *finishing) redeem(ctx context.Context, cb Callback) error {
	verifier, err := f.needs.Keys.Unseal(f.attempt.Verifier, seal.Where("attempt", f.attempt.ID, "verifier"))
	if err != nil {
		return err
	}
	nonce, err := f.needs.Keys.Unseal(f.attempt.Nonce, seal.Where("attempt", f.attempt.ID, "nonce"))
	if err != nil {
		return err
	}
	f.tokens, err = f.kind.Redeem(ctx, f.reg, provider.Redemption{
		Code: cb.Code, CodeVerifier: verifier, Nonce: nonce.Reveal(), Issuer: cb.Issuer,
		Uses: f.mailbox.Uses(), Profile: f.mailbox.Profile,
	})
	if err != nil {
		return err
	}
	f.access = append(f.access, f.tokens)
	who, second, err := f.kind.Identify(ctx, f.reg, f.mailbox.Address, f.tokens)
	if err != nil {
		return err
	}
	f.who = who
	f.take(second)
	return nil
}

// take keeps what a further token answer brought: an access token, and the
// refresh token where it was rotated.
func (f *finishing) take(t provider.Tokens) {
	if !t.AccessToken.IsZero() {
		f.access = append(f.access, t)
	}
	if !t.RefreshToken.IsZero() {
		f.tokens.RefreshToken = t.RefreshToken
	}
}

// decide binds, probes, binds again, and adopts or puts aside.
func (f *finishing) decide(ctx context.Context) error {
	expected := Expected{Mailbox: f.mailbox.Address, Delegate: f.mailbox.ActsAs.Delegate(), AllowUnverifiable: f.mailbox.AllowUnknown}
	if f.binding = Bind(expected, f.who, ProbeNotMade); f.binding.Decision == Refuse {
		return errBinding(f.binding, f.mailbox, nil)
	}
	if err := f.samePerson(ctx); err != nil {
		return err
	}
	if f.tokens.RefreshToken.IsZero() {
		return errNoRefreshToken()
	}
	probe, why := f.open(ctx)
	f.binding = Bind(expected, f.who, probe)
	switch f.binding.Decision {
	case Accept:
		return f.adopt(ctx)
	case Quarantine:
		return f.setAside(ctx, why)
	default:
		return errBinding(f.binding, f.mailbox, why)
	}
}

// samePerson asks for an operator's yes where another user than before comes
// with the right address. Where an operator ended or suspended the grant, by
// revoking it or by changing the mailbox, that act was the yes.
func (f *finishing) samePerson(ctx context.Context) error {
	g, err := f.needs.Grants.Grant(ctx, f.mailbox.ID)
	if fault.Has(err, "grant.none") {
		return nil
	}
	if err != nil {
		return err
	}
	f.present = g
	ended := g.State != mailbox.GrantActive && g.State != mailbox.GrantDead
	if ended || g.Subject.Key() == f.who.Key() || f.link.AllowSubject == f.who.Key() {
		return nil
	}
	return errOtherSubject(f.mailbox, g, f.who)
}

// open probes the mailbox with an access token for the mail server.
func (f *finishing) open(ctx context.Context) (ProbeResult, error) {
	d, err := f.door(f.kind, f.reg.Record, f.mailbox)
	if err != nil {
		return ProbeUndecided, err
	}
	for _, t := range f.access {
		if t.Resource == d.at.Resource {
			return d.promptly(ctx, t.AccessToken)
		}
	}
	t, err := f.fetchAccess(ctx, f.kind, f.reg, f.mailbox, d.at.Resource, f.tokens.RefreshToken)
	if err != nil {
		return ProbeUndecided, err
	}
	f.take(t)
	return d.promptly(ctx, t.AccessToken)
}

// refuse records how the attempt failed. What came from the provider goes out
// of memory with f.
func (f *finishing) refuse(ctx context.Context, err error) (Result, error) {
	now, why := f.needs.Now().UTC(), fault.Of(err)
	if why.Kind == fault.Internal {
		f.needs.Log.ErrorContext(ctx, "an authorization attempt failed", "mailbox", f.mailbox.Address, "error", err)
	}
	o := outcomeOf(why, now)
	o.AttemptID, o.Verdict, o.Expected = f.attempt.ID, f.binding.Verdict, f.mailbox.Principal()
	if f.who.Key() != "#" {
		o.SignedIn = shown(f.who)
	}
	if why.ID == "connect.other_person" {
		o.Subject = f.who.Key()
	}
	e := event.New(now, event.AttemptRefused, f.actor(), fmt.Sprintf("An authorization attempt for %s was refused: %s", f.mailbox.Address, why.Text)).
		About(f.mailbox.ID, f.mailbox.Address).Because(why).
		With("link_id", f.link.ID).With("attempt_id", f.attempt.ID).With("expected", o.Expected)
	for k, v := range map[string]string{"signed_in": o.SignedIn, "verdict": string(o.Verdict), "subject": o.Subject, "prompt": f.attempt.Prompt} {
		if v != "" {
			e = e.With(k, v)
		}
	}
	if err := f.record(ctx, o, e); err != nil {
		f.needs.Log.ErrorContext(ctx, "a refused attempt could not be recorded", "mailbox", f.mailbox.Address, "error", err)
	}
	r := f.result(o)
	if f.kind != nil && o.SignedIn != "" {
		r.SignOutURL = f.signOutURL(ctx, f.kind, f.reg)
	}
	return r, why
}

// record keeps the outcome with its link. A link that was granted, cancelled or
// has expired keeps what it ended with; the event says the rest.
func (f *finishing) record(ctx context.Context, o Outcome, e event.Event) error {
	if f.link.State != LinkPending && f.link.State != LinkRefused {
		return f.needs.Events.WriteEvent(ctx, e)
	}
	return f.needs.Links.RefuseAttempt(ctx, Refusal{LinkID: f.link.ID, Outcome: o, Event: e, GiveBack: !o.Counts()})
}

// actor is the owner, by the name they signed in with.
func (f *finishing) actor() event.Actor {
	a := event.Actor{Kind: event.ActorOwner}
	if f.who.Key() != "#" {
		a.Name = shown(f.who)
	}
	return a
}

func (f *finishing) result(o Outcome) Result {
	counted := f.link.Attempts
	if !o.Counts() {
		counted--
	}
	left := max(0, MaxAttempts-counted)
	r := Result{
		Outcome: o, LinkID: f.link.ID, LinkState: f.link.State, MailboxID: f.mailbox.ID,
		Mailbox: f.mailbox.Address, Principal: f.mailbox.Principal(), AttemptsLeft: left,
	}
	if o.OK {
		r.LinkState = LinkGranted
		r.AttemptsLeft = 0
		r.Quarantined = f.quarantined
		return r
	}
	if r.LinkState == LinkPending && left == 0 {
		r.LinkState = LinkRefused
	}
	r.RetryAllowed = r.LinkState == LinkPending && left > 0
	return r
}
