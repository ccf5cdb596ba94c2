package mysql_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// image is what a sink keeps: the newest copy of each key.
type image struct {
	rows  map[string]kept // by stream and key
	floor map[string]record.Version
	ops   map[record.Op]int
	ids   map[string]int
}

type kept struct {
	version record.Version
	json    string // "": deleted
}

// logged is a pipeline that follows by the log: it plays an engine which may be killed after any chunk.
type logged struct {
	config mysql.Config
	state  *notes
	at     map[string]record.Position
	ended  map[string]bool
	image  image
	chunk  int
	failed error // of a lane of a stopped table
}

func follow(database string) *logged {
	c := settings(database)
	c.Capture.Strategy = "log"
	return &logged{
		config: c, state: newNotes(), at: map[string]record.Position{}, ended: map[string]bool{}, chunk: 1000,
		image: image{rows: map[string]kept{}, floor: map[string]record.Version{}, ops: map[record.Op]int{}, ids: map[string]int{}},
	}
}

func (m *image) take(chunk record.Chunk) {
	for _, b := range chunk.Batches {
		stream := b.Schema.Stream
		for row := range b.Rows {
			version, op := b.System.Versions.At(row), b.System.Op(row)
			m.ops[op]++
			if op == record.Truncate {
				if version.Compare(m.floor[stream]) > 0 {
					m.floor[stream] = version
				}
				continue
			}
			var key []string
			for _, k := range b.Schema.Key {
				key = append(key, string(record.AppendText(nil, &b.Schema.Fields[k], &b.Columns[k], row)))
			}
			name := stream + " " + strings.Join(key, ",")
			if had, ok := m.rows[name]; ok && had.version.Compare(version) >= 0 {
				continue
			}
			one := kept{version: version}
			if op != record.Delete {
				one.json = string(b.AppendJSON(nil, row))
			}
			m.rows[name] = one
		}
	}
	chunk.Release()
}

// of gives the rows of a stream, sorted.
func (m *image) of(stream string) (rows []string) {
	for name, k := range m.rows {
		if strings.HasPrefix(name, stream+" ") && k.json != "" && k.version.Compare(m.floor[stream]) >= 0 {
			rows = append(rows, k.json)
		}
	}
	slices.Sort(rows)
	return rows
}

// run reads all lanes until they have drained, or a lane was killed: most is after how many chunks of a lane, 0: never.
func (p *logged) run(t *testing.T, most int) {
	t.Helper()
	s := open(t, p.config, p.state)
	mysql.Sizes(s, p.chunk, 1000)
	mysql.PartRows(s, 500)
	s.Drain()
	for {
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		went := false
		for _, l := range lanes {
			if p.ended[l.ID] && l.Endless {
				more, err := s.More(t.Context(), l, p.at[l.ID])
				if err != nil {
					t.Fatal(err)
				}
				p.ended[l.ID] = !more
			}
			if p.ended[l.ID] || slices.ContainsFunc(l.After, func(id string) bool { return !p.ended[id] }) {
				continue
			}
			went = true
			if !p.lane(t, s, l, most) {
				return
			}
		}
		if !went {
			return
		}
	}
}

