package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/acequia-io/acequia/fault"
)

// Explain classifies an error of the server or of the connection: class, code ACQ-PG-0xx, place and remedy. doing is what was
// tried, such as "read rows"; place is the table or host. A context's error and what is explained already stay as they are.
func Explain(err error, doing, place string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, done := errors.AsType[*fault.Error](err); done {
		return err
	}
	err = fmt.Errorf("%s: %w", doing, err)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code[:2] != "08" && pg.Code[:2] != "57" {
		return &fault.Error{Class: fault.Fatal, Code: "ACQ-PG-001", Place: place, Err: err}
	}
	return &fault.Error{Class: fault.Retryable, Code: "ACQ-PG-002", Place: place, Err: err}
}
