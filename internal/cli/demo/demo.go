package demo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// Run plays the demo until ctx ends, or, with Check, to the end of the story.
func Run(ctx context.Context, o Options) error {
	if o.Check {
		err := check(ctx, o)
		if err != nil && !errors.Is(err, errStory) {
			return fmt.Errorf("the story broke off: %w", err)
		}
		return failed(err)
	}
	s, err := set(ctx, o)
	if err != nil {
		return err
	}
	if err := s.invite(ctx, o.Out); err != nil {
		return errors.Join(err, s.strike())
	}
	err = s.report(ctx, o.Out)
	_, _ = fmt.Fprintln(o.Out, "\nClosing; nothing is left behind.")
	return errors.Join(err, s.strike())
}

// report tells what the webhook receives, until the end is asked for.
func (s *stage) report(ctx context.Context, out io.Writer) error {
	for told := 0; ; {
		for _, p := range s.desk.since(told) {
			told++
			_, _ = fmt.Fprintf(out, "webhook  %-26s %s\n", p.Type, p.Data.Text)
			if p.Type == event.AttemptGranted {
				if err := s.adeleWrites(printerOnFire); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.done:
			s.done <- nil
			return err
		case <-s.desk.more:
		}
	}
}

// failed gives a story that came out wrong its remedy.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		ID: "demo.story", Kind: fault.Refused, Text: "The story did not come out as it must.", Who: []fault.Who{fault.Operator},
		Remedy: "Read the step marked ✗ above: it says what was seen instead.", Err: err,
	}
}

// invite prints what to open and what to try.
func (s *stage) invite(ctx context.Context, out io.Writer) error {
	if err := s.saveProvider(ctx, provider.PromptOmit); err != nil {
		return err
	}
	trap, err := s.link(ctx)
	if err != nil {
		return err
	}
	setup, _, err := s.app.Access.IssueSetup(ctx, event.System())
	if err != nil {
		return fmt.Errorf("make a set-up link: %w", err)
	}
	_, err = fmt.Fprintf(out, `Mailgrant is running, with a made-up Microsoft 365 tenant beside it. Nothing leaves this machine.

The story: the mailbox %[1]s is to be connected. Your browser plays an
administrator's, in which Adele is signed in all day.

1. Become Adele. Open the made-up tenant and sign in:

     %[2]s
       name      %[3]s
       password  %[4]s

2. Spring the trap. In the same browser, open the service desk's authorization link:

     %[5]s

   This provider is set up as other products set theirs up: nothing asks who you are
   (prompt: omit). Single sign-on hands over Adele's tokens, and Mailgrant refuses them.

3. Do it right. On that page, choose to try again; use another account and sign in:

       name      %[6]s
       password  %[7]s

4. Look after it as an operator does (choose a name and a password for yourself):

     %[8]s/setup/%[9]s

   Open the mailbox, press “Test now”, read the timeline.

What the service desk's webhook receives is told below as it comes. Once the mailbox is
connected, Adele writes to it.

Everything lives in %[10]s and is removed when you press Ctrl-C.
“mailgrant demo --check” plays the whole story alone and tells it in words.

`, directory.StoryDesk, s.home(), directory.StoryAdele, directory.StoryAdelePassword, trap, directory.StoryDesk, directory.StoryDeskPassword,
		s.base, setup.Reveal(), s.dir)
	if err != nil {
		return fmt.Errorf("print the invitation: %w", err)
	}
	return nil
}
