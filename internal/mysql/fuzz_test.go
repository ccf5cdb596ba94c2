package mysql

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// fuzzedColumns is a column of each type, as the log describes it.
func fuzzedColumns() []imageColumn {
	labels := []string{"a", "b,c", "ñ"}
	return []imageColumn{
		{kind: mysql.MYSQL_TYPE_TINY},
		{kind: mysql.MYSQL_TYPE_SHORT, unsigned: true},
		{kind: mysql.MYSQL_TYPE_INT24},
		{kind: mysql.MYSQL_TYPE_LONG},
		{kind: mysql.MYSQL_TYPE_LONGLONG, unsigned: true},
		{kind: mysql.MYSQL_TYPE_FLOAT},
		{kind: mysql.MYSQL_TYPE_DOUBLE},
		{kind: mysql.MYSQL_TYPE_YEAR},
		{kind: mysql.MYSQL_TYPE_NEWDECIMAL, meta: 12<<8 | 2},
		{kind: mysql.MYSQL_TYPE_NEWDECIMAL, meta: 38<<8 | 10},
		{kind: mysql.MYSQL_TYPE_NEWDECIMAL, meta: 65<<8 | 30},
		{kind: mysql.MYSQL_TYPE_NEWDECIMAL, meta: 9<<8 | 9},
		{kind: mysql.MYSQL_TYPE_BIT, meta: 0<<8 | 7},
		{kind: mysql.MYSQL_TYPE_BIT, meta: 8 << 8},
		{kind: mysql.MYSQL_TYPE_DATE},
		{kind: mysql.MYSQL_TYPE_TIMESTAMP2, meta: 6},
		{kind: mysql.MYSQL_TYPE_DATETIME2, meta: 3},
		{kind: mysql.MYSQL_TYPE_DATETIME2},
		{kind: mysql.MYSQL_TYPE_TIME2, meta: 6},
		{kind: mysql.MYSQL_TYPE_TIME2, meta: 1},
		{kind: mysql.MYSQL_TYPE_VARCHAR, meta: 80, charset: "utf8mb4"},
		{kind: mysql.MYSQL_TYPE_VARCHAR, meta: 400, charset: "latin1"},
		{kind: mysql.MYSQL_TYPE_VARCHAR, meta: 80, charset: "utf16"},
		{kind: mysql.MYSQL_TYPE_BLOB, meta: 2, charset: "binary"},
		{kind: mysql.MYSQL_TYPE_BLOB, meta: 4, charset: "utf32"},
		{kind: mysql.MYSQL_TYPE_STRING, meta: 20, charset: "utf8mb4"},
		{kind: mysql.MYSQL_TYPE_STRING, meta: 4, charset: "binary"},
		{kind: mysql.MYSQL_TYPE_ENUM, meta: 1, labels: slices.Clone(labels), charset: "utf8mb4"},
		{kind: mysql.MYSQL_TYPE_SET, meta: 8, labels: slices.Clone(labels), charset: "utf8mb4"},
		{kind: mysql.MYSQL_TYPE_GEOMETRY, meta: 4},
	}
}

