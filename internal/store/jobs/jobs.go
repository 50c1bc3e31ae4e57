// Package jobs keeps the jobs that wake durable work, in the store's own
// database (River on SQLite and PostgreSQL alike).
//
// A job commits with the change that makes it due and only says "look at this
// one": the tables of the store hold the truth, and whoever is woken claims the
// work under a lease. So a job may come twice or late without harm; the sweeps
// of outbox and webhook find what a lost one would have woken. What becomes due
// in this process starts at once, without waiting for River to fetch it.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Options say what jobs wake, and how much of it at once.
type Options struct {
	// Submission works on one submission, Delivery on the head of one webhook's
	// queue for one mailbox; it may hand that on and return. That there is nothing to
	// do is no error; one that is returned makes the job come again later, a few times.
	Submission func(ctx context.Context, id string) error
	Delivery   func(ctx context.Context, webhookID, mailboxID string) error
	// SubmissionsAtOnce and DeliveriesAtOnce bound what runs at the same time in
	// this process; 0: 16 each.
	SubmissionsAtOnce int
	DeliveriesAtOnce  int
	// Limit bounds one call; 0: ten minutes.
	Limit time.Duration
	// Drain bounds how long Run waits for calls under way when it is to end;
	// 0: 20 seconds. Then their contexts are cancelled.
	Drain time.Duration
	// Logger gets warnings and errors; nil: none.
	Logger *slog.Logger
}

const (
	usualAtOnce = 16
	usualLimit  = 10 * time.Minute
	usualDrain  = 20 * time.Second
	// A job whose process died is given to another when it has been running longer than any may.
	rescueMargin = time.Minute
	cooldown     = 20 * time.Millisecond
	poll         = time.Second
	finishedKept = time.Hour
	mostAttempts = 5
	mostWaiting  = 4096 // in line, of a kind
)

// Jobs keeps and works the jobs of one process.
type Jobs struct {
	options  Options
	client   *river.Client[*sql.Tx]
	listener *pgxpool.Pool // nil on SQLite
	slots    map[string]chan struct{}
	log      *slog.Logger

	mu      sync.Mutex
	running context.Context        //nolint:containedctx // what nudged calls run under; nil outside Run
	line    map[string][]store.Job // committed here, due, and waiting for a place; by kind
	taken   map[store.Job]int      // those, and those under way
	nudged  sync.WaitGroup
}

// New brings the tables of the jobs up to date and joins the store to them:
// from now on its changes enqueue. Work starts with Run.
func New(ctx context.Context, s *store.Store, o Options) (*Jobs, error) {
	j := &Jobs{options: withUsual(o)}
	j.line, j.taken = map[string][]store.Job{}, map[store.Job]int{}
	j.log = slog.New(slog.DiscardHandler)
	if o.Logger != nil {
		j.log = slog.New(loud{o.Logger.Handler()})
	}
	j.slots = map[string]chan struct{}{
		work.JobSubmission: make(chan struct{}, j.options.SubmissionsAtOnce),
		work.JobDelivery:   make(chan struct{}, j.options.DeliveriesAtOnce),
	}
	driver, err := j.driver(ctx, s)
	if err == nil {
		err = migrate(ctx, driver, j.log)
	}
	if err == nil {
		j.client, err = river.NewClient(driver, j.config())
	}
	if err != nil {
		j.closeListener()
		return nil, fmt.Errorf("open the job queue: %w", err)
	}
	s.UseEnqueuer(j)
	return j, nil
}

func withUsual(o Options) Options {
	if o.SubmissionsAtOnce <= 0 {
		o.SubmissionsAtOnce = usualAtOnce
	}
	if o.DeliveriesAtOnce <= 0 {
		o.DeliveriesAtOnce = usualAtOnce
	}
	if o.Limit <= 0 {
		o.Limit = usualLimit
	}
	if o.Drain <= 0 {
		o.Drain = usualDrain
	}
	return o
}

// driver chooses River's driver: both share the store's own connections; on
// PostgreSQL new jobs are also announced to every process.
func (j *Jobs) driver(ctx context.Context, s *store.Store) (riverdriver.Driver[*sql.Tx], error) {
	db, url := s.Database()
	if s.Dialect() == "sqlite" {
		return riversqlite.New(db), nil
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The library's own text may hold the password; the store has read this URL before.
		return nil, errors.New("the database URL cannot be understood")
	}
	config.MaxConns, config.MinConns = 2, 0
	if j.listener, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	return riverdatabasesql.NewWithPgxListener(db, j.listener), nil
}

// Close ends the connections that New opened, for a process that never comes to
// Run; Run closes them itself.
func (j *Jobs) Close() { j.closeListener() }

func (j *Jobs) closeListener() {
	if j.listener != nil {
		j.listener.Close()
	}
}

// migrate may meet another process that does the same: the loser looks again.
func migrate(ctx context.Context, driver riverdriver.Driver[*sql.Tx], log *slog.Logger) error {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return fmt.Errorf("prepare the tables of the jobs: %w", err)
	}
	for range 3 {
		if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("bring the tables of the jobs up to date: %w", err)
	}
	return nil
}

