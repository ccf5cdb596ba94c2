//go:build !cgo

package query

import (
	"context"
	"database/sql"
	"errors"

	"github.com/acequia-io/acequia/fault"
)

// database is never open in a build without cgo.
type database struct{ pool *sql.DB }

func (*database) close() error { return nil }

// built says whether this build has SQL: nil, or an error that says how to get it.
func built() error { return errNoSQL() }

func errNoSQL() error {
	return &fault.Error{
		Code: "ACQ-QUERY-001", Err: errors.New("this build has no SQL engine: DuckDB needs cgo"),
		Remedy: "build with CGO_ENABLED=1 and a C compiler, or point any engine that reads Parquet at the lake",
	}
}

func open(context.Context, *Config) (*database, error) { return nil, errNoSQL() }

func prepare(*sql.Conn, string) ([]Column, error) { return nil, errNoSQL() }

func engineMessage(error) (message string, outOfMemory, known bool) { return "", false, false }

func broken(error) bool { return false }