// fuzzedTable makes a table of columns, and the reader of its images.
func fuzzedTable(t *testing.T, columns []imageColumn) (*Images, *Layout) {
	t.Helper()
	im := &Images{columns: columns, ends: make([]int, len(columns)), values: make([][]byte, len(columns)), buf: []byte{}}
	table := &Table{Database: "d", Name: "t"}
	for i := range columns {
		name := fmt.Sprintf("c%d", i)
		ty, err := columns[i].describe(nil)
		if err != nil {
			t.Fatal(err)
		}
		im.Names, table.Columns = append(im.Names, name), append(table.Columns, Column{Name: name, Type: ty})
	}
	l, err := NewLayout(table, LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return im, l
}

// FuzzImages reads bytes that nobody vouches for as rows of the binary log: of one column, or of all types. What is read has the columns'
// values, one after the other, and they can be decoded and printed.
func FuzzImages(f *testing.F) {
	seeds := []string{
		"\x01\x00\x7f", "\x00\x05\x00ab\xc3\xb1", "\x00\x80\x00\x00\x00\x00\x00", "\x00\x99\xb6\x3d\xc8\xf8\x00\x00\x00\x01", "\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x00\x15\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40", "\x00\x04\xd8\x3d\xde\x00",
	}
	for i := range fuzzedColumns() {
		f.Add(uint8(i), []byte(seeds[i%len(seeds)])) //nolint:gosec // few
	}
	f.Add(uint8(255), make([]byte, 300))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		columns := fuzzedColumns()
		if int(which) < len(columns) {
			columns = columns[which : which+1]
		}
		im, l := fuzzedTable(t, columns)
		g := l.Gather(func(*gather.RowError) error { return nil })
		bitmap := slices.Repeat([]byte{0xff}, (len(columns)+7)/8)
		for len(data) > 0 {
			values, rest, err := im.Row(data, bitmap)
			if err != nil {
				break
			}
			if len(rest) >= len(data) {
				t.Fatal("a row takes nothing")
			}
			if err := g.Take(values); err != nil {
				t.Fatal(err)
			}
			data = rest
		}
		if err := g.Flush(); err != nil {
			t.Fatal(err)
		}
		printed(t, g.Decoder)
	})
}

// printed prints all that a decoder has.
func printed(t *testing.T, d *Decoder) {
	t.Helper()
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		for row := range b.Rows {
			_ = b.AppendJSON(nil, row)
		}
		b.Release()
	}
}

// said is a connection to a server that has said all that it will say.
type said struct {
	net.Conn
	left []byte
}

func (s *said) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left[:min(len(s.left), 7)])
	s.left = s.left[n:]
	return n, nil
}

// packet is one of the protocol.
func packet(body string) []byte {
	return append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), 0}, body...)
}

// FuzzRows reads bytes that nobody vouches for as a server's answer with rows in binary.
func FuzzRows(f *testing.F) {
	const eof = "\xfe\x00\x00\x02\x00"
	column := func(kind, charset, flags byte) []byte {
		return packet("\x03def\x01d\x01t\x01t\x01c\x01c\x0c" + string([]byte{charset, 0, 0, 0, 0, 0, kind, flags, 0, 0, 0, 0}))
	}
	head := slices.Concat(packet("\x03"), column(mysql.MYSQL_TYPE_LONG, 63, 0), column(mysql.MYSQL_TYPE_VAR_STRING, 45, 0), column(mysql.MYSQL_TYPE_DATETIME, 63, 0), packet(eof))
	f.Add(slices.Concat(head, packet("\x00\x00\x07\x00\x00\x00\x02ab\x04\xe8\x07\x02\x1d"), packet("\x00\x18\x07\x00\x00\x00"), packet(eof)))
	f.Add(slices.Concat(head, packet("\x00\x00\x07\x00\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff"), packet(eof)))
	f.Add(slices.Concat(head, packet("\xff\x10\x04#08S01gone")))
	f.Add(slices.Concat(head, []byte("\xff\xff\xff\x00")))
	f.Add(packet("\x00"))
	table := &Table{Database: "d", Name: "t", Columns: []Column{
		{Name: "a", Type: Type{Data: "int", Name: "int(11)"}},
		{Name: "b", Type: Type{Data: "varchar", Name: "varchar(9)", Charset: "utf8mb4"}},
		{Name: "c", Type: Type{Data: "datetime", Name: "datetime(6)", Fraction: 6}},
	}}
	f.Fuzz(func(t *testing.T, v []byte) {
		l, err := NewLayout(table, LayoutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d := l.Decoder()
		w := &wire{net: &said{left: v}, taker: newBlockTaker(d, &StreamOptions{Refused: func(*gather.RowError) error { return nil }}), buf: make([]byte, bufferBytes+gather.Slack)}
		_, _ = w.all()
		printed(t, d)
	})
}