func (j *Jobs) config() *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, &submissionWorker{jobs: j})
	river.AddWorker(workers, &deliveryWorker{jobs: j})
	return &river.Config{
		Queues: map[string]river.QueueConfig{
			work.JobSubmission: {MaxWorkers: j.options.SubmissionsAtOnce},
			work.JobDelivery:   {MaxWorkers: j.options.DeliveriesAtOnce},
		},
		Workers: workers, Logger: j.log, MaxAttempts: mostAttempts, FetchCooldown: cooldown, FetchPollInterval: poll,
		JobTimeout: j.options.Limit, RescueStuckJobsAfter: j.options.Limit + rescueMargin, CompletedJobRetentionPeriod: finishedKept,
	}
}

// Run works jobs until ctx ends; it returns when what was under way is done, or
// has been cut off after Options.Drain.
func (j *Jobs) Run(ctx context.Context) error {
	defer j.closeListener()
	lasting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	if err := j.client.Start(lasting); err != nil {
		return fmt.Errorf("start working jobs: %w", err)
	}
	j.mu.Lock()
	j.running = lasting
	j.mu.Unlock()

	<-ctx.Done()

	j.mu.Lock()
	j.running = nil // no nudge starts any more; what is in line stays due
	j.line, j.taken = map[string][]store.Job{}, map[store.Job]int{}
	j.mu.Unlock()
	draining, stop := context.WithTimeout(context.WithoutCancel(ctx), j.options.Drain)
	defer stop()
	done := make(chan struct{})
	go func() {
		j.nudged.Wait()
		close(done)
	}()
	err := j.client.Stop(draining)
	select {
	case <-done:
	case <-draining.Done():
	}
	if err != nil {
		final, end := context.WithTimeout(context.WithoutCancel(ctx), j.options.Drain)
		defer end()
		err = j.client.StopAndCancel(final)
	}
	cut()
	<-done
	if err != nil {
		return fmt.Errorf("stop working jobs: %w", err)
	}
	return nil
}

// Enqueue implements store.Enqueuer.
func (j *Jobs) Enqueue(ctx context.Context, tx *sql.Tx, jobs []store.Job) error {
	params := make([]river.InsertManyParams, len(jobs))
	for i, job := range jobs {
		params[i].InsertOpts = &river.InsertOpts{Queue: job.Kind}
		if time.Until(job.At) > 0 {
			// River's elected leader looks every few seconds for those whose time has come, and
			// there is none for a while after it died: what is due must not wait for it.
			params[i].InsertOpts.ScheduledAt = job.At
		}
		switch job.Kind {
		case work.JobSubmission:
			params[i].Args = submissionArgs{ID: job.ID}
		case work.JobDelivery:
			params[i].Args = deliveryArgs{WebhookID: job.ID, MailboxID: job.MailboxID}
		default:
			return fmt.Errorf("no job is called %q", job.Kind)
		}
	}
	if _, err := j.client.InsertManyFastTx(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	return nil
}

// Committed implements store.Enqueuer: what is due starts as soon as there is a
// free place. What does not find room to wait is River's alone.
func (j *Jobs) Committed(jobs []store.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running == nil {
		return
	}
	for _, job := range jobs {
		if time.Until(job.At) > 0 || len(j.line[job.Kind]) >= mostWaiting {
			continue
		}
		job.At = time.Time{}
		j.taken[job]++
		j.line[job.Kind] = append(j.line[job.Kind], job)
		j.begin(job.Kind)
	}
}

// begin starts what waits in line while there are free places. j.mu is held.
func (j *Jobs) begin(kind string) {
	for len(j.line[kind]) > 0 && j.running != nil {
		select {
		case j.slots[kind] <- struct{}{}:
		default:
			return
		}
		job, ctx := j.line[kind][0], j.running
		j.line[kind] = j.line[kind][1:]
		j.nudged.Go(func() {
			defer j.free(job.Kind)
			defer j.finish(job)
			ctx, cancel := context.WithTimeout(ctx, j.options.Limit)
			defer cancel()
			if err := j.call(ctx, job); err != nil {
				j.log.WarnContext(ctx, "work that was due failed; it is found again when it is next looked for", "kind", job.Kind, "id", job.ID, "error", err)
			}
		})
	}
}

// finish forgets a job that was taken.
func (j *Jobs) finish(job store.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.taken[job]--; j.taken[job] <= 0 {
		delete(j.taken, job)
	}
}

// free gives a place back, for the next in line.
func (j *Jobs) free(kind string) {
	<-j.slots[kind]
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin(kind)
}

// isTaken says that this process does the job, or has it in line, since it was
// committed here. Should the process die, the sweeps find the work.
func (j *Jobs) isTaken(job store.Job) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.taken[job] > 0
}

func (j *Jobs) call(ctx context.Context, job store.Job) error {
	if job.Kind == work.JobSubmission {
		return j.options.Submission(ctx, job.ID)
	}
	return j.options.Delivery(ctx, job.ID, job.MailboxID)
}

// worked does what River fetched, in one of the places that nudged work shares.
func (j *Jobs) worked(ctx context.Context, job store.Job) error {
	if j.isTaken(job) {
		return nil
	}
	select {
	case j.slots[job.Kind] <- struct{}{}:
		defer j.free(job.Kind)
		return j.call(ctx, job)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loud lets only warnings and errors through: River tells of every start.
type loud struct{ slog.Handler }

// Enabled implements slog.Handler.
func (l loud) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && l.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (l loud) WithAttrs(attrs []slog.Attr) slog.Handler { return loud{l.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (l loud) WithGroup(name string) slog.Handler {
	return loud{l.Handler.WithGroup(name)}
}
