package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// keyLayout reads nothing but the key of a table, in key order.
func keyLayout(t *mysql.Table) (*mysql.Layout, error) {
	keys := *t
	keys.Columns = make([]mysql.Column, len(t.Key))
	for i, name := range t.Key {
		keys.Columns[i] = *t.Column(name)
	}
	return mysql.NewLayout(&keys, mysql.LayoutOptions{})
}

// bounds are keys of rows that cut a table into parts.
type bounds struct {
	layout *mysql.Layout
	keys   *record.Batch // nil: none
}

func (b bounds) rows() int {
	if b.keys == nil {
		return 0
	}
	return b.keys.Rows
}

func (b bounds) release() {
	if b.keys != nil {
		b.keys.Release()
	}
}

// cut gives keys that cut a table into parts of about so many rows. A key that begins with a whole number is cut where the server's index
// says that there are as many rows, without reading them; any other is counted, which reads the index once.
func cut(ctx context.Context, c *mysql.Conn, t *mysql.Table, rows int64) (b bounds, err error) {
	if len(t.Key) == 0 || t.Rows <= rows+rows/2 {
		return b, nil
	}
	if b.layout, err = keyLayout(t); err != nil {
		return b, err
	}
	d := b.layout.Decoder()
	if kind := b.layout.Schema.Fields[0].Kind; kind == record.Int32 || kind == record.Int64 {
		err = cutNumbers(ctx, c, t, b.layout, d, rows)
	} else {
		err = cutCounted(ctx, c, t, b.layout, d, rows)
	}
	if err != nil {
		return b, mysql.Explain(err, "cut the keys of "+t.Quoted(), t.Stream())
	}
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil || len(batches) == 0 {
		return b, err
	}
	defer batches[0].Release()
	var distinct []int32 // two numbers may have led to the same row
	for row := range batches[0].Rows {
		if row == 0 || !slices.Equal(b.layout.KeyText(batches[0], row-1), b.layout.KeyText(batches[0], row)) {
			distinct = append(distinct, int32(row))
		}
	}
	b.keys = batches[0].Select(distinct)
	return b, nil
}

// cutCounted goes through the index of the key.
func cutCounted(ctx context.Context, c *mysql.Conn, t *mysql.Table, l *mysql.Layout, d *mysql.Decoder, rows int64) error {
	var after []string
	for {
		had := d.Count
		sql := fmt.Sprintf("SELECT %s FROM %s t%s%s ORDER BY %s LIMIT 1 OFFSET %d", l.Select("t"), t.Quoted(), byKey(t), keyRange(l, t, part{After: after}), keyOrder(l, t), rows-1)
		one := l.Decoder()
		if err := c.StreamInto(ctx, sql, one, mysql.StreamOptions{}); err != nil {
			return err
		}
		batches, err := one.Batches(func(int, *record.System) {})
		if err != nil || len(batches) == 0 {
			return err
		}
		key := l.KeyText(batches[0], 0)
		batches[0].Release()
		if err := c.StreamInto(ctx, exactly(l, t, key), d, mysql.StreamOptions{}); err != nil {
			return err
		}
		if d.Count == had { // it is gone meanwhile; the part before it grows
			return nil
		}
		after = key
	}
}

// exactly reads the key of a row.
func exactly(l *mysql.Layout, t *mysql.Table, key []string) string {
	return "SELECT " + l.Select("t") + " FROM " + t.Quoted() + " t WHERE " + keyIs(l, t, key)
}

func keyIs(l *mysql.Layout, t *mysql.Table, key []string) string {
	conditions := make([]string, len(t.Key))
	for i := range t.Key {
		conditions[i] = l.KeyIs("t", i, key[i])
	}
	return "(" + strings.Join(conditions, " AND ") + ")"
}

// counting finds where a whole number cuts a table, by what the index says of ranges.
type counting struct {
	conn   *mysql.Conn
	table  *mysql.Table
	name   string // of the first column of the key
	rows   int64  // of a part
	ends   []int64
	so     int64 // rows since the last end
	failed error
}

