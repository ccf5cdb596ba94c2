package cli

import (
	"context"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/postgres"
)

// target is a configuration file and, if it has several, one of its pipelines.
type target struct {
	File     string   `arg:"" optional:"" help:"Configuration file; default ./acequia.yaml, else what the environment implies."`
	Pipeline string   `arg:"" optional:"" help:"One of its pipelines; default: all."`
	Tables   []string `help:"Only these tables: patterns of SCHEMA.TABLE; ! before one leaves out." placeholder:"GLOB"`
}

// project reads the file; mistakes end the command.
func (f target) project(ctx context.Context, t terminal) (*app.Project, error) {
	var named files
	if f.File != "" {
		named.Paths = []string{f.File}
	}
	project, problems, err := named.load(ctx, t)
	if err != nil {
		return nil, err
	}
	if problems.Errors() {
		tell(t.err, problems)
		return nil, toldError{exitUsage}
	}
	return project, nil
}

// chosen says whether patterns choose a table or a stream, which without a schema is of public; none choose all.
func chosen(patterns []string, name string) (bool, error) {
	if len(patterns) == 0 {
		return true, nil
	}
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		schema, table = "public", name
	}
	in, err := postgres.Matches(patterns, schema, table)
	if err != nil {
		return false, &fault.Error{Code: "ACQ-USE-053", Place: "--tables", Err: err, Remedy: "write SCHEMA.TABLE, where * and ? stand for letters"}
	}
	return in, nil
}
