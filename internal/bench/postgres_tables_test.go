package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
)

// The tables of the benchmark.
const (
	// lineitem is TPC-H's, with dbgen's distributions: sparse order keys, 1 to 7 lines an order, prices that follow the part, dates
	// that follow the order's, 2,526 days of shipping. Other than dbgen's: 2 % of the commit dates and 5 % of the comments are
	// null, and comments are words in a row and no sentences.
	lineitemColumns = `l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null,
		l_quantity numeric(15,2) not null, l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null, l_tax numeric(15,2) not null,
		l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date, l_receiptdate date not null,
		l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44)`
	lineitemKey = "add primary key (l_orderkey, l_linenumber)"
	// orders is 12 columns and 128 bytes a row.
	ordersColumns = `id bigint not null, user_id bigint not null, created_at timestamptz not null, updated_at timestamptz not null, status text not null,
		country text not null, amount numeric(12,2) not null, price double precision not null, qty integer not null, email text not null,
		note text, discount double precision`
	ordersKey = "add primary key (id)"
	// flights are real ones, 3 million of January to June 2001.
	flightsPackage = "vega-datasets@3.2.1"
	flightsFile    = "package/data/flights-3m.parquet"
)

// fillGenerated makes a table of rows that are the same every time.
func (s *pgServer) fillGenerated(b *testing.B, name string, t *parquettest.Table, columns, key string, rows int) {
	b.Helper()
	s.fill(b, name, columns, key, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		for left := rows; left > 0; left -= batchRows {
			n := min(left, batchRows)
			if err := copyRows(out, t.Fields, t.Next(n), n); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

// copyRows writes rows as COPY reads them; no text has a character that it would take for something else.
func copyRows(out *bufio.Writer, fields []record.Field, columns []record.Column, rows int) error {
	var line []byte
	for row := range rows {
		line = line[:0]
		for i, f := range fields {
			if i > 0 {
				line = append(line, '\t')
			}
			if c := &columns[i]; c.IsValid(row) {
				line = appendCopy(line, f, c, row)
			} else {
				line = append(line, `\N`...)
			}
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func appendCopy(dst []byte, f record.Field, c *record.Column, row int) []byte {
	switch f.Kind {
	case record.Decimal:
		v := c.Int(row)
		return fmt.Appendf(dst, "%d.%02d", v/100, v%100) // none is negative, all have a scale of two
	case record.Date:
		return time.Unix(c.Int(row)*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
	case record.Timestamp:
		return time.UnixMicro(c.Int(row)).UTC().AppendFormat(dst, "2006-01-02 15:04:05.999999+00")
	case record.LocalTimestamp:
		return time.UnixMicro(c.Int(row)).UTC().AppendFormat(dst, "2006-01-02 15:04:05.999999")
	case record.Float32, record.Float64:
		return strconv.AppendFloat(dst, c.Floats[row], 'g', -1, 64)
	case record.String:
		return append(dst, c.Text(row)...)
	}
	return strconv.AppendInt(dst, c.Int(row), 10)
}

// fillFlights makes the table of the real flights, which has no key.
func (s *pgServer) fillFlights(b *testing.B) {
	b.Helper()
	columns := "date timestamp not null, delay smallint, distance smallint, origin text, destination text"
	s.fill(b, "flights", columns, "", func(w io.Writer) error { return writeFlights(w, flightsPath(b)) })
}

// flightsPath gets the file, once, from the npm package.
func flightsPath(b *testing.B) string {
	b.Helper()
	cache, err := benchCache()
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(cache, flightsFile)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	pack := exec.CommandContext(b.Context(), "npm", "pack", "--silent", "--pack-destination", cache, flightsPackage)
	if out, err := pack.CombinedOutput(); err != nil {
		b.Skipf("the flights come with npm: %v: %s", err, out)
	}
	unpack := exec.CommandContext(b.Context(), "tar", "xzf", filepath.Join(cache, "vega-datasets-3.2.1.tgz"), "-C", cache, flightsFile)
	if out, err := unpack.CombinedOutput(); err != nil {
		b.Fatalf("unpack the flights: %v: %s", err, out)
	}
	return path
}

func writeFlights(w io.Writer, path string) (err error) {
	in, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	f, err := parquet.Open(in, info.Size())
	if err != nil {
		return err
	}
	fields := make([]record.Field, len(f.Columns()))
	for i, c := range f.Columns() {
		fields[i] = c.Field
	}
	wanted, err := f.Bind(fields)
	if err != nil {
		return err
	}
	r := parquet.NewReader(f, wanted)
	defer func() { err = errors.Join(err, r.Close()) }()
	out, columns := bufio.NewWriterSize(w, 1<<20), make([]record.Column, len(fields))
	for {
		n, _, err := r.Read(columns, batchRows)
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if err := copyRows(out, fields, columns, n); err != nil {
			return err
		}
	}
}
