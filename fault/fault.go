// Package fault names the classes of failure that a pipeline acts on. Plugins classify, only routers act.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Class says what a router may do about an error.
type Class uint8

const (
	// Fatal stops the lane with its data unharmed; a person must act. What nobody classified is fatal.
	Fatal Class = iota
	// Retryable restarts the lane from its checkpoint, through recovery: timeout, throttle, reset, full disk.
	Retryable
	// Poison means that this record can never pass, however often it is tried.
	Poison
)

// String gives the class as logs and metrics write it.
func (c Class) String() string {
	switch c {
	case Retryable:
		return "retryable"
	case Poison:
		return "poison"
	case Fatal:
	}
	return "fatal"
}

// Error is a failure with its class and, where a user will read it, a stable code, the place and the remedy.
// Every field but Err may be empty.
type Error struct {
	Class  Class
	Code   string // stable, such as "ACQ-LAKE-002"
	Place  string // stream, key and column; or file:line:column. What begins with a stream concerns that stream alone: see Concerns
	Err    error  // the reason
	Remedy string // what to do, one sentence
}

// Error gives code, place, reason and remedy in one line.
func (e *Error) Error() string {
	var s strings.Builder
	for _, part := range []string{e.Code, e.Place} {
		if part != "" {
			s.WriteString(part)
			s.WriteString(": ")
		}
	}
	if e.Err != nil {
		s.WriteString(e.Err.Error())
	} else {
		s.WriteString(e.Class.String())
	}
	if e.Remedy != "" {
		s.WriteString(" (")
		s.WriteString(e.Remedy)
		s.WriteString(")")
	}
	return s.String()
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Retry marks an error as retryable; nil stays nil.
func Retry(err error) error { return classify(Retryable, err) }

// Poisoned marks an error as one that this record can never pass; nil stays nil.
func Poisoned(err error) error { return classify(Poison, err) }

// Stop marks an error as fatal, whatever it wraps; nil stays nil.
func Stop(err error) error { return classify(Fatal, err) }

func classify(c Class, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Class: c, Err: err}
}

// Of gives the class of an error: that of the outermost Error in its chain. Bad rows are poison; what nobody
// classified is fatal.
func Of(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	if _, ok := errors.AsType[*Rows](err); ok {
		return Poison
	}
	return Fatal
}

// Code gives the first stable code in the chain, or "".
func Code(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Code != "" {
			return e.Code
		}
		err = e.Err
	}
	return ""
}

// Concerns says whether an error concerns one stream alone, so that others can go on: its place, or that of what it wraps, is in the stream.
func Concerns(err error, stream string) bool {
	for {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return false
		}
		if e.Place == stream || strings.HasPrefix(e.Place, stream+", ") {
			return true
		}
		err = e.Err
	}
}

// Row is one record of a batch that can never pass.
type Row struct {
	Index  int    // in the batch that was given
	Column string // "" when the row as a whole is at fault
	Err    error
}

// Rows is the error of a Handle or Write that refused some rows: the batch has had no effect, and may be given
// again without them. Indexes ascend and are distinct.
type Rows struct{ Bad []Row }

// Error names the first row and counts the others.
func (r *Rows) Error() string {
	if len(r.Bad) == 0 {
		return "no bad rows"
	}
	first := r.Bad[0]
	at := fmt.Sprintf("row %d", first.Index)
	if first.Column != "" {
		at += ", column " + first.Column
	}
	if more := len(r.Bad) - 1; more > 0 {
		return fmt.Sprintf("%s: %v (and %d rows more)", at, first.Err, more)
	}
	return fmt.Sprintf("%s: %v", at, first.Err)
}

// Or gives the rows as an error, or nil when there are none.
func (r *Rows) Or() error {
	if r == nil || len(r.Bad) == 0 {
		return nil
	}
	return r
}
