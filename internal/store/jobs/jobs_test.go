package jobs_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/jobs"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

const patience = 90 * time.Second

func databases(t *testing.T, test func(t *testing.T, open func() *store.Store)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		path := t.TempDir() + "/mailgrant.db"
		test(t, func() *store.Store { return storetest.OpenAt(t, path) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("PostgreSQL is left out of short runs")
		}
		url := testbed.StartPostgres(t).NewDatabase(t)
		test(t, func() *store.Store { return storetest.OpenAt(t, url) })
	})
}

func submission() outbox.Submission {
	now := time.Now()
	return outbox.Submission{
		ID: event.NewID(), MailboxID: "m", Mailbox: "desk@example.org", Caller: "key", Envelope: message.Envelope{ForwardPaths: []string{"a@example.org"}},
		State: outbox.Queued, NextAttemptAt: now, ExpiresAt: now.Add(time.Hour), CreatedAt: now,
	}
}

func accept(t *testing.T, s *store.Store, v outbox.Submission) {
	t.Helper()
	e := event.New(time.Now(), event.SubmissionAccepted, event.System(), "Accepted.").About(v.MailboxID, v.Mailbox)
	if _, _, err := s.Accept(t.Context(), v, []byte("raw"), e); err != nil {
		t.Fatal(err)
	}
}

// run works jobs until the returned function is called, which says how it ended.
func run(t *testing.T, j *jobs.Jobs) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	return func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	}
}

// woken remembers who was woken; arrivals come in any order, some twice.
type woken struct {
	came chan string
	seen map[string]bool
}

func newWoken() *woken { return &woken{came: make(chan string, 1000), seen: map[string]bool{}} }

func (w *woken) submission(_ context.Context, id string) error {
	w.came <- id
	return nil
}

func (w *woken) delivery(_ context.Context, webhookID, mailboxID string) error {
	w.came <- webhookID + "/" + mailboxID
	return nil
}

// wait waits until this one was woken.
func (w *woken) wait(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(patience)
	for !w.seen[want] {
		select {
		case got := <-w.came:
			w.seen[got] = true
		case <-deadline:
			t.Fatalf("%s was never woken", want)
		}
	}
}

func TestJobs_Wake(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		w := newWoken()
		options := jobs.Options{Submission: w.submission, Delivery: w.delivery}
		j, err := jobs.New(t.Context(), s, options)
		if err != nil {
			t.Fatal(err)
		}
		hook := webhook.Webhook{ID: event.NewID(), Name: "desk", URL: "https://desk.example", Events: []event.Pattern{"submission.*"}, Version: 1}
		if err := s.SaveWebhook(t.Context(), webhook.Saving{Webhook: hook}); err != nil {
			t.Fatal(err)
		}
		early := submission()
		accept(t, s, early) // before anybody works: kept by the database

		stop := run(t, j)
		w.wait(t, early.ID)
		w.wait(t, hook.ID+"/m")
		late := submission()
		accept(t, s, late)
		w.wait(t, late.ID)
		soon := submission()
		soon.NextAttemptAt = time.Now().Add(100 * time.Millisecond)
		accept(t, s, soon)
		w.wait(t, soon.ID)
		stop()

		after := submission()
		accept(t, s, after)
		again, err := jobs.New(t.Context(), open(), options)
		if err != nil {
			t.Fatal(err)
		}
		stop = run(t, again)
		w.wait(t, after.ID)
		stop()
	})
}

// A job of River that is scheduled waits for the process that was elected to look
// for those; after that one was killed, nobody looks for a while.
func TestJobs_WhatIsDueIsThereToTake(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		w := newWoken()
		if _, err := jobs.New(t.Context(), s, jobs.Options{Submission: w.submission, Delivery: w.delivery}); err != nil {
			t.Fatal(err)
		}
		accept(t, s, submission())
		later := submission()
		later.NextAttemptAt = time.Now().Add(time.Hour)
		accept(t, s, later)
		db, _ := s.Database()
		var now, then string
		if err := db.QueryRowContext(t.Context(), "SELECT MIN(CAST(state AS TEXT)), MAX(CAST(state AS TEXT)) FROM river_job").Scan(&now, &then); err != nil {
			t.Fatal(err)
		}
		if now != "available" || then != "scheduled" {
			t.Errorf("a job that is due is %s, one for later is %s", now, then)
		}
	})
}

func TestJobs_RefusedChangeLeavesNone(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		w := newWoken()
		j, err := jobs.New(t.Context(), s, jobs.Options{Submission: w.submission, Delivery: w.delivery})
		if err != nil {
			t.Fatal(err)
		}
		// The transaction fails after everything else in it was done: SQLite refuses an ID that is taken, PostgreSQL a NUL.
		taken := event.New(time.Now(), event.MailboxTested, event.System(), "Tested.")
		if err := s.WriteEvent(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
		taken.Cause = "\x00"
		refused := submission()
		if _, _, err := s.Accept(t.Context(), refused, nil, taken); err == nil {
			t.Fatal("an event that cannot be stored was written")
		}
		marker := submission()
		accept(t, s, marker)
		stop := run(t, j)
		w.wait(t, marker.ID)
		stop()
		close(w.came)
		for id := range w.came {
			w.seen[id] = true
		}
		if w.seen[refused.ID] {
			t.Error("a change that never became true left a job")
		}
	})
}

func TestJobs_RunDrains(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		// The nudge and the job may both come: the second finds the work done.
		var once sync.Once
		started, release, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		j, err := jobs.New(t.Context(), s, jobs.Options{
			SubmissionsAtOnce: 1,
			Submission: func(ctx context.Context, _ string) error {
				once.Do(func() {
					close(started)
					<-release
					finished <- ctx.Err()
				})
				return nil
			},
			Delivery: func(context.Context, string, string) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- j.Run(ctx) }()
		accept(t, s, submission())
		<-started
		cancel()
		select {
		case <-ended:
			t.Fatal("Run returned while work was under way")
		default:
		}
		close(release)
		if err := <-finished; errors.Is(err, context.Canceled) {
			t.Error("work under way was cut off instead of finished")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
