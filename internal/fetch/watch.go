package fetch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// outage is what a mailbox's failures have come to. It belongs to one watch at
// a time.
type outage struct {
	failures int
	since    time.Time
	told     string // the cause that was recorded; empty: nothing was
}

// outageOf goes on with what was recorded before, here or elsewhere.
func outageOf(o mailbox.Outage) *outage { return &outage{since: o.Since, told: o.Cause} }

// watch follows one mailbox.
type watch struct {
	*Fetch
	box    mailbox.Mailbox
	cancel context.CancelFunc
	done   chan struct{}
	kick   chan struct{}
	fence  atomic.Int64
	until  time.Time // of the lease; guarded by Fetch.mu
	outage *outage

	cursors map[string]message.Cursor
	owed    map[string][]uint32 // handed on, and after_receive not done yet; as the store has it
	refusal string              // of after_receive, told already
}

func (w *watch) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// wake ends a back-off.
func (w *watch) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// run opens sessions until ctx ends or the lease is another's.
func (w *watch) run(ctx context.Context) {
	w.cursors, w.owed = map[string]message.Cursor{}, map[string][]uint32{}
	for {
		pause, err := w.session(ctx)
		if ctx.Err() != nil || fault.Has(err, "work.fenced") {
			return
		}
		if err != nil {
			clear(w.cursors) // what is stored is the truth
			w.failed(ctx, err)
			pause = w.backoff(fault.Of(err))
			w.Logger.Info("receiving interrupted", "mailbox_id", w.box.ID, "cause", fault.Of(err).ID, "retry_in", pause, "err", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-w.kick:
			timer.Stop()
		}
	}
}

// failed counts a failure, and records an outage, and each new cause of it: a
// connection that a server ends now and then is none.
func (w *watch) failed(ctx context.Context, err error) {
	o := w.outage
	if o.failures++; o.since.IsZero() {
		o.since = w.Now()
	}
	f := fault.Of(err)
	lasting := f.Kind == fault.Refused || f.Kind == fault.Dead || f.Kind == fault.Invalid
	if o.told == f.ID || o.told == "" && o.failures < 3 && !(lasting && o.failures == 2) {
		return
	}
	e := event.New(w.Now(), event.FetchStopped, event.System(), fmt.Sprintf("Receiving for %s has stopped: %s", w.box.Address, f.Text)).
		About(w.box.ID, w.box.Address).Because(err)
	stopped := mailbox.Outage{Since: o.since, Cause: f.ID, Text: f.Text, Remedy: f.Remedy, Who: f.Who}
	if err := w.Store.StopReceiving(ctx, w.box.ID, w.fence.Load(), stopped, e); err != nil {
		w.Logger.Error("record that receiving stopped", "mailbox_id", w.box.ID, "err", err)
		return
	}
	o.told = f.ID
}

// well ends an outage.
func (w *watch) well(ctx context.Context) {
	o := w.outage
	if o.told != "" {
		e := event.New(w.Now(), event.FetchResumed, event.System(), fmt.Sprintf("Receiving for %s works again after %s.", w.box.Address, w.Now().Sub(o.since).Round(time.Second))).
			About(w.box.ID, w.box.Address)
		if err := w.Store.ResumeReceiving(ctx, w.box.ID, w.fence.Load(), e); err != nil {
			w.Logger.Error("record that receiving works again", "mailbox_id", w.box.ID, "err", err)
			return
		}
	}
	*o = outage{}
}

// backoff gives the wait after a failure: what the server asked, else longer
// each time, by what a retry can hope for.
func (w *watch) backoff(f *fault.Error) time.Duration {
	n := w.outage.failures
	var d time.Duration
	switch f.Kind {
	case fault.Limited:
		d = work.Backoff(n, 30*time.Second, 15*time.Minute)
	case fault.Refused, fault.Dead, fault.Invalid, fault.Forbidden, fault.NotFound:
		d = time.Second // once at once: the access token is renewed first
		if n > 1 {
			d = work.Backoff(n-1, 30*time.Second, 30*time.Minute)
		}
	default:
		d = work.Backoff(n, time.Second, 5*time.Minute)
	}
	d += rand.N(d/4 + 1)
	return max(d, f.RetryAfter)
}

// session opens a connection and follows the folders until something fails, or,
// where long pauses between polls are wished or the server shows a mailbox once for
// each connection, for one pass. It gives the pause
// before the next.
func (w *watch) session(ctx context.Context) (time.Duration, error) {
	var r protocol.Reading
	if err := apart(func() (err error) {
		r, err = w.open(ctx)
		return err
	}); err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	s := &pass{watch: w, reading: r}
	folders := w.box.Receive.Folders
	if len(folders) == 0 {
		folders = []string{"INBOX"}
	}
	for {
		for _, folder := range folders {
			if err := apart(func() error { return s.sync(ctx, folder) }); err != nil {
				return 0, err
			}
		}
		w.well(ctx)
		_, snapshot := r.(protocol.Snapshot)
		if w.box.Receive.Mode == mailbox.ModePoll || snapshot {
			every := max(w.box.Receive.Every, 10*time.Second)
			if every > w.Round || snapshot {
				return every, nil
			}
			if !w.sleep(ctx, every) {
				return 0, ctx.Err()
			}
			continue
		}
		if err := s.follow(ctx, folders[0]); err != nil {
			return 0, err
		}
	}
}

// apart runs f on a stack of its own, which ends with it. What signing in and
// storing take of a stack, a mailbox that is only watched would keep for good.
func apart(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return <-done
}

// sleep waits; false when ctx ended.
func (w *watch) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-w.kick:
	}
	return true
}