// lane reads a lane; false: it was killed.
func (p *logged) lane(t *testing.T, s sources.Source, l sources.Lane, most int) bool {
	t.Helper()
	r, err := s.Open(t.Context(), l, p.at[l.ID])
	if err != nil {
		p.failed, p.ended[l.ID] = err, true
		return true
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for n := 1; ; n++ {
		chunk, err := r.Read(t.Context())
		switch {
		case errors.Is(err, io.EOF):
			p.ended[l.ID] = true
			return true
		case err != nil:
			t.Fatalf("%s: %v", l.ID, err)
		}
		to := chunk.To
		p.image.take(chunk)
		if most > 0 && n == most { // written, and its position is not kept
			return false
		}
		p.at[l.ID] = to
		if err := r.Settle(context.WithoutCancel(t.Context()), to, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// stands gives the rows of a stream as the table has them now, sorted.
func (p *logged) stands(t *testing.T, stream string) (rows []string) {
	t.Helper()
	s := open(t, p.config, p.state)
	err := s.Scan(t.Context(), stream, sources.KeyRange{}, func(b *record.Batch) error {
		for row := range b.Rows {
			rows = append(rows, string(b.AppendJSON(nil, row)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows
}

func (p *logged) equal(t *testing.T, stream string) {
	t.Helper()
	if diff := cmp.Diff(p.stands(t, stream), p.image.of(stream)); diff != "" {
		t.Errorf("%s (-table +sink):\n%s", stream, diff)
	}
}

// typed is a table with every type, and rows with what is odd about each.
var typed = []string{
	"SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
	`CREATE TABLE types (id int PRIMARY KEY, t tinyint, tu tinyint unsigned, s smallint, su smallint unsigned, m mediumint, mu mediumint unsigned,
		i int, iu int unsigned, b bigint, bu bigint unsigned, f float, d double, n decimal(12,2), w decimal(38,10), free decimal(65,30), zf decimal(6,2) zerofill,
		bits bit(7), bits64 bit(64), day date, at datetime, at6 datetime(6), ts timestamp NULL, ts3 timestamp(3) NULL, dur time, dur3 time(3), dur6 time(6), dur1 time(1), y year,
		c char(5), vc varchar(20), latin varchar(20) CHARACTER SET latin1, wide varchar(20) CHARACTER SET utf16, tx text, bin binary(4), vb varbinary(8), bl blob,
		e enum('a','b,c','it''s','ñ') CHARACTER SET latin1, st set('x','y','z'), j json, u uuid, i6 inet6, g point, gs geometry, long_bin binary(255), long_char char(255))`,
	`INSERT INTO types VALUES (1, 1,1,1,1,1,1,1,1,1,1, 1.5, 2.5, 12.34, 1.5, 1.25, 1.5, b'101', 5, '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56.789012',
		'2024-02-29 12:34:56', '2024-02-29 12:34:56.789', '12:34:56', '-00:00:01.5', '-00:00:00.000001', '-01:02:03.9', 2024, 'ab  ', 'ñandú', 'ñ€ndú', 'ñ😀', 'texto', 0x00010000, 0x0102, 0x00ff,
		'it''s', 'x,z', '{"a": 1.0, "a": 2}', '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4', POINT(1,2), ST_GeomFromText('POINT(1 2)', 4326), 0x01, 'ñ ')`,
	`INSERT INTO types VALUES (2, 127,255,32767,65535,8388607,16777215,2147483647,4294967295,9223372036854775807,18446744073709551615, 3.4e38, 1.7e308,
		9999999999.99, 9999999999999999999999999999.9999999999, 99999999999999999999999999999999999.999999999999999999999999999999, 9999.99, b'1111111', 18446744073709551615,
		'9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999', '838:59:59', '838:59:59.999', '838:59:59.999999', '838:59:59.9', 2155,
		'ñññññ', repeat('€', 20), repeat('ÿ', 20), repeat('€', 20), repeat('x', 300), 0xffffffff, repeat(0xff, 8), repeat(0xfe, 300), 'b,c', 'x,y,z', '[]',
		'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', POINT(0,0), NULL, repeat(0xff, 255), repeat('€', 255))`,
	`INSERT INTO types VALUES (3, -128,0,-32768,0,-8388608,0,-2147483648,0,-9223372036854775808,0, -3.4e38, -1.7e308,
		-9999999999.99, -9999999999999999999999999999.9999999999, -0.000000000000000000000000000001, 0, b'0', 0,
		'0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.001', '-838:59:59', '-838:59:59.999', '-838:59:59.999999', '-838:59:59.9', 1901,
		'', '', '', '', '', '', '', '', '', '', 'null', '00000000-0000-0000-0000-000000000000', '::', POINT(-1,-1), NULL, '', '')`,
	`INSERT INTO types (id) VALUES (4)`,
	`INSERT INTO types (id, day, at, at6, ts, ts3, y) VALUES (5, '0000-00-00', '2025-00-15 01:02:03', '2024-02-31 01:02:03.5', 0, 0, 0)`,
	`INSERT INTO types (id, u, i6, n, w, free, dur3) SELECT 10 + seq, insert(insert(md5(seq), 13, 1, hex(seq % 16)), 17, 1, hex(seq DIV 16 % 16)), elt(1 + seq % 5, concat('::', hex(seq % 7), ':', hex(seq * 7 % 65536)), concat(hex(seq), ':0:1:', hex(seq), ':0:0:', hex(seq % 2), ':', hex(seq)), concat('::', hex(seq % 3)), concat(hex(seq), ':1:2:3:0:5:6:', hex(seq)), concat('0:0:0:0:0:ffff:', hex(seq), ':', hex(seq * 31))),
		seq * -12345.67, seq * 1234567890.0987654321, seq / 7, sec_to_time(seq * 1.234 - 150) FROM seq_1_to_256`,
}

// What the log tells of a row is byte for byte what a read of the table shows, for every type.
func TestLogIsAsTheBackfill(t *testing.T) {
	t.Parallel()
	database := server.Database(t, typed...)
	p := follow(database)
	p.run(t, 0)
	p.equal(t, "types")
	before := p.image.of("types")
	server.Exec(t, database, "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+05:00'", "CREATE TEMPORARY TABLE copy AS SELECT * FROM types",
		"DELETE FROM types", "INSERT INTO types SELECT * FROM copy")
	p.run(t, 0)
	if n := p.image.ops[record.Insert]; n != len(before) || p.image.ops[record.Delete] != n {
		t.Fatalf("the log gave %v for %d rows", p.image.ops, len(before))
	}
	if diff := cmp.Diff(before, p.image.of("types")); diff != "" {
		t.Errorf("(-backfill +log):\n%s", diff)
	}
}

// Writers change two tables while a pipeline reads them, and is killed after every few chunks: nothing is lost, and each change of the log has
// one version.
func TestLogSurvivesKills(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE orders (id int PRIMARY KEY, v varchar(50), n int)", "CREATE TABLE parts (a int, b varchar(20), v text, PRIMARY KEY (a, b))",
		"INSERT INTO orders SELECT seq, concat('v', seq), 0 FROM seq_1_to_2000", "INSERT INTO parts SELECT seq % 50, concat('b', seq), 'x' FROM seq_1_to_1000")
	p := follow(database)
	p.chunk = 100
	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for seed := range 3 {
		writers.Go(func() { writeLog(writing, t, database, uint64(seed)) })
	}
	late := time.Now().Add(6 * time.Second)
	for n := 1; time.Now().Before(late); n++ {
		p.run(t, 1+n%4)
	}
	stop()
	writers.Wait()
	p.run(t, 0)
	p.equal(t, "orders")
	p.equal(t, "parts")
	if ops := p.image.ops; ops[record.Snapshot] < 3000 || ops[record.Update] == 0 || ops[record.Delete] == 0 || ops[record.Insert] == 0 {
		t.Errorf("what was given: %v", ops)
	}
}

// writeLog changes rows in transactions until ctx ends: some that change many, some that are rolled back, keys that change.
func writeLog(ctx context.Context, t *testing.T, database string, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test
	c, err := server.Connect(database)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Quit() }()
	for n := 0; ctx.Err() == nil; n++ {
		id := r.IntN(3000)
		sql := []string{"BEGIN"}
		for range 1 + r.IntN(4) {
			switch r.IntN(7) {
			case 0:
				sql = append(sql, fmt.Sprintf("DELETE FROM orders WHERE id = %d", id))
			case 1:
				sql = append(sql, fmt.Sprintf("UPDATE orders SET n = n + 1 WHERE id BETWEEN %d AND %d", id, id+300))
			case 2:
				sql = append(sql, fmt.Sprintf("UPDATE IGNORE parts SET b = 'moved%d' WHERE a = %d LIMIT 2", n%7, id%50))
			case 3:
				sql = append(sql, fmt.Sprintf("UPDATE IGNORE orders SET id = %d WHERE id = %d", r.IntN(3000), id))
			case 4:
				sql = append(sql, fmt.Sprintf("REPLACE INTO parts VALUES (%d, 'w%d', repeat('y', %d))", id%50, n%100, r.IntN(5000)))
			default:
				sql = append(sql, fmt.Sprintf("INSERT INTO orders VALUES (%d, 'w%d', %d) ON DUPLICATE KEY UPDATE v = VALUES(v), n = VALUES(n)", id, n, n))
			}
		}
		sql = append(sql, []string{"COMMIT", "COMMIT", "ROLLBACK"}[r.IntN(3)])
		for _, one := range sql {
			if _, err := c.Execute(one); err != nil && !strings.Contains(err.Error(), "eadlock") {
				t.Errorf("%s: %v", one, err)
				return
			}
		}
	}
}

// plain gives JSON objects without what is null, and without the columns that the table has no more.
func plain(t *testing.T, rows []string, columns map[string]bool) string {
	t.Helper()
	var out []string
	for _, row := range rows {
		var one map[string]any
		if err := json.Unmarshal([]byte(row), &one); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(one, func(name string, v any) bool { return v == nil || !columns[name] })
		out = append(out, fmt.Sprint(one))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
