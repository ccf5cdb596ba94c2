package mysql

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"
)

// typesTable has every type, and rows with what is odd about each: in order of id 1 what is usual, 2 the greatest, 3 the least, 4 nothing,
// 5 what its column cannot hold.
var typesTable = []string{
	"SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
	`CREATE TABLE types (id int PRIMARY KEY, t tinyint, tu tinyint unsigned, s smallint, su smallint unsigned, m mediumint, mu mediumint unsigned,
		i int, iu int unsigned, b bigint, bu bigint unsigned, f float, d double, n decimal(12,2), w decimal(38,10), free decimal(65,30), zf decimal(6,2) zerofill,
		bits bit(7), bits64 bit(64), day date, at datetime, at6 datetime(6), ts timestamp NULL, ts3 timestamp(3) NULL, dur time, dur3 time(3), y year,
		c char(5), vc varchar(20), latin varchar(20) CHARACTER SET latin1, tx text, bin binary(4), vb varbinary(8), bl blob,
		e enum('a','b,c','it''s') , st set('x','y','z'), j json, u uuid, i6 inet6, g point, gs geometry)`,
	`INSERT INTO types VALUES (1, 1,1,1,1,1,1,1,1,1,1, 1.5, 2.5, 12.34, 1.5, 1.25, 1.5, b'101', 5, '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56.789012',
		'2024-02-29 12:34:56', '2024-02-29 12:34:56.789', '12:34:56', '-00:00:01.5', 2024, 'ab  ', 'ñandú', 'ñandú', 'texto', 0x00010000, 0x0102, 0x00ff,
		'it''s', 'x,z', '{"a": 1.0, "a": 2}', '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4', POINT(1,2), ST_GeomFromText('POINT(1 2)', 4326))`,
	`INSERT INTO types VALUES (2, 127,255,32767,65535,8388607,16777215,2147483647,4294967295,9223372036854775807,18446744073709551615, 3.4e38, 1.7e308,
		9999999999.99, 9999999999999999999999999999.9999999999, 99999999999999999999999999999999999.999999999999999999999999999999, 9999.99, b'1111111', 18446744073709551615,
		'9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999', '838:59:59', '838:59:59.999', 2155,
		'ñññññ', repeat('€', 20), repeat('ÿ', 20), repeat('x', 300), 0xffffffff, repeat(0xff, 8), repeat(0xfe, 300), 'b,c', 'x,y,z', '[]',
		'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', POINT(0,0), NULL)`,
	`INSERT INTO types VALUES (3, -128,0,-32768,0,-8388608,0,-2147483648,0,-9223372036854775808,0, -3.4e38, -1.7e308,
		-9999999999.99, -9999999999999999999999999999.9999999999, -0.000000000000000000000000000001, 0, b'0', 0,
		'0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.001', '-838:59:59', '-838:59:59.999', 1901,
		'', '', '', '', '', '', '', '', '', 'null', '00000000-0000-0000-0000-000000000000', '::', POINT(-1,-1), NULL)`,
	`INSERT INTO types (id) VALUES (4)`,
	`INSERT INTO types (id, day, at, at6, ts, ts3, y) VALUES (5, '0000-00-00', '2025-00-15 01:02:03', '2024-02-31 01:02:03.5', 0, 0, 0)`,
}

// texts reads a table by a layout, and gives each row as texts, a null as "∅".
func texts(t *testing.T, c *Conn, table *Table, layout *Layout) [][]string {
	t.Helper()
	d := layout.Decoder()
	var out [][]string
	take := func() error {
		batches, err := d.Batches(func(int, *record.System) {})
		for _, b := range batches {
			for row := range b.Rows {
				var one []string
				for i := range b.Schema.Fields {
					f, col := &b.Schema.Fields[i], &b.Columns[i]
					switch {
					case !col.IsValid(row):
						one = append(one, "∅")
					case f.Kind == record.Bytes:
						one = append(one, fmt.Sprintf("%x", col.Text(row)))
					default:
						one = append(one, string(record.AppendText(nil, f, col, row)))
					}
				}
				out = append(out, one)
			}
			b.Release()
		}
		return err
	}
	sql := "SELECT " + layout.Select("t") + " FROM " + table.Quoted() + " t ORDER BY 1"
	if err := c.StreamInto(t.Context(), sql, d, StreamOptions{Rows: 1000, Full: take}); err != nil {
		t.Fatal(err)
	}
	if err := take(); err != nil {
		t.Fatal(err)
	}
	return out
}

