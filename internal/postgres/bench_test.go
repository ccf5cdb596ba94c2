package postgres_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
)

// tables that are measured, with SQL for their rows: TPC-H's lineitem, flights of vega-datasets, and 12 columns of 128 bytes.
var measured = []struct{ name, columns, rows string }{
	{
		"lineitem", `l_orderkey int8, l_partkey int8, l_suppkey int8, l_linenumber int4, l_quantity numeric(15,2), l_extendedprice numeric(15,2),
		l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1), l_linestatus char(1), l_shipdate date, l_commitdate date,
		l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44)`,
		`i/4, i*7919%200000, i*31%10000, i%7+1, i%50+1, i*7919%9000000/100.0+900, i%11/100.0, i%9/100.0, (array['A','N','R'])[i%3+1],
		(array['O','F'])[i%2+1], date '1992-01-01'+i%2526, date '1992-01-01'+i*7%2526, date '1992-01-01'+i*11%2526,
		(array['DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'])[i%4+1], (array['AIR','FOB','MAIL','RAIL','SHIP','TRUCK','REG AIR'])[i%7+1],
		substr(md5(i::text)||md5((i*3)::text), 1, 10+i%34)`,
	},
	{
		"flights", "date timestamp, delay int4, distance int4, origin text, destination text",
		`timestamp '2001-01-01'+i*interval '10 seconds', i*7919%200-50, i*31%3000, (array['LAX','JFK','SFO','ORD','ATL'])[i%5+1],
		(array['SEA','DEN','PHX','BOS'])[i%4+1]`,
	},
	{
		"twelve", `id int8, a int4, b int8, c float8, d numeric(12,2), e timestamptz, f timestamptz, g bool, h text, i text, j text, k int4`,
		`i, i%1000, i*7919, i/7.0, i*7919%9000000/100.0, timestamptz '2020-01-01'+i*interval '1 second', timestamptz '2020-01-01'+i*interval '7 second',
		i%2=0, substr(md5(i::text),1,16), 'user'||i%1000||'@example.com', (array['active','deleted','pending'])[i%3+1], nullif(i%10, 0)`,
	},
}

// BenchmarkRead reads rows of the server into batches. cpu-ns/row is what this process takes, its part of the kernel included.
func BenchmarkRead(b *testing.B) {
	const rows = 200_000
	for _, m := range measured {
		b.Run(m.name, func(b *testing.B) {
			dsn := server.Database(b, "CREATE TABLE t ("+m.columns+")",
				fmt.Sprintf("INSERT INTO t SELECT %s FROM generate_series(1, %d) i", m.rows, rows), "VACUUM FREEZE t")
			c, d, l := prepared(b, dsn)
			o := postgres.StreamOptions{Rows: 10_000, Bytes: 4 << 20}
			o.Full = func() error { take(b, d); return nil }
			begin := used()
			for b.Loop() {
				if err := c.StreamInto(b.Context(), "SELECT "+l.Select()+" FROM t", nil, d, o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(used()-begin)/float64(b.N*rows), "cpu-ns/row")
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkDecode reads the same rows from memory: what is left is ours.
func BenchmarkDecode(b *testing.B) {
	const rows = 10_000
	for _, m := range measured {
		b.Run(m.name, func(b *testing.B) {
			dsn := server.Database(b, "CREATE TABLE t ("+m.columns+")", fmt.Sprintf("INSERT INTO t SELECT %s FROM generate_series(1, %d) i", m.rows, rows))
			c, d, l := prepared(b, dsn)
			var messages []byte
			err := c.Stream(b.Context(), "SELECT "+l.Select()+" FROM t", nil, func(values [][]byte) error {
				messages = appendRow(messages, values)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			messages = append(messages, 'Z', 0, 0, 0, 5, 'I')
			b.ReportAllocs()
			begin := used()
			for b.Loop() {
				if err := postgres.Replay(&memory{left: messages}, d); err != nil {
					b.Fatal(err)
				}
				take(b, d)
			}
			b.ReportMetric(float64(used()-begin)/float64(b.N*rows), "cpu-ns/row")
		})
	}
}

// BenchmarkText takes the same rows as the log carries them.
func BenchmarkText(b *testing.B) {
	const rows = 10_000
	for _, m := range measured {
		b.Run(m.name, func(b *testing.B) {
			dsn := server.Database(b, "CREATE TABLE t ("+m.columns+")", fmt.Sprintf("INSERT INTO t SELECT %s FROM generate_series(1, %d) i", m.rows, rows))
			c, d, _ := prepared(b, dsn)
			tuples := printed(b, c, "SELECT * FROM t")
			b.ReportAllocs()
			begin := used()
			for b.Loop() {
				for _, values := range tuples {
					if err := d.Text(values); err != nil {
						b.Fatal(err)
					}
				}
				take(b, d)
			}
			b.ReportMetric(float64(used()-begin)/float64(b.N*rows), "cpu-ns/row")
		})
	}
}

func prepared(b *testing.B, dsn string) (*postgres.Conn, *postgres.Decoder, *postgres.Layout) {
	b.Helper()
	c, err := postgres.Connect(b.Context(), postgres.Options{DSN: dsn})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(b.Context()) })
	tables, err := postgres.ListTables(b.Context(), c, []string{"t"})
	if err != nil || len(tables) != 1 {
		b.Fatal(tables, err)
	}
	l, err := postgres.NewLayout(tables[0], postgres.LayoutOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return c, l.Decoder(), l
}

func take(b *testing.B, d *postgres.Decoder) {
	b.Helper()
	batches, err := d.Batches(postgres.Nothing)
	if err != nil {
		b.Fatal(err)
	}
	for _, batch := range batches {
		batch.Release()
	}
}

// appendRow appends a DataRow message.
func appendRow(dst []byte, values [][]byte) []byte {
	at := len(dst)
	dst = append(dst, 'D', 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			dst = binary.BigEndian.AppendUint32(dst, 1<<32-1)
			continue
		}
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-1))
	return dst
}

// memory is a connection to a server that has said all that it will say.
type memory struct {
	net.Conn
	left []byte
}

func (m *memory) Read(p []byte) (int, error) {
	if len(m.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.left)
	m.left = m.left[n:]
	return n, nil
}

func (m *memory) Write(p []byte) (int, error) { return len(p), nil }

// used is the CPU time of this process, user and system.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
