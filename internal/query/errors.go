package query

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
)

var errTimeCap = errors.New("the query took longer than it may")

// SQLError is what DuckDB says about a statement. Message is DuckDB's text with the line at fault and a caret below it.
type SQLError struct {
	Message string
	Line    int // of the statement, from 1; 0 when DuckDB names no place
}

// Error gives DuckDB's text.
func (e *SQLError) Error() string { return e.Message }

// Summary gives the message without the excerpt of the statement.
func (e *SQLError) Summary() string {
	head, _, _ := strings.Cut(e.Message, "\n\nLINE ")
	return head
}

// Excerpt gives the line at fault and the caret below it, or "".
func (e *SQLError) Excerpt() string {
	_, tail, ok := strings.Cut(e.Message, "\n\nLINE ")
	if !ok {
		return ""
	}
	return "LINE " + tail
}

var linePattern = regexp.MustCompile(`(?m)^LINE (\d+):`)

func newSQLError(message string) *SQLError {
	e := &SQLError{Message: strings.TrimRight(message, " \n")}
	if m := linePattern.FindStringSubmatch(message); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits only; more than an int holds is no line
	}
	return e
}

func refused(why, remedy string) error {
	return &fault.Error{Code: "ACQ-QUERY-003", Err: errors.New(why), Remedy: remedy}
}

func cannotOpen(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fault.Code(err) != "" {
		return err
	}
	return &fault.Error{
		Code: "ACQ-QUERY-006", Err: fmt.Errorf("open the lake for SQL: %w", err),
		Remedy: "check that the lake and its table descriptions can be read",
	}
}

// explain turns a failure of a query into what its user should read.
func (e *Engine) explain(ctx context.Context, err error, timeout time.Duration) error {
	switch {
	case err == nil || fault.Code(err) != "":
		return err
	case errors.Is(context.Cause(ctx), errTimeCap):
		return &fault.Error{
			Code: "ACQ-QUERY-004", Err: fmt.Errorf("the query was stopped after %s", timeout),
			Remedy: "ask for less: name partitions (dt) in WHERE, or fewer columns",
		}
	case ctx.Err() != nil:
		return fmt.Errorf("run query: %w", ctx.Err())
	}
	message, outOfMemory, known := engineMessage(err)
	switch {
	case outOfMemory:
		return &fault.Error{
			Code: "ACQ-QUERY-005", Err: fmt.Errorf("the query needs more than the %d MiB of memory it may use: %w",
				e.cfg.Memory>>20, newSQLError(message)),
			Remedy: "ask for less, or group before you sort",
		}
	case known:
		return &fault.Error{Class: fault.Poison, Code: "ACQ-QUERY-002", Err: newSQLError(message)}
	}
	return fmt.Errorf("run query: %w", err)
}
