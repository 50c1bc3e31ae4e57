package crash_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/jobs"
)

// seamedJobs stops between a commit and what it wakes. The queue of jobs knows
// the real clock only, so that times of a process that is ahead are set back.
type seamedJobs struct {
	*jobs.Jobs
	g *ground
}

// jobs opens the queue of jobs of a process.
func (g *ground) jobs(t *testing.T, o jobs.Options) (*jobs.Jobs, error) {
	o.Logger = g.log
	j, err := jobs.New(t.Context(), g.store, o)
	if err == nil {
		g.store.UseEnqueuer(seamedJobs{j, g})
	}
	return j, err
}

func (j seamedJobs) Enqueue(ctx context.Context, tx *sql.Tx, due []store.Job) error {
	return j.Jobs.Enqueue(ctx, tx, j.real(due))
}

func (j seamedJobs) Committed(due []store.Job) {
	j.g.stop(beforeJob)
	j.Jobs.Committed(j.real(due))
}

func (j seamedJobs) real(due []store.Job) []store.Job {
	due = slices.Clone(due)
	for i := range due {
		due[i].At = due[i].At.Add(-j.g.Ahead)
	}
	return due
}