func connect(t *testing.T, database string) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), Options{DSN: server.DSN(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	return c
}

func TestTypes(t *testing.T) {
	t.Parallel()
	c := connect(t, server.Database(t, typesTable...))
	tables, grants, err := ListTables(t.Context(), c, nil, nil)
	if err != nil || len(tables) != 1 || len(grants) != 0 {
		t.Fatalf("%v tables, %v, %v", tables, grants, err)
	}
	layout, err := NewLayout(tables[0], LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows := texts(t, c, tables[0], layout)
	for i, want := range wantTypes {
		var got []string
		for _, row := range rows {
			got = append(got, row[i])
		}
		if diff := cmp.Diff(want[1:], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want[0], diff)
		}
	}
	if names := layout.Schema.Fields; len(names) != len(wantTypes)-5 {
		t.Errorf("%d fields, want %d", len(names), len(wantTypes)-5)
	}
}

// wantTypes is each column with its values in the rows.
var wantTypes = [][]string{
	{"id", "1", "2", "3", "4", "5"},
	{"t", "1", "127", "-128", "∅", "∅"},
	{"tu", "1", "255", "0", "∅", "∅"},
	{"s", "1", "32767", "-32768", "∅", "∅"},
	{"su", "1", "65535", "0", "∅", "∅"},
	{"m", "1", "8388607", "-8388608", "∅", "∅"},
	{"mu", "1", "16777215", "0", "∅", "∅"},
	{"i", "1", "2147483647", "-2147483648", "∅", "∅"},
	{"iu", "1", "4294967295", "0", "∅", "∅"},
	{"b", "1", "9223372036854775807", "-9223372036854775808", "∅", "∅"},
	{"bu", "1", "18446744073709551615", "0", "∅", "∅"},
	{"f", "1.5", "3.4e+38", "-3.4e+38", "∅", "∅"},
	{"d", "2.5", "1.7e+308", "-1.7e+308", "∅", "∅"},
	{"n", "12.34", "9999999999.99", "-9999999999.99", "∅", "∅"},
	{"w", "1.5000000000", "9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "∅", "∅"},
	{"free", "1.250000000000000000000000000000", "99999999999999999999999999999999999.999999999999999999999999999999", "-0.000000000000000000000000000001", "∅", "∅"},
	{"zf", "1.50", "9999.99", "0.00", "∅", "∅"},
	{"bits", "5", "127", "0", "∅", "∅"},
	{"bits64", "5", "18446744073709551615", "0", "∅", "∅"},
	{"day", "2024-02-29", "9999-12-31", "0001-01-01", "∅", "∅"},
	{"at", "2024-02-29T12:34:56.000000", "9999-12-31T23:59:59.000000", "0001-01-01T00:00:00.000000", "∅", "∅"},
	{"at6", "2024-02-29T12:34:56.789012", "9999-12-31T23:59:59.999999", "0001-01-01T00:00:00.000001", "∅", "∅"},
	{"ts", "2024-02-29T12:34:56.000000Z", "2038-01-19T03:14:07.000000Z", "1970-01-01T00:00:01.000000Z", "∅", "∅"},
	{"ts3", "2024-02-29T12:34:56.789000Z", "2038-01-19T03:14:07.999000Z", "1970-01-01T00:00:01.001000Z", "∅", "∅"},
	{"dur", "12:34:56", "838:59:59", "-838:59:59", "∅", "∅"},
	{"dur3", "-00:00:01.500", "838:59:59.999", "-838:59:59.999", "∅", "∅"},
	{"y", "2024", "2155", "1901", "∅", "0"},
	{"c", "ab", "ñññññ", "", "∅", "∅"},
	{"vc", "ñandú", "€€€€€€€€€€€€€€€€€€€€", "", "∅", "∅"},
	{"latin", "ñandú", "ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ", "", "∅", "∅"},
	{"tx", "texto", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "", "∅", "∅"},
	{"bin", "00010000", "ffffffff", "00000000", "∅", "∅"},
	{"vb", "0102", "ffffffffffffffff", "", "∅", "∅"},
	{"bl", "00ff", "fefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefe", "", "∅", "∅"},
	{"e", "it's", "b,c", "", "∅", "∅"},
	{"st", "x,z", "x,y,z", "", "∅", "∅"},
	{"j", "{\"a\": 1.0, \"a\": 2}", "[]", "null", "∅", "∅"},
	{"u", "123e4567-e89b-12d3-a456-426655440000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000", "∅", "∅"},
	{"i6", "::ffff:1.2.3.4", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "∅", "∅"},
	{"g", "0101000000000000000000f03f0000000000000040", "010100000000000000000000000000000000000000", "0101000000000000000000f0bf000000000000f0bf", "∅", "∅"},
	{"gs", "0101000020e6100000000000000000f03f0000000000000040", "∅", "∅", "∅", "∅"},
	{"day__raw", "∅", "∅", "∅", "∅", "0000-00-00"},
	{"at__raw", "∅", "∅", "∅", "∅", "2025-00-15 01:02:03"},
	{"at6__raw", "∅", "∅", "∅", "∅", "2024-02-31 01:02:03.500000"},
	{"ts__raw", "∅", "∅", "∅", "∅", "0000-00-00 00:00:00"},
	{"ts3__raw", "∅", "∅", "∅", "∅", "0000-00-00 00:00:00.000"},
}
