package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// A process that is stopped over its lease, with a machine that sleeps or a
// debugger, wakes in the middle of an attempt that another has taken over. Every
// write of its own is refused by the fence. What the fence cannot reach is the
// mail server: so no more of the message goes out once the lease is over, and
// the little that is left, a message that went out whole and is accepted late,
// is written down as Late.

// errLeaseOver says that the attempt is not ours any more.
var errLeaseOver = errors.New("the lease of the attempt is over")

// Late is the acceptance of a message in an attempt that another has taken over.
type Late struct {
	ID    string
	Fence int64 // of that attempt
	Event event.Event
}

// entering records, before the first byte of the message goes out, that it
// does, and gives no more of it once the lease is over: without its end, a
// server keeps nothing.
type entering struct {
	io.Reader
	enter func() error
	now   func() time.Time
	until time.Time
}

func (e *entering) Read(p []byte) (int, error) {
	if e.enter != nil {
		if err := e.enter(); err != nil {
			return 0, err
		}
		e.enter = nil
	}
	n, err := e.Reader.Read(p)
	if !e.now().Before(e.until) {
		return 0, errLeaseOver
	}
	return n, err
}

// late records that the server took the message although another has this
// submission now.
func (a *attempt) late(ctx context.Context) error {
	e := event.New(a.Now(), event.SubmissionDoubled, event.System(), fmt.Sprintf(
		"The mail server took a message to %s in an attempt that was held for dead and had been taken over, so the recipient may have it twice.", recipients(a.s.Envelope))).
		About(a.s.MailboxID, a.s.Mailbox).With("submission_id", a.s.ID)
	return a.record(ctx, func(ctx context.Context) error {
		return a.Store.TakenLate(ctx, Late{ID: a.s.ID, Fence: a.s.Lease.Fence, Event: e})
	})
}
