package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Restorer = (*Source)(nil)

// restoration is one transaction: tables, rows, keys and links are there for others when it commits, and never otherwise.
type restoration struct {
	source *Source
	conn   *postgres.Conn
	info   sources.SnapshotInfo
	tables map[string]*kept
	failed error
}

// Restore begins the transaction and makes the tables.
func (s *Source) Restore(ctx context.Context, info sources.SnapshotInfo) (sources.Restoration, error) {
	if info.Engine != "postgresql" {
		return nil, &fault.Error{
			Code: "ACQ-PG-073", Place: info.Database, Err: fmt.Errorf("the backup is of %s", info.Engine), Remedy: "restore it into a source of that kind",
		}
	}
	c, err := s.pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoration{source: s, conn: c, info: info, tables: map[string]*kept{}}
	if err := r.begin(ctx); err != nil {
		r.failed = err
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

func (r *restoration) begin(ctx context.Context) error {
	if _, err := r.conn.Exec(ctx, "begin; set local search_path = ''; set local synchronous_commit = on; set local check_function_bodies = off"); err != nil {
		return postgres.Explain(err, "begin the restore", r.conn.Config().Database)
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	if err := r.run(ctx, r.conn.Config().Database, r.info.Prepare); err != nil {
		return err
	}
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		if err := r.run(ctx, t.Schema.Stream, t.Definition.Create); err != nil {
			return err
		}
	}
	return r.made(ctx)
}

// empty refuses a database in which one of the tables is.
func (r *restoration) empty(ctx context.Context) error {
	names := make([]string, len(r.info.Tables))
	for i := range r.info.Tables {
		names[i] = r.info.Tables[i].Definition.Name
	}
	var there []string
	err := r.conn.QueryRow(ctx, "select coalesce(array_agg(n order by n), '{}') from unnest($1::text[]) n where to_regclass(n) is not null", names).Scan(&there)
	if err != nil {
		return postgres.Explain(err, "look whether the tables are there", r.conn.Config().Database)
	}
	if len(there) == 0 {
		return nil
	}
	more := ""
	if len(there) > 5 {
		there, more = there[:5], fmt.Sprintf(" and %d more", len(there)-5)
	}
	return &fault.Error{
		Code: "ACQ-PG-070", Place: r.conn.Config().Database, Err: fmt.Errorf("the database is not empty: it has %s%s", strings.Join(there, ", "), more),
		Remedy: "restore into a new database (CREATE DATABASE), or choose other tables; nothing was changed",
	}
}

// run runs statements of the backup.
func (r *restoration) run(ctx context.Context, place string, statements []string) error {
	for _, s := range statements {
		if _, err := r.conn.Exec(ctx, s); err != nil {
			return postgres.Explain(err, "run "+s, place)
		}
	}
	return nil
}

// made finds the tables that were made.
func (r *restoration) made(ctx context.Context) error {
	all, err := postgres.ListTables(ctx, r.conn, []string{"*.*"})
	if err != nil {
		return err
	}
	byName := make(map[string]*postgres.Table, len(all))
	for _, t := range all {
		byName[t.Quoted()] = t
	}
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		found := byName[t.Definition.Name]
		if found == nil {
			return &fault.Error{
				Code: "ACQ-PG-072", Place: t.Schema.Stream, Err: errors.New("its table was not made, or may not be read"), Remedy: "look at the statements in the backup's manifest",
			}
		}
		k := &kept{}
		if k.table, k.layout, err = keyless(found); err != nil {
			return err
		}
		r.tables[t.Schema.Stream] = k
	}
	return nil
}

// Load copies rows into a table.
func (r *restoration) Load(ctx context.Context, stream string, next func() (*record.Batch, error)) error {
	k := r.tables[stream]
	if k == nil {
		return fault.Stop(fmt.Errorf("postgres: %q is not being restored", stream))
	}
	copier := k.layout.Copier()
	rows := &copied{next: next, copier: copier}
	_, err := r.conn.PgConn().CopyFrom(ctx, rows, copier.SQL())
	if rows.err != nil && !errors.Is(rows.err, io.EOF) {
		err = rows.err
	}
	if err != nil {
		r.failed = err
	}
	return postgres.Explain(err, "load "+k.table.Quoted(), stream)
}

// copied is batches as COPY reads them.
type copied struct {
	next   func() (*record.Batch, error)
	copier *postgres.Copier
	text   []byte
	at     int
	err    error
}

// Read gives some of the text.
func (c *copied) Read(p []byte) (int, error) {
	for c.at == len(c.text) && c.err == nil {
		var b *record.Batch
		if b, c.err = c.next(); c.err != nil {
			break
		}
		c.at = 0
		c.text, c.err = c.copier.Append(c.text[:0], b)
		b.Release()
	}
	if c.err != nil {
		return 0, c.err
	}
	n := copy(p, c.text[c.at:])
	c.at += n
	return n, nil
}

// Scan reads a table back, in the transaction that makes it.
func (r *restoration) Scan(ctx context.Context, stream string, each func(*record.Batch) error) error {
	k := r.tables[stream]
	if k == nil {
		return fault.Stop(fmt.Errorf("postgres: %q is not being restored", stream))
	}
	err := rowsInto(ctx, r.conn, k.table, k.layout, "select "+k.layout.Select()+" from "+from(k.table), nil, each)
	if err != nil {
		r.failed = err
	}
	return err
}

// Finish makes keys, indexes, and those links whose other table is there, and commits.
func (r *restoration) Finish(ctx context.Context) error {
	for i := range r.info.Tables {
		if err := r.run(ctx, r.info.Tables[i].Schema.Stream, r.info.Tables[i].Definition.Finish); err != nil {
			r.failed = err
			return err
		}
	}
	for i := range r.info.Tables {
		for _, link := range r.info.Tables[i].Definition.Links {
			if r.tables[link.To] == nil {
				continue
			}
			if err := r.run(ctx, r.info.Tables[i].Schema.Stream, []string{link.Statement}); err != nil {
				r.failed = err
				return err
			}
		}
	}
	_, err := r.conn.Exec(ctx, "commit")
	return postgres.Explain(err, "commit the restore", r.conn.Config().Database)
}

// Close gives the connection back; a transaction that was not committed ends with it.
func (r *restoration) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if !r.conn.IsClosed() && r.conn.PgConn().TxStatus() != 'I' {
		if _, err := r.conn.Exec(ctx, "rollback"); err != nil {
			r.failed = errors.Join(r.failed, err)
		}
	}
	r.source.pool.Put(ctx, r.conn, r.failed)
	return nil
}