// cutNumbers halves the range of the numbers until a piece has at most a quarter of a part, and puts pieces together again.
func cutNumbers(ctx context.Context, c *mysql.Conn, t *mysql.Table, l *mysql.Layout, d *mysql.Decoder, rows int64) error {
	name := "t." + mysql.Quote(t.Key[0])
	row, err := c.QueryRow(ctx, "SELECT MIN("+name+"), MAX("+name+") FROM "+t.Quoted()+" t")
	if err != nil || row == nil || row.Null(0) {
		return err
	}
	n := &counting{conn: c, table: t, name: name, rows: rows}
	low, high := row.Int(0), row.Int(1)
	n.halve(ctx, low, high, n.between(ctx, low, high))
	if n.failed != nil {
		return n.failed
	}
	for _, end := range n.ends { // the key of a row, whole
		descending := make([]string, len(t.Key))
		for i := range t.Key {
			descending[i] = l.KeyName("t", i) + " DESC"
		}
		sql := fmt.Sprintf("SELECT %s FROM %s t%s WHERE %s <= %d ORDER BY %s LIMIT 1", l.Select("t"), t.Quoted(), byKey(t), name, end, strings.Join(descending, ", "))
		if err := c.StreamInto(ctx, sql, d, mysql.StreamOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// halve goes through [low,high], which has about so many rows.
func (n *counting) halve(ctx context.Context, low, high, about int64) {
	if n.failed != nil {
		return
	}
	if about > n.rows/4 && low < high {
		mid := low + int64(uint64(high-low)/2) //nolint:gosec // the distance may be above 2^63
		left := n.between(ctx, low, mid)
		n.halve(ctx, low, mid, left)
		n.halve(ctx, mid+1, high, n.between(ctx, mid+1, high))
		return
	}
	if n.so > 0 && n.so+about/2 > n.rows {
		n.ends, n.so = append(n.ends, low-1), 0
	}
	n.so += about
}

// between asks the index how many rows have a number of [low,high]. It looks at the ends of the range, and reads nothing between.
func (n *counting) between(ctx context.Context, low, high int64) int64 {
	if n.failed != nil {
		return 0
	}
	sql := fmt.Sprintf("EXPLAIN SELECT 1 FROM %s t%s WHERE %s BETWEEN %d AND %d", n.table.Quoted(), byKey(n.table), n.name, low, high)
	about, err := n.conn.Estimate(ctx, sql)
	n.failed = err
	return about
}

// split cuts a table into parts of about partRows rows by its keys.
func (s *Source) split(ctx context.Context, c *mysql.Conn, t *table) error {
	t.note.Parts = nil
	if len(t.Key) == 0 {
		return nil
	}
	b, err := cut(ctx, c, t.Table, s.partRows)
	if err != nil {
		return err
	}
	defer b.release()
	t.note.Parts = make([]part, 1, 1+b.rows())
	for row := range b.rows() {
		key := b.layout.KeyText(b.keys, row)
		t.note.Parts[len(t.note.Parts)-1].UpTo = key
		t.note.Parts = append(t.note.Parts, part{After: key})
	}
	return nil
}

func keyValues(b *record.Batch, row int) []sources.KeyValue {
	key := make([]sources.KeyValue, len(b.Schema.Key))
	for i, k := range b.Schema.Key {
		c, f := &b.Columns[k], &b.Schema.Fields[k]
		switch {
		case f.Wide():
			key[i].Wide = c.Wide[row] // never constant: it was read
		case f.Kind == record.String || f.Kind == record.Bytes:
			key[i].Text = string(c.Text(row))
		default:
			key[i].Int = c.Int(row)
		}
	}
	return key
}

// keyTexts gives a bound as the texts of a part.
func keyTexts(t *mysql.Table, key []sources.KeyValue) ([]string, error) {
	if key == nil {
		return nil, nil
	}
	layout, err := keyLayout(t)
	if err != nil {
		return nil, err
	}
	if len(key) != len(t.Key) {
		return nil, fault.Stop(fmt.Errorf("mysql: a key of %d values for the %d columns of %s", len(key), len(t.Key), t.Quoted()))
	}
	columns := make([]record.Column, len(key))
	for i, v := range key {
		switch f := &layout.Schema.Fields[i]; {
		case f.Wide():
			columns[i].Wide = []record.Int128{v.Wide}
		case f.Kind == record.String || f.Kind == record.Bytes:
			columns[i].AppendText([]byte(v.Text))
		default:
			columns[i].Ints = []int64{v.Int}
		}
	}
	b, err := record.NewBatch(layout.Schema, 1, columns, record.System{}, nil)
	if err != nil {
		return nil, fault.Stop(err)
	}
	defer b.Release()
	return layout.KeyText(b, 0), nil
}
