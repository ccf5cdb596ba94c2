//go:build cgo

package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// database is an open DuckDB.
type database struct {
	pool    *sql.DB
	scratch string // removed at the end; "" when it belongs to somebody else
}

// built says whether this build has SQL: nil, or an error that says how to get it.
func built() error { return nil }

// open makes an in-memory database that can read the lake, write its scratch folder and do nothing else.
func open(ctx context.Context, cfg *Config) (*database, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	base := &database{pool: sql.OpenDB(connector)}
	scratch := cfg.Scratch
	if scratch == "" {
		if scratch, err = os.MkdirTemp("", "acequia-sql-"); err != nil {
			return nil, errors.Join(fmt.Errorf("make scratch folder: %w", err), base.close())
		}
		base.scratch = scratch
	}
	folders := []string{quote(cfg.Lake + string(filepath.Separator))}
	for _, also := range cfg.Also {
		folders = append(folders, quote(also+string(filepath.Separator)))
	}
	// In this order: DuckDB lets external access be taken away, never given back, and nothing be set after the lock.
	settings := []string{
		"SET TimeZone = 'UTC'",
		fmt.Sprintf("SET threads = %d", cfg.Threads),
		fmt.Sprintf("SET memory_limit = '%dB'", cfg.Memory),
		"SET temp_directory = " + quote(scratch),
		fmt.Sprintf("SET max_temp_directory_size = '%dB'", cfg.Spill),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allow_community_extensions = false",
		"SET allow_persistent_secrets = false",
		"SET enable_progress_bar = false",
		"SET allowed_directories = [" + strings.Join(folders, ", ") + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
	for _, s := range settings {
		if _, err := base.pool.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(fmt.Errorf("configure DuckDB (%s): %w", s, err), base.close())
		}
	}
	return base, nil
}

func (b *database) close() error {
	err := b.pool.Close()
	if b.scratch != "" {
		err = errors.Join(err, os.RemoveAll(b.scratch))
	}
	if err != nil {
		return fmt.Errorf("close DuckDB: %w", err)
	}
	return nil
}

// prepare binds a statement without running it and gives its columns. The driver's Prepare takes exactly one
// statement; its PrepareContext would run all but the last of several.
func prepare(conn *sql.Conn, text string) ([]Column, error) {
	var columns []Column
	err := conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*duckdb.Conn)
		if !ok {
			return fmt.Errorf("unexpected driver connection %T", driverConn)
		}
		prepared, err := c.Prepare(text)
		if err != nil {
			return err
		}
		stmt, ok := prepared.(*duckdb.Stmt)
		if !ok {
			return errors.Join(fmt.Errorf("unexpected statement %T", prepared), prepared.Close())
		}
		if n := stmt.NumInput(); n > 0 {
			return errors.Join(refused("the statement has parameters", "write the values into it"), stmt.Close())
		}
		columns, err = columnsOf(stmt)
		return errors.Join(err, stmt.Close())
	})
	return columns, err
}

func columnsOf(stmt *duckdb.Stmt) ([]Column, error) {
	n, err := stmt.ColumnCount()
	if err != nil {
		return nil, fmt.Errorf("count columns: %w", err)
	}
	columns := make([]Column, n)
	for i := range columns {
		name, err := stmt.ColumnName(i)
		if err != nil {
			return nil, fmt.Errorf("name column %d: %w", i, err)
		}
		info, err := stmt.ColumnTypeInfo(i)
		if err != nil {
			return nil, fmt.Errorf("type of column %s: %w", name, err)
		}
		typeName := typeText(info)
		columns[i] = Column{Name: name, Type: typeName, Kind: kindOf(typeName)}
	}
	return columns, nil
}

// typeText writes a type as SQL does.
func typeText(info duckdb.TypeInfo) string {
	switch d := info.Details().(type) {
	case *duckdb.DecimalDetails:
		return fmt.Sprintf("DECIMAL(%d,%d)", d.Width, d.Scale)
	case *duckdb.ListDetails:
		return typeText(d.Child) + "[]"
	case *duckdb.ArrayDetails:
		return fmt.Sprintf("%s[%d]", typeText(d.Child), d.Size)
	case *duckdb.MapDetails:
		return "MAP(" + typeText(d.Key) + ", " + typeText(d.Value) + ")"
	case *duckdb.StructDetails:
		fields := make([]string, len(d.Entries))
		for i, f := range d.Entries {
			fields[i] = f.Name() + " " + typeText(f.Info())
		}
		return "STRUCT(" + strings.Join(fields, ", ") + ")"
	}
	return typeNames[info.InternalType()]
}

// typeNames are the types without details, as SQL spells them.
//
//nolint:gochecknoglobals // a constant table
var typeNames = map[duckdb.Type]string{
	duckdb.TYPE_BOOLEAN: "BOOLEAN", duckdb.TYPE_TINYINT: "TINYINT", duckdb.TYPE_SMALLINT: "SMALLINT",
	duckdb.TYPE_INTEGER: "INTEGER", duckdb.TYPE_BIGINT: "BIGINT", duckdb.TYPE_HUGEINT: "HUGEINT",
	duckdb.TYPE_UTINYINT: "UTINYINT", duckdb.TYPE_USMALLINT: "USMALLINT", duckdb.TYPE_UINTEGER: "UINTEGER",
	duckdb.TYPE_UBIGINT: "UBIGINT", duckdb.TYPE_UHUGEINT: "UHUGEINT", duckdb.TYPE_FLOAT: "FLOAT",
	duckdb.TYPE_DOUBLE: "DOUBLE", duckdb.TYPE_VARCHAR: "VARCHAR", duckdb.TYPE_BLOB: "BLOB", duckdb.TYPE_BIT: "BIT",
	duckdb.TYPE_DATE: "DATE", duckdb.TYPE_TIME: "TIME", duckdb.TYPE_TIME_TZ: "TIME WITH TIME ZONE",
	duckdb.TYPE_TIMESTAMP: "TIMESTAMP", duckdb.TYPE_TIMESTAMP_S: "TIMESTAMP_S", duckdb.TYPE_TIMESTAMP_MS: "TIMESTAMP_MS",
	duckdb.TYPE_TIMESTAMP_NS: "TIMESTAMP_NS", duckdb.TYPE_TIMESTAMP_TZ: "TIMESTAMP WITH TIME ZONE",
	duckdb.TYPE_INTERVAL: "INTERVAL", duckdb.TYPE_UUID: "UUID", duckdb.TYPE_ENUM: "ENUM", duckdb.TYPE_UNION: "UNION",
	duckdb.TYPE_BIGNUM: "BIGNUM", duckdb.TYPE_SQLNULL: "NULL", duckdb.TYPE_GEOMETRY: "GEOMETRY",
}

// engineMessage gives DuckDB's own text of an error, and whether it ran out of memory.
func engineMessage(err error) (message string, outOfMemory, known bool) {
	found, ok := errors.AsType[*duckdb.Error](err)
	if !ok {
		return "", false, false
	}
	return found.Msg, found.Type == duckdb.ErrorTypeOutOfMemory, true
}

// broken says that DuckDB has failed inside and takes no more queries.
func broken(err error) bool {
	found, ok := errors.AsType[*duckdb.Error](err)
	return ok && (found.Type == duckdb.ErrorTypeFatal || found.Type == duckdb.ErrorTypeInternal)
}