// follow waits at the first folder for one round, reading what arrives in it.
// When the round ends, every folder is looked at, whatever the server said.
func (s *pass) follow(ctx context.Context, folder string) error {
	end := time.Now().Add(s.Round)
	for left := s.Round; left > 0; left = time.Until(end) {
		if err := s.choose(ctx, folder); err != nil {
			return err
		}
		changed, err := s.reading.Wait(ctx, left)
		if err != nil {
			return err
		}
		if changed {
			if err := apart(func() error { return s.sync(ctx, folder) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// open borrows an access token and signs in, when its turn has come.
func (w *watch) open(ctx context.Context) (protocol.Reading, error) {
	select {
	case w.dials <- struct{}{}:
		defer func() { <-w.dials }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	kind, registration, err := w.Directory.Registration(ctx, w.box.Provider)
	if err != nil {
		return nil, err
	}
	at, _ := w.box.Endpoints(kind, registration.Record)
	if at == nil {
		return nil, unable(w.box.Address, "does not receive")
	}
	reader := w.Readers(at.Protocol)
	if reader == nil {
		return nil, unable(w.box.Address, "receives by a protocol that is not built in")
	}
	accessToken, _, err := w.Lender.Lend(ctx, w.box.ID, at.Resource, time.Minute)
	if err != nil {
		return nil, err
	}
	r, err := reader.OpenReader(ctx, *at, protocol.Login{User: w.box.UserAt(w.box.Receive.Server), AccessToken: accessToken})
	w.refused(ctx, at.Resource, accessToken, err)
	return r, err
}

// refused tells the broker of an access token that a server does not take.
func (w *watch) refused(ctx context.Context, resource string, accessToken seal.Secret, err error) {
	if err != nil && strings.HasSuffix(fault.Of(err).ID, ".auth_refused") {
		w.Lender.Refused(ctx, w.box.ID, resource, accessToken)
	}
}

func unable(address, what string) error {
	return &fault.Error{
		ID: "fetch.unable", Kind: fault.Invalid, Field: "receive", Text: fmt.Sprintf("The mailbox %s %s.", address, what),
		Who: []fault.Who{fault.Operator}, Remedy: "Correct receive in the mailbox's settings.",
	}
}
