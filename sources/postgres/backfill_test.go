package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources/postgres"
)

func TestATableIsReadWholeInParts(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t,
		`create table ordered (id bigint primary key, v text)`, `insert into ordered select i * 3, 'v' || i from generate_series(1, 25000) i`,
		`create table scattered (id uuid primary key, v int)`,
		`insert into scattered select md5(i::text)::uuid, i from generate_series(1, 22000) i`,
		`create table "Select" ("From" text collate "de-x-icu", "Order By" int, "x""y" int generated always as ("Order By" * 2) stored, primary key ("From", "Order By"))`,
		`insert into "Select" select repeat(chr(97 + i % 26), i % 5) || i % 100, i from generate_series(1, 3000) i`,
		`create table empty (id int primary key)`,
		`create table days (day date, n int, primary key (day, n)) partition by range (day)`,
		`create table days_a partition of days for values from ('2026-01-01') to ('2026-02-01')`,
		`create table days_b partition of days for values from ('2026-02-01') to ('2026-03-01')`,
		`insert into days select date '2026-01-01' + i % 59, i from generate_series(1, 2000) i`,
		`create table wide (id int primary key, v text); alter table wide alter v set storage plain`, // 80 MB: all lanes have some of it
		`insert into wide select i, repeat('x', 7000) from generate_series(1, 10000) i`,
		`analyze`)
	s := open(t, postgres.Config{DSN: config.Secret(dsn), Capture: postgres.Capture{Strategy: "auto"}}, newNotes())
	postgres.PartRows(s, 10_000)
	r := newReads(s)
	r.all(t)
	if f := r.failures(); f != "" {
		t.Fatal(f)
	}
	for stream, want := range map[string]int{"ordered": 25000, "scattered": 22000, "Select": 3000, "empty": 0, "days": 2000, "wide": 10000} {
		rows := slices.Sorted(slices.Values(r.rows[stream]))
		if n := len(slices.Compact(rows)); n != want || n != len(r.rows[stream]) {
			t.Errorf("%s: %d rows, %d different, want %d", stream, len(r.rows[stream]), n, want)
		}
	}
	parts := map[string]int{}
	for id := range r.ended {
		stream, _, _ := strings.Cut(id, "@")
		parts[stream]++
	}
	if fmt.Sprint(parts) != "map[Select:1 days:1 empty:1 ordered:3 scattered:3 wide:2]" {
		t.Error(parts)
	}
}
