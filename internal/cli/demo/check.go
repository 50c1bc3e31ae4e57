package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// errStory says that a step did not come out as it must.
var errStory = errors.New("the story did not come out as it must")

// step is one scene: what is done, and what has to be true afterwards.
type step struct {
	title string
	play  func(context.Context, *teller) error
}

// teller plays the story and tells it.
type teller struct {
	*stage
	out   io.Writer
	adele *browser.Browser // the administrator's, signed in as Adele
	owner *browser.Browser // the mailbox owner's, a private window
}

func (t *teller) say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "      "+format+"\n", args...)
}

// wrong ends a step.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errStory, fmt.Sprintf(format, args...))
}

// stepTime bounds one step; all of them together take a second or two on a machine that is not busy.
const stepTime = 30 * time.Second

// check plays the story alone. Its error says which step did not come out.
func check(ctx context.Context, o Options) (err error) {
	began := time.Now()
	_, _ = fmt.Fprintf(o.Out, "The story of Mailgrant, played with a scripted browser against a made-up tenant.\n\n")
	s, err := set(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	t := &teller{stage: s, out: o.Out, adele: browser.New(browser.Options{}), owner: browser.New(browser.Options{})}
	steps := t.steps()
	for i, one := range steps {
		_, _ = fmt.Fprintf(o.Out, "%2d/%d  %s\n", i+1, len(steps), one.title)
		stepCtx, cancel := context.WithTimeout(ctx, stepTime)
		err := one.play(stepCtx, t)
		cancel()
		if err != nil {
			_, _ = fmt.Fprintf(o.Out, "   ✗  %v\n", err)
			return err
		}
		_, _ = fmt.Fprintln(o.Out, "   ✓")
	}
	_, _ = fmt.Fprintf(o.Out, "\nEvery step came out as it must, in %s.\n", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (t *teller) steps() []step {
	return []step{
		{"An administrator's browser is signed in as Adele", signInAsAdele},
		{"The trap: she opens the service desk's link, and nothing asks who she is", trapByPrompt},
		{"The trap again: the device signs in whoever owns it, whatever is asked", trapByDevice},
		{"The service desk's owner opens a link and is asked to sign in", rightPerson},
		{"The test climbs from the name look-up to the opened mailbox", ladderGreen},
		{"A message arrives and is handed to the service desk's webhook", mailIn},
		{"The service desk answers, and its answer reaches Adele", mailOut},
		{"The access token runs out and is renewed", renewal},
		{"Adele tries once more; the working authorisation survives", survives},
	}
}

func signInAsAdele(ctx context.Context, t *teller) error {
	if err := t.adele.Open(ctx, t.home()); err != nil {
		return err
	}
	if err := t.adele.SignIn(ctx, directory.StoryAdele, directory.StoryAdelePassword); err != nil {
		return err
	}
	if !t.adele.Page().Contains(directory.StoryAdele) {
		return wrong("the sandbox does not show Adele as signed in, but: %s", t.adele.Page().Text)
	}
	t.say("%s is signed in at %s, as she is all day.", directory.StoryAdele, t.box.Describe().BaseURL)
	return nil
}

// follow opens a link in a browser and presses the button.
func (t *teller) follow(ctx context.Context, b *browser.Browser) error {
	link, err := t.link(ctx)
	if err != nil {
		return err
	}
	if err := b.Open(ctx, link.String()); err != nil {
		return err
	}
	if err := b.Submit(ctx, browser.Action(link.Path), nil); err != nil {
		return err
	}
	return b.Follow(ctx, "go there now")
}

// refused says whether the page names both people and nothing was stored.
func (t *teller) refused(ctx context.Context, b *browser.Browser) error {
	p := b.Page()
	if !p.Contains("The wrong person was signed in") || !p.Contains(directory.StoryDesk) || !p.Contains(directory.StoryAdele) {
		return wrong("the page does not refuse Adele by name; it says: %s", p.Text)
	}
	t.say("The page says: “The wrong person was signed in. Should have signed in: %s. Was signed in: %s.”", directory.StoryDesk, directory.StoryAdele)
	if strings.Contains(p.URL, "code=") || strings.Contains(p.URL, "state=") {
		return wrong("the address still holds the provider's answer: %s", p.URL)
	}
	return nil
}

func (t *teller) nothingStored(ctx context.Context) error {
	m, err := t.app.Connect.Mailboxes.Get(ctx, directory.StoryDesk)
	if err != nil {
		return err
	}
	if _, err := t.app.Store.Grant(ctx, m.ID); !fault.Has(err, "grant.none") {
		return wrong("a grant was stored (%v)", err)
	}
	q, err := t.app.Store.QuarantineOf(ctx, m.ID)
	if err != nil || q != nil {
		return wrong("something was put aside (%v)", err)
	}
	tokens, err := t.app.Store.AccessTokens(ctx, m.ID)
	if err != nil || len(tokens) > 0 {
		return wrong("an access token was stored (%v)", err)
	}
	t.say("Nothing was stored: no grant, no token.")
	return nil
}

func trapByPrompt(ctx context.Context, t *teller) error {
	if err := t.saveProvider(ctx, provider.PromptOmit); err != nil {
		return err
	}
	if err := t.follow(ctx, t.adele); err != nil {
		return err
	}
	t.say("With “prompt: omit”, as other products do it, single sign-on handed over Adele's tokens without a word.")
	if err := t.refused(ctx, t.adele); err != nil {
		return err
	}
	return t.nothingStored(ctx)
}

func trapByDevice(ctx context.Context, t *teller) error {
	if err := t.saveProvider(ctx, ""); err != nil {
		return err
	}
	if err := t.box.World().SetDeviceUser(directory.StoryAdele); err != nil {
		return err
	}
	err := t.follow(ctx, t.adele)
	if err := errors.Join(err, t.box.World().SetDeviceUser("")); err != nil {
		return err
	}
	t.say("Mailgrant asked for a fresh sign-in (prompt=login); the device's single sign-on ignored it.")
	if err := t.refused(ctx, t.adele); err != nil {
		return err
	}
	return t.nothingStored(ctx)
}

func rightPerson(ctx context.Context, t *teller) error {
	if err := t.follow(ctx, t.owner); err != nil {
		return err
	}
	if t.owner.Shows() != "signin" {
		return wrong("nobody was asked to sign in; the page says: %s", t.owner.Page().Text)
	}
	if err := t.owner.SignIn(ctx, directory.StoryDesk, directory.StoryDeskPassword); err != nil {
		return err
	}
	if !t.owner.Page().Contains("is connected") {
		return wrong("the page does not say that the mailbox is connected, but: %s", t.owner.Page().Text)
	}
	g, err := t.grant(ctx)
	if err != nil {
		return err
	}
	if g.State != mailbox.GrantActive || g.Verdict != mailbox.VerdictMatch {
		return wrong("the grant is %s with the verdict %s", g.State, g.Verdict)
	}
	t.say("%s signed in; expected, signed in and opened agree. Verdict: %s.", directory.StoryDesk, g.Verdict)
	return nil
}

func (t *teller) grant(ctx context.Context) (mailbox.Grant, error) {
	m, err := t.app.Connect.Mailboxes.Get(ctx, directory.StoryDesk)
	if err != nil {
		return mailbox.Grant{}, err
	}
	return t.app.Store.Grant(ctx, m.ID)
}

func ladderGreen(ctx context.Context, t *teller) error {
	err := t.app.Diagnose.Test(ctx, directory.StoryDesk, diagnose.TestOptions{By: operator}, func(r diagnose.Rung) {
		mark := "✓"
		if r.Skipped {
			mark = "–"
		} else if !r.OK {
			mark = "✗"
		}
		t.say("%s %s: %s%s", mark, r.Title, r.Observed, r.Cause)
	})
	if err != nil {
		return wrong("a rung failed: %v", err)
	}
	return nil
}

func mailIn(ctx context.Context, t *teller) error {
	const subject = printerOnFire
	sent := time.Now()
	if err := t.adeleWrites(subject); err != nil {
		return err
	}
	p, ok := t.desk.await(event.MessageReceived, func(p webhook.Payload) bool { return p.Data.Details["subject"] == subject }, stepTime-time.Second)
	if !ok {
		return wrong("the webhook was not called for the message")
	}
	t.say("The webhook was called %s after arrival, signature good: “%s”.", time.Since(sent).Round(time.Millisecond), p.Data.Details["subject"])
	return nil
}

func mailOut(ctx context.Context, t *teller) error {
	const subject = "Re: " + printerOnFire
	s, _, err := t.app.Outbox.Submit(ctx, outbox.Request{
		Mailbox: directory.StoryDesk, Caller: "demo", IdempotencyKey: "answer-1", Actor: operator,
		Draft: &message.Draft{
			From: message.Party{Name: "Service Desk", Address: directory.StoryDesk}, To: []message.Party{{Address: directory.StoryAdele}},
			Subject: subject, Text: "Somebody is on the way.",
		},
	})
	if err != nil {
		return err
	}
	p, ok := t.desk.await(event.SubmissionSent, func(p webhook.Payload) bool { return p.Data.Details["submission_id"] == s.ID }, stepTime-time.Second)
	if !ok {
		s, err := t.app.Store.Submission(ctx, s.ID)
		return wrong("the answer was not sent: state %s, %s (%v)", s.State, s.CauseText, err)
	}
	for _, m := range t.box.Exchange().Messages(directory.StoryAdele, "INBOX") {
		if strings.Contains(string(m.Raw), subject) {
			t.say("%s It is in Adele's inbox.", p.Data.Text)
			return nil
		}
	}
	return wrong("the answer is not in Adele's inbox")
}

func renewal(ctx context.Context, t *teller) error {
	m, err := t.app.Connect.Mailboxes.Get(ctx, directory.StoryDesk)
	if err != nil {
		return err
	}
	before, until, err := t.app.Broker.Lend(ctx, m.ID, provider.ResourceMail, time.Minute)
	if err != nil {
		return err
	}
	t.say("The access token is good until %s. Two hours pass.", until.Local().Format(time.TimeOnly))
	t.advance(2 * time.Hour)
	after, until, err := t.app.Broker.Lend(ctx, m.ID, provider.ResourceMail, time.Minute)
	if err != nil {
		return err
	}
	if after.Equal(before) || !until.After(t.now()) {
		return wrong("the access token was not renewed")
	}
	t.say("A new one is good until %s; nobody had to do anything.", until.Local().Format(time.TimeOnly))
	return nil
}

func survives(ctx context.Context, t *teller) error {
	before, err := t.grant(ctx)
	if err != nil {
		return err
	}
	if err := t.box.World().SetDeviceUser(directory.StoryAdele); err != nil {
		return err
	}
	err = t.follow(ctx, t.adele)
	if err := errors.Join(err, t.box.World().SetDeviceUser("")); err != nil {
		return err
	}
	if err := t.refused(ctx, t.adele); err != nil {
		return err
	}
	after, err := t.grant(ctx)
	if err != nil {
		return err
	}
	if after.State != mailbox.GrantActive || after.Subject.Key() != before.Subject.Key() {
		return wrong("the working grant was touched")
	}
	m, err := t.app.Connect.Mailboxes.Get(ctx, directory.StoryDesk)
	if err != nil {
		return err
	}
	if _, _, err := t.app.Broker.Lend(ctx, m.ID, provider.ResourceMail, time.Minute); err != nil {
		return wrong("the working grant lends no access token any more: %v", err)
	}
	t.say("The grant is still %s's, and still works.", directory.StoryDesk)
	return nil
}
