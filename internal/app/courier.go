package app

import (
	"context"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
)

// courier sends a test's message through the outbox, by the way that every
// message takes, and waits for it.
type courier struct{ app *App }

const courierLook = 200 * time.Millisecond

// SendTest sends one message and gives the server's reply.
func (c courier) SendTest(ctx context.Context, mailboxAddress, to string) (string, error) {
	s, _, err := c.app.Outbox.Submit(ctx, outbox.Request{
		Actor: event.System(), Caller: "test", Mailbox: mailboxAddress,
		Draft: &message.Draft{
			To: []message.Party{{Address: to}}, Subject: "Test message from " + mailboxAddress,
			Text: fmt.Sprintf("This message was sent by a test of the mailbox %s in Mailgrant. Nothing needs to be done.\n", mailboxAddress),
		},
	})
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(courierLook)
	defer tick.Stop()
	for {
		if s, err = c.app.Store.Submission(ctx, s.ID); err != nil {
			return "", err
		}
		switch s.State {
		case outbox.Sent:
			return s.Reply, nil
		case outbox.Failed, outbox.Expired:
			return "", &fault.Error{ID: s.Cause, Kind: fault.Refused, Text: s.CauseText, Remedy: s.Remedy, Detail: fault.Detail{Reply: s.Reply}, Who: []fault.Who{fault.Operator}}
		}
		select {
		case <-ctx.Done():
			text := "The test message was accepted and waits to be sent."
			if s.CauseText != "" {
				text += " " + s.CauseText
			}
			return "", &fault.Error{ID: "test.not_sent_yet", Kind: fault.Temporary, Text: text, Remedy: s.Remedy, Retry: true, Who: []fault.Who{fault.Nobody}, Err: ctx.Err()}
		case <-tick.C:
		}
	}
}
