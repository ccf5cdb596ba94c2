// Package lambda runs a pipeline that reads a queue of SQS inside of AWS Lambda: each invocation is a run of its own over the messages
// that it was given, which ends when they are durable in every sink. What has failed is told message by message.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/sources/sqs"
)

// Handler handles invocations.
type Handler struct {
	Files   []string // of configuration
	Plugins catalog.Catalog
	Lookup  func(name string) (string, bool) // of the environment
	Folder  string                           // where an invocation may keep its state until it ends; "": the system's
	Log     *slog.Logger
}

// stopMargin is the time that is kept of an invocation to stop in order, and to tell what has failed.
const stopMargin = 5 * time.Second

// Handle gives the messages that have failed. An error, of which Lambda takes all of them for failed, is of the configuration alone.
// The event source mapping must have ReportBatchItemFailures: without it Lambda deletes all messages whatever is answered.
func (h *Handler) Handle(ctx context.Context, event events.SQSEvent) (_ events.SQSEventResponse, err error) {
	b := newBatch(event)
	if len(event.Records) == 0 {
		return events.SQSEventResponse{BatchItemFailures: b.failures()}, nil
	}
	folder, err := os.MkdirTemp(h.Folder, "acequia-")
	if err != nil {
		return events.SQSEventResponse{}, fmt.Errorf("make a folder for the state: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(folder); e != nil {
			h.Log.WarnContext(ctx, "the state of the invocation is left", slog.Any("error", e))
		}
	}()
	project, err := h.project(ctx, b, messaging.QueueName(event.Records[0].EventSourceARN))
	if err != nil {
		return events.SQSEventResponse{}, err
	}
	project.State, project.Shared = folder, app.SharedState{} // it goes with the invocation
	if err := h.run(ctx, project, b); err != nil {
		h.Log.ErrorContext(ctx, "the pipeline failed", slog.Any("error", err), slog.String("code", fault.Code(err)))
	}
	failed := b.failures()
	h.Log.InfoContext(ctx, "batch handled", slog.Int("messages", len(event.Records)), slog.Int("failed", len(failed)))
	return events.SQSEventResponse{BatchItemFailures: failed}, nil
}

// project reads the configuration, and takes of it the pipeline that reads the queue, or the only one that reads any.
func (h *Handler) project(ctx context.Context, b *batch, queue string) (*app.Project, error) {
	over := sqs.PluginOver(b)
	plugins := h.Plugins
	plugins.Sources = slices.Clone(plugins.Sources)
	for i, p := range plugins.Sources {
		if p.Type == over.Type {
			plugins.Sources[i] = over
		}
	}
	project, problems, err := app.LoadProject(ctx, plugins, h.Files, h.Lookup)
	if err == nil && problems.Errors() {
		err = problems
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var readers, named []string
	for _, d := range project.Pipelines {
		c, ok := d.Source.Settings.(*sqs.Config)
		if !ok {
			continue
		}
		readers = append(readers, d.Name)
		if messaging.QueueName(c.Queue) == queue {
			named = append(named, d.Name)
		}
	}
	if len(named) == 0 {
		named = readers
	}
	if len(named) != 1 {
		return nil, &fault.Error{Code: "ACQ-LAM-001", Place: queue, Err: fmt.Errorf("%d pipelines read the queue", len(named)), Remedy: "have one pipeline from a source of type sqs with this queue"}
	}
	return project.Only(named[0])
}

// run runs the pipeline until all is durable, or for as long as there is.
func (h *Handler) run(ctx context.Context, project *app.Project, b *batch) (err error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if end, has := ctx.Deadline(); has {
		limited, cancel = context.WithDeadline(ctx, end.Add(-stopMargin))
	}
	defer cancel()
	service, err := project.Open(ctx, app.ServiceOptions{Log: h.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	err = service.Run(limited, 0)
	return errors.Join(err, service.EachLetter(context.WithoutCancel(ctx), func(d *checkpoint.DeadLetter) error {
		h.Log.WarnContext(ctx, "a record cannot pass: its message goes back to the queue", slog.String("event", d.EventID), slog.String("code", d.Code), slog.String("reason", d.Reason))
		b.refuse(d.EventID)
		return nil
	}))
}
