//go:build cgo

package oracle

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
)

// mariaDB is a database of MariaDB.
type mariaDB struct {
	server  *mysqltest.Server
	name    string
	conn    *client.Conn
	control *client.Conn
}

func onMariaDB(s *mysqltest.Server) engine {
	return engine{
		name: "mariadb", seeds: 1, subjects: mariaSubjects(), keyless: "loose",
		strategies: []strategy{
			{name: "log", deletes: true},
			{name: "queue", installed: true, deletes: true},
			{name: "time"},
		},
		create: func(t *testing.T, of strategy, _ uint64) (database, string) {
			t.Helper()
			m := &mariaDB{server: s, name: s.Database(t)}
			m.conn, m.control = m.connect(t), m.connect(t)
			return m, fmt.Sprintf(`type: mysql, dsn: %q, capture: { strategy: %s, every: 100ms, margin: 1s, snapshot_every: 1s }`, s.DSN(m.name), of.name)
		},
	}
}

func (m *mariaDB) connect(t *testing.T) *client.Conn {
	t.Helper()
	c, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Quit() })
	return c
}

// open begins a session whose times are in UTC.
func (m *mariaDB) open() (*client.Conn, error) {
	c, err := m.server.Connect(m.name)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{"set names utf8mb4", "set time_zone = '+00:00'", "set lock_wait_timeout = 3", "set innodb_lock_wait_timeout = 3"} {
		if _, err := c.Execute(sql); err != nil {
			_ = c.Quit()
			return nil, err
		}
	}
	return c, nil
}

// mariaSubjects are the tables that the writers change. Keys of pairs that differ in letters alone are the same to the server.
func mariaSubjects() []subject {
	return []subject{
		{name: "accounts", key: []string{"id"}},
		{name: "pairs", key: []string{"region", "n"}},
		{name: "counters", key: []string{"id"}},
		{name: "scratch", key: []string{"id"}},
		{name: "shifting", key: []string{"id"}},
		{name: "parted", key: []string{"id"}},
		{name: "loose"},
	}
}

const mariaDDL = `
create table accounts (id bigint primary key, v bigint not null, body longtext, price decimal(12,2), open boolean, TIME);
create table pairs (region varchar(10) collate utf8mb4_general_ci, n int, v bigint not null, note text, TIME, primary key (region, n));
create table counters (id int primary key, v bigint not null, TIME);
create table scratch (id bigint primary key, v bigint not null, TIME);
create table shifting (id bigint primary key, v bigint not null, colour text, TIME);
create table parted (id bigint primary key, v bigint not null, TIME) partition by key (id) partitions 2;
create table loose (v bigint not null, word text);
insert into accounts (id, v, body, price, open) select seq, -seq, if(seq %% 7 = 0, repeat(md5(seq), 200), null), seq / 4, seq %% 3 = 0 from seq_1_to_%d;
insert into pairs (region, n, v, note) select r.word, seq, -seq, concat(r.word, seq) from (select 'east' word union select 'north' union select 'Süd' union select 'west') r, seq_1_to_%d;
insert into counters (id, v) select seq, -seq from seq_1_to_%d;
insert into shifting (id, v, colour) select seq, -seq, 'red' from seq_1_to_%d;
insert into parted (id, v) select seq, -seq from seq_1_to_%d;
insert into loose select seq div 2, concat('word ', seq div 2) from seq_1_to_100`

func (m *mariaDB) lay(context.Context) error {
	const column = "updated_at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6)"
	text := strings.ReplaceAll(fmt.Sprintf(mariaDDL, accountKeys/2, pairKeys/2, counterKeys, shiftingKeys, partedKeys/2), "TIME", column)
	for sql := range strings.SplitSeq(text, ";\n") {
		if _, err := m.conn.Execute(sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	for _, s := range mariaSubjects() {
		if len(s.key) == 0 {
			continue
		}
		if _, err := m.conn.Execute("create index touched on " + s.name + " (updated_at)"); err != nil {
			return fmt.Errorf("make an index: %w", err)
		}
	}
	return nil
}

// held gives each value as the server writes it.
func (m *mariaDB) held(_ context.Context, s subject) (held, error) {
	found, err := m.conn.Execute("select column_name from information_schema.columns where table_schema = database() and table_name = ? order by ordinal_position", s.name)
	if err != nil {
		return held{}, err
	}
	var columns, casts []string
	for i := range found.RowNumber() {
		name, err := found.GetString(i, 0)
		if err != nil {
			return held{}, err
		}
		columns, casts = append(columns, name), append(casts, "cast(`"+name+"` as char)")
	}
	found, err = m.conn.Execute("select " + strings.Join(casts, ", ") + " from " + s.name)
	if err != nil {
		return held{}, err
	}
	rows := make([]row, found.RowNumber())
	for i := range rows {
		values := make([]*string, len(columns))
		for c := range columns {
			if null, err := found.IsNull(i, c); err != nil {
				return held{}, err
			} else if null {
				continue
			}
			text, err := found.GetString(i, c)
			if err != nil {
				return held{}, err
			}
			values[c] = &text
		}
		rows[i] = rowOf(columns, values)
	}
	return hold(s, columns, rows)
}

// mariaTime is how a time is written.
const mariaTime = "2006-01-02 15:04:05.999999"

func (m *mariaDB) changed(_ context.Context, after time.Time) ([]sight, error) {
	found, err := m.control.Execute("select id, v, cast(updated_at as char) from accounts where updated_at > '" + after.UTC().Format(mariaTime) + "' order by updated_at")
	if err != nil {
		return nil, err
	}
	all := make([]sight, found.RowNumber())
	for i := range all {
		id, err1 := found.GetInt(i, 0)
		v, err2 := found.GetInt(i, 1)
		text, err3 := found.GetString(i, 2)
		at, err4 := time.Parse(mariaTime, text)
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				return nil, err
			}
		}
		all[i] = sight{id, v, at}
	}
	return all, nil
}
