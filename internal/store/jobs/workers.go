package jobs

import (
	"context"

	"github.com/riverqueue/river"

	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/work"
)

type submissionArgs struct {
	ID string `json:"id"`
}

// Kind implements river.JobArgs.
func (submissionArgs) Kind() string { return work.JobSubmission }

type submissionWorker struct {
	river.WorkerDefaults[submissionArgs]
	jobs *Jobs
}

// Work implements river.Worker.
func (w *submissionWorker) Work(ctx context.Context, job *river.Job[submissionArgs]) error {
	return w.jobs.worked(ctx, store.Job{Kind: work.JobSubmission, ID: job.Args.ID})
}

type deliveryArgs struct {
	WebhookID string `json:"webhook_id"`
	MailboxID string `json:"mailbox_id"`
}

// Kind implements river.JobArgs.
func (deliveryArgs) Kind() string { return work.JobDelivery }

type deliveryWorker struct {
	river.WorkerDefaults[deliveryArgs]
	jobs *Jobs
}

// Work implements river.Worker.
func (w *deliveryWorker) Work(ctx context.Context, job *river.Job[deliveryArgs]) error {
	return w.jobs.worked(ctx, store.Job{Kind: work.JobDelivery, ID: job.Args.WebhookID, MailboxID: job.Args.MailboxID})
}
