package postgres

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

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
	// sampleRows is how many keys of each part are looked at to find where it ends.
	sampleRows = 300
	// leastSample is how many at least, where the parts are many: each is then less even.
	leastSample, mostSample = 20, 100_000
)

// quantiles gives keys that cut a table into n+1 parts of about the same size, by a sample in the order of the server: a batch of
// keys alone, nil for none.
func quantiles(ctx context.Context, c *postgres.Conn, t *postgres.Table, n int) (layout *postgres.Layout, bounds *record.Batch, err error) {
	sampled := t.Kind == postgres.Ordinary || t.Kind == postgres.Partitioned
	if n <= 0 || !sampled || t.Rows <= 0 || len(t.Key) == 0 {
		return nil, nil, nil
	}
	if layout, err = keyLayout(t); err != nil {
		return nil, nil, err
	}
	wanted := max(leastSample*(n+1), min(sampleRows*(n+1), mostSample))
	share := min(100, 100*float64(wanted)/float64(t.Rows))
	sql := "select " + layout.Select() + " from " + from(t) + " tablesample system (" + strconv.FormatFloat(max(share, 0.0001), 'f', -1, 64) +
		") order by " + quotedKey(t)
	d := layout.Decoder()
	if err := c.StreamInto(ctx, sql, nil, d, postgres.StreamOptions{}); err != nil {
		return nil, nil, postgres.Explain(err, "sample the keys of "+t.Quoted(), t.Stream())
	}
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil || len(batches) == 0 {
		return nil, nil, err
	}
	sample := batches[len(batches)-1]
	defer sample.Release()
	var rows []int32
	for i := 1; i <= n && sample.Rows > n; i++ {
		row := int32(i * sample.Rows / (n + 1)) //nolint:gosec // a sample is small
		if len(rows) == 0 || !slices.Equal(layout.KeyText(sample, int(rows[len(rows)-1])), layout.KeyText(sample, int(row))) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, nil, nil
	}
	return layout, sample.Select(rows), nil
}
