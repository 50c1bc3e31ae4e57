package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/mailgrant/mailgrant/internal/work"
)

// Job says "look at this one"; see package work. For work.JobSubmission, ID
// names the submission; for work.JobDelivery, ID names the webhook and
// MailboxID the queue.
type Job struct {
	Kind      string
	ID        string
	MailboxID string
	At        time.Time // not before; zero: now
}

// Enqueuer keeps jobs; package jobs has the one there is.
type Enqueuer interface {
	// Enqueue stores jobs in the transaction of the change that makes them due.
	Enqueue(ctx context.Context, tx *sql.Tx, jobs []Job) error
	// Committed is told of jobs that became true just now, so that work can start at
	// once. It must not wait.
	Committed(jobs []Job)
}

// UseEnqueuer joins the store to what keeps its jobs. Without one no jobs are
// kept, and only the sweeps find what is due.
func (s *Store) UseEnqueuer(q Enqueuer) { s.queue.Store(&q) }

// Database is the connection pool that writes, for package jobs, with the URL
// it was opened by.
func (s *Store) Database() (db *sql.DB, url string) { return s.write, s.url }

func (t *tx) wakeSubmission(id string, when time.Time) {
	t.jobs = append(t.jobs, Job{Kind: work.JobSubmission, ID: id, At: when})
}

func (t *tx) wakeQueue(webhookID, mailboxID string, when time.Time) {
	t.jobs = append(t.jobs, Job{Kind: work.JobDelivery, ID: webhookID, MailboxID: mailboxID, At: when})
}

func (t *tx) enqueue() error {
	q := t.s.queue.Load()
	if q == nil || len(t.jobs) == 0 {
		return nil
	}
	return (*q).Enqueue(t.ctx, t.Tx, t.jobs)
}

func (t *tx) announce() {
	if q := t.s.queue.Load(); q != nil && len(t.jobs) > 0 {
		(*q).Committed(t.jobs)
	}
}
