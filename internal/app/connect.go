package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Endpoint is a place that a project needs, and how it was found.
type Endpoint struct {
	Kind   string `json:"kind"` // state, web, source or sink
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`
	OK     bool   `json:"ok"`
	Found  string `json:"found,omitempty"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// reacher is the configuration of a sink that needs the schemas of its records to look whether they can be written.
type reacher interface {
	Reach(ctx context.Context, in []*record.Schema) (found string, err error)
}

// feeding are the schemas of the records that reach a sink, as far as they are known.
func (p *Project) feeding(part *SinkPart) []*record.Schema {
	var all []*record.Schema
	for _, d := range p.Pipelines {
		if slices.Contains(d.Sinks, part) {
			all = append(all, d.Out...)
		}
	}
	return distinct(all)
}

// connectTime bounds the look at one endpoint.
const connectTime = 10 * time.Second

// Connect looks whether everything is there that the pipelines of a project need: the state, the port of its forms, each
// source and each sink. It leaves nothing behind.
func (p *Project) Connect(ctx context.Context, listen string, port int) []Endpoint {
	var out []Endpoint
	look := func(e Endpoint, do func(ctx context.Context) (string, error)) error {
		ctx, cancel := context.WithTimeout(ctx, connectTime)
		defer cancel()
		var err error
		e.Found, err = do(ctx)
		out = append(out, e.because(err))
		return err
	}
	unusable := look(Endpoint{Kind: "state", Name: p.State}, p.checkState)
	items := func(file string) func(ctx context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			if unusable != nil {
				return "", &fault.Error{Code: fault.Code(unusable), Place: "items.db", Err: errors.New("not looked at, because the state cannot be used")}
			}
			return checkItems(ctx, file)
		}
	}
	if slices.ContainsFunc(p.Pipelines, func(d *Declared) bool { return d.Source.Plugin.Type == formType }) {
		_ = look(Endpoint{Kind: "web", Name: net.JoinHostPort(listen, strconv.Itoa(port))}, func(ctx context.Context) (string, error) {
			listener, err := listenOn(ctx, listen, port)
			if err != nil {
				return "", err
			}
			return "the port is free", listener.Close()
		})
	}
	seen := map[any]bool{}
	for _, d := range p.Pipelines {
		if part := d.Source; !seen[part] {
			seen[part] = true
			do := func(ctx context.Context) (string, error) { return part.check(ctx, d.Name) }
			if file := p.itemsRead(d); part.Plugin.Items && strings.HasPrefix(file, dynamoPlace) {
				do = func(context.Context) (string, error) { return "its items are those of its sink", nil }
			} else if part.Plugin.Items {
				do = items(file)
			}
			_ = look(Endpoint{Kind: "source", Name: part.Name, Type: part.Plugin.Type}, do)
		}
		for _, part := range d.Sinks {
			if seen[part] {
				continue
			}
			seen[part] = true
			do := part.check
			if part.embedsItems() {
				do = items(p.itemsFile(part))
			} else if r, ok := part.Settings.(reacher); ok {
				do = func(ctx context.Context) (string, error) { return r.Reach(ctx, p.feeding(part)) }
			}
			_ = look(Endpoint{Kind: "sink", Name: part.Name, Type: part.Plugin.Type}, do)
		}
	}
	for _, k := range p.keptInS3() {
		_ = look(Endpoint{Kind: k.kind, Name: k.at}, func(ctx context.Context) (string, error) { return k.check(ctx, k.at, k.s3) })
	}
	return out
}

// because adds what went wrong.
func (e Endpoint) because(err error) Endpoint {
	if e.OK = err == nil; e.OK {
		return e
	}
	e.Reason = err.Error()
	for f, ok := errors.AsType[*fault.Error](err); ok; f, ok = errors.AsType[*fault.Error](f.Err) {
		if f.Code != "" {
			e.Code, e.Remedy, e.Reason = f.Code, f.Remedy, fmt.Sprintf("%s: %v", f.Place, f.Err)
			break
		}
	}
	return e
}

// checkState looks whether the state is nobody else's, whole, and can be written.
func (p *Project) checkState(ctx context.Context) (string, error) {
	there, free, err := blob.Probe(p.State)
	if err != nil {
		return "", dirError(p.State, err)
	}
	space := blob.SpaceText(free)
	d := Dir{Path: p.State}
	if _, err := os.Stat(d.file("lock")); there && err == nil { // else nobody has ever held it
		held, err := OpenDir(p.State)
		if err != nil {
			return "", err
		}
		if err := held.Close(); err != nil {
			return "", err
		}
	}
	store, err := p.StatePlace().OpenToRead(ctx)
	if errors.Is(err, checkpoint.ErrNoState) {
		return "will be made, " + space, nil
	}
	if fault.Code(err) == "ACQ-STATE-008" {
		return "is of an older version, and will be upgraded; " + space, nil
	}
	if err != nil {
		return "", err
	}
	switch {
	case p.Shared.DSN != "":
		return "its database answers, " + space, store.Close()
	case p.Shared.Table != "":
		return "its table in DynamoDB answers, " + space, store.Close()
	}
	return "is whole, " + space, store.Close()
}

// checkItems looks whether the item store can be opened and written. Nobody else holds the state.
func checkItems(ctx context.Context, path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // our own directory
	if errors.Is(err, fs.ErrNotExist) {
		return path + " will be made", nil
	}
	if err != nil {
		return "", dirError(path, err)
	}
	if err := f.Close(); err != nil {
		return "", dirError(path, err)
	}
	store, err := itemstore.Open(ctx, path, itemstore.Options{})
	if err != nil {
		return "", err
	}
	return path + " can be written", store.Close()
}

func (s *SourcePart) check(ctx context.Context, pipeline string) (found string, err error) {
	source, err := s.Plugin.New(ctx, s.Settings, sources.Host{Pipeline: pipeline, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	if c, ok := source.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	checker, ok := source.(sources.Checker)
	if !ok {
		return "there is nothing to test before it runs", nil
	}
	return "can be read", checker.Check(ctx)
}

func (s *SinkPart) check(ctx context.Context) (string, error) {
	checker, ok := s.Settings.(sinks.Checker)
	if !ok {
		return "there is nothing to test before it runs", nil
	}
	return checker.Check(ctx)
}
