package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// keyLayout reads nothing but the key of a table, in key order.
func keyLayout(t *postgres.Table) (*postgres.Layout, error) {
	keys := *t
	keys.Columns = make([]postgres.Column, len(t.Key))
	for i, name := range t.Key {
		keys.Columns[i] = *t.Column(name)
	}
	return postgres.NewLayout(&keys, postgres.LayoutOptions{})
}

// from is what a FROM names: the table's own rows. Tables that inherit from it, and are no partitions, are streams of their own.
func from(t *postgres.Table) string {
	if t.Kind == postgres.Ordinary {
		return "only " + t.Quoted()
	}
	return t.Quoted()
}

// quotedKey is the columns of the key in a statement about the table. They are called by its name too: ORDER BY takes a bare name for
// that of an expression of the select list, which may be the text of the column.
func quotedKey(t *postgres.Table) string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = pgx.Identifier{t.Name, k}.Sanitize()
	}
	return strings.Join(names, ", ")
}

// keyRange gives the condition of a range, and its parameters.
func keyRange(t *postgres.Table, layout *postgres.Layout, r part) (where string, args []string) {
	var conditions []string
	bound := func(operator string, values []string) {
		if values == nil {
			return
		}
		casts := layout.KeyCasts()
		parameters := make([]string, len(values))
		for i := range values {
			args = append(args, values[i])
			parameters[i] = "$" + strconv.Itoa(len(args)) + casts[i]
		}
		conditions = append(conditions, "("+quotedKey(t)+") "+operator+" ("+strings.Join(parameters, ", ")+")")
	}
	bound(">", r.After)
	bound("<=", r.UpTo)
	if len(conditions) == 0 {
		return "", nil
	}
	return " where " + strings.Join(conditions, " and "), args
}

const (
	// sampleRows is how many keys of each part are looked at to find where it ends. They come by blocks of some hundred neighbours, and
	// it is the blocks that tell: with a few a part, some parts had three times the rows of others.
	sampleRows = 5000
	// leastSample is how many at least, where the parts are many: each is then less even.
	leastSample, mostSample = 20, 100_000
)

// sample is keys that cut a table into parts of about the same size.
type sample struct {
	layout *postgres.Layout // of bounds
	bounds *record.Batch    // keys alone; nil: none
	strays float64          // how far rows that follow each other by key stand apart, as a share of the table
}

func (s sample) rows() int {
	if s.bounds == nil {
		return 0
	}
	return s.bounds.Rows
}

func (s sample) release() {
	if s.bounds != nil {
		s.bounds.Release()
	}
}

// scattered says whether the order of the keys has little to do with where the rows stand: then to read in that order fetches a block
// for every row. A third is no order at all.
func (s sample) scattered() bool { return s.strays > 0.05 }

// quantiles gives n keys that cut a table into n+1 parts, by a sample in the order of the server.
func quantiles(ctx context.Context, c *postgres.Conn, t *postgres.Table, n int) (s sample, err error) {
	sampled := t.Kind == postgres.Ordinary || t.Kind == postgres.Partitioned
	if n <= 0 || !sampled || t.Rows <= 0 || len(t.Key) == 0 {
		return s, nil
	}
	if s.layout, err = keyLayout(t); err != nil {
		return s, err
	}
	wanted := max(leastSample*(n+1), min(sampleRows*(n+1), mostSample))
	share := min(100, 100*float64(wanted)/float64(t.Rows))
	sql := "select ctid, " + s.layout.Select() + " from " + from(t) + " tablesample system (" +
		strconv.FormatFloat(max(share, 0.0001), 'f', -1, 64) + ") order by " + quotedKey(t)
	d := s.layout.Decoder()
	var far distance
	err = c.StreamInto(ctx, sql, nil, d, postgres.StreamOptions{Lead: 1, Leads: far.add})
	if err != nil {
		return s, postgres.Explain(err, "sample the keys of "+t.Quoted(), t.Stream())
	}
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil || len(batches) == 0 {
		return s, err
	}
	all := batches[len(batches)-1]
	defer all.Release()
	s.strays = far.share()
	var rows []int32
	for i := 1; i <= n && all.Rows > n; i++ {
		row := int32(i * all.Rows / (n + 1)) //nolint:gosec // a sample is small
		if len(rows) == 0 || !slices.Equal(s.layout.KeyText(all, int(rows[len(rows)-1])), s.layout.KeyText(all, int(row))) {
			rows = append(rows, row)
		}
	}
	if len(rows) > 0 {
		s.bounds = all.Select(rows)
	}
	return s, nil
}

// distance measures how far rows that follow each other stand apart in blocks.
type distance struct {
	rows       int
	last, most int64
	sum        float64
}

func (d *distance) add(values [][]byte) error {
	if len(values[0]) != 6 {
		return fault.Stop(fmt.Errorf("postgres: a ctid of %d bytes", len(values[0])))
	}
	at := int64(binary.BigEndian.Uint32(values[0]))
	if d.rows > 0 {
		d.sum += math.Abs(float64(at - d.last))
	}
	d.rows, d.last, d.most = d.rows+1, at, max(d.most, at)
	return nil
}

func (d *distance) share() float64 {
	if d.rows < 2 || d.most == 0 {
		return 0
	}
	return d.sum / float64(d.rows-1) / float64(d.most)
}
