package parquettest

import (
	"fmt"
	"math/rand/v2"

	"github.com/acequia-io/acequia/record"
)

// System says which system columns a table has.
type System uint8

// The kinds of system columns: none; those of a snapshot, with one version and one event time a batch; those of a log.
const (
	NoSystem System = iota
	Snapshot
	Log
)

// Lineitem is partitioned by the days of ShipDate, FirstDay and those after it.
const (
	ShipDate = 10
	FirstDay = 8036
	Days     = 2526
)

// Table makes batches of one of two tables, the same for the same calls.
type Table struct {
	Fields []record.Field

	r      *rand.Rand
	fill   func(c []record.Column, rows int)
	system System
	batch  int64

	order, day, lines, line int   // lineitem
	id                      int64 // orders
	number                  uint64
	index, size             uint32 // of the transaction
	time                    int64
}

// NewLineitem is the table of TPC-H: 16 columns.
func NewLineitem(system System) *Table {
	money := func(name string) record.Field {
		return record.Field{Name: name, Kind: record.Decimal, Precision: 15, Scale: 2}
	}
	t := newTable(system, []record.Field{
		{Name: "l_orderkey", Kind: record.Int64},
		{Name: "l_partkey", Kind: record.Int64},
		{Name: "l_suppkey", Kind: record.Int64},
		{Name: "l_linenumber", Kind: record.Int32},
		money("l_quantity"), money("l_extendedprice"), money("l_discount"), money("l_tax"),
		{Name: "l_returnflag", Kind: record.String},
		{Name: "l_linestatus", Kind: record.String},
		{Name: "l_shipdate", Kind: record.Date},
		{Name: "l_commitdate", Kind: record.Date, Nullable: true},
		{Name: "l_receiptdate", Kind: record.Date},
		{Name: "l_shipinstruct", Kind: record.String},
		{Name: "l_shipmode", Kind: record.String},
		{Name: "l_comment", Kind: record.String, Nullable: true},
	})
	t.fill = t.lineitem
	return t
}

// NewOrders is a table of 12 columns and 128 bytes a row.
func NewOrders(system System) *Table {
	t := newTable(system, []record.Field{
		{Name: "id", Kind: record.Int64},
		{Name: "user_id", Kind: record.Int64},
		{Name: "created_at", Kind: record.Timestamp},
		{Name: "updated_at", Kind: record.Timestamp},
		{Name: "status", Kind: record.String},
		{Name: "country", Kind: record.String},
		{Name: "amount", Kind: record.Decimal, Precision: 12, Scale: 2},
		{Name: "price", Kind: record.Float64},
		{Name: "qty", Kind: record.Int32},
		{Name: "email", Kind: record.String},
		{Name: "note", Kind: record.String, Nullable: true},
		{Name: "discount", Kind: record.Float64, Nullable: true},
	})
	t.fill = t.orders
	return t
}

func newTable(system System, fields []record.Field) *Table {
	if system != NoSystem {
		fields = append(fields,
			record.Field{Name: "_op", Kind: record.String}, record.Field{Name: "_version", Kind: record.VersionText},
			record.Field{Name: "_event_id", Kind: record.String, Nullable: true}, record.Field{Name: "_source", Kind: record.String},
			record.Field{Name: "_event_ts", Kind: record.Timestamp}, record.Field{Name: "_ingest_ts", Kind: record.Timestamp})
	}
	return &Table{
		Fields: fields, system: system, r: rand.New(rand.NewPCG(7, 7)), //nolint:gosec // the same every time
		number: 0x16B3748 << 8, time: 1_763_800_000_000_000,
	}
}

// Next gives a batch.
func (t *Table) Next(rows int) []record.Column {
	c := make([]record.Column, len(t.Fields))
	t.fill(c, rows)
	if t.system != NoSystem {
		t.systemColumns(c[len(c)-6:], rows)
	}
	t.batch++
	return c
}

func (t *Table) systemColumns(c []record.Column, rows int) {
	ingest := 1_763_800_000_000_000 + t.batch*20_000
	op := "R"
	if t.system == Log {
		op = "I"
	}
	c[0] = record.Constant(op)
	c[1] = record.Column{Versions: record.One(record.Version{Epoch: 1, Lo: 0x16B374800}), Const: true}
	c[2] = record.Column{Offsets: []uint32{0, 0}, Valid: []uint64{0}, Const: true}
	c[3] = record.Constant("postgresql.shop.lineitem")
	c[4] = record.Column{Ints: []int64{ingest - 5000}, Const: true}
	c[5] = record.Column{Ints: []int64{ingest}, Const: true}
	if t.system != Log {
		return
	}
	v, times := record.Versions{Epoch: 1}, []int64(nil)
	for range rows {
		if t.index >= t.size {
			t.index, t.size = 0, uint32(1+t.r.IntN(9)) //nolint:gosec // few
			t.number += uint64(100 + t.r.IntN(900))    //nolint:gosec // positive
			t.time += int64(t.r.IntN(3000))
		}
		v.Lo, v.Index, times = append(v.Lo, t.number), append(v.Index, t.index), append(times, t.time)
		t.index++
	}
	c[1], c[4] = record.Column{Versions: v}, record.Column{Ints: times}
}

func add(c *record.Column, v int) { c.Ints = append(c.Ints, int64(v)) }

func addText(c *record.Column, v string) { c.AppendText([]byte(v)) }

func one(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

func (t *Table) lineitem(c []record.Column, rows int) {
	words := []string{
		"furiously", "carefully", "quickly", "blithely", "express", "regular", "final", "ironic", "pending", "special", "deposits",
		"requests", "accounts", "packages", "theodolites", "instructions", "foxes", "pinto beans", "asymptotes", "dependencies",
		"sleep", "wake", "nag", "haggle", "detect", "above the", "against the", "among the", "slyly", "even",
	}
	instruct := []string{"DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"}
	mode := []string{"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"}
	r := t.r
	for i := range rows {
		if t.line >= t.lines {
			t.order++
			t.day, t.lines, t.line = r.IntN(2406), 1+r.IntN(7), 0
		}
		t.line++
		part, quantity := 1+r.IntN(200_000), 1+r.IntN(50)
		ship := t.day + 1 + r.IntN(121)
		receipt := ship + 1 + r.IntN(30)
		add(&c[0], t.order/8*32+t.order%8)
		add(&c[1], part)
		add(&c[2], 1+(part+t.line*(2500+(part-1)/10_000))%10_000)
		add(&c[3], t.line)
		add(&c[4], quantity*100)
		add(&c[5], quantity*(90_000+(part/10)%20_001+100*(part%1000)))
		add(&c[6], r.IntN(11))
		add(&c[7], r.IntN(9))
		flag, status := "N", "O"
		if receipt < 1263 {
			flag = one(r, []string{"R", "A"})
		}
		if ship < 1263 {
			status = "F"
		}
		addText(&c[8], flag)
		addText(&c[9], status)
		add(&c[10], FirstDay+ship)
		add(&c[11], FirstDay+t.day+30+r.IntN(61))
		if r.IntN(50) == 0 {
			c[11].Ints[i] = 0
			c[11].SetNull(i)
		}
		add(&c[12], FirstDay+receipt)
		addText(&c[13], one(r, instruct))
		addText(&c[14], one(r, mode))
		t.comment(&c[15], i, words)
	}
	for _, k := range []int{11, 15} {
		full(&c[k], rows)
	}
}

func (t *Table) comment(c *record.Column, row int, words []string) {
	if t.r.IntN(20) == 0 {
		c.AppendText(nil)
		c.SetNull(row)
		return
	}
	var text []byte
	length := 10 + t.r.IntN(34)
	for len(text) < length {
		text = append(append(text, one(t.r, words)...), ' ')
	}
	c.AppendText(text[:length])
}

// full makes the bitmap cover all rows.
func full(c *record.Column, rows int) {
	for c.Valid != nil && len(c.Valid)*64 < rows {
		c.Valid = append(c.Valid, ^uint64(0))
	}
}

func (t *Table) orders(c []record.Column, rows int) {
	status := []string{"new", "paid", "shipped", "delivered", "cancelled"}
	country := []string{"ES", "MX", "AR", "CO", "US", "FR", "DE", "PE", "CL", "BR"}
	r := t.r
	for i := range rows {
		at := 1_704_067_200_000_000 + t.id*7_000_000
		t.id++
		c[0].Ints = append(c[0].Ints, t.id)
		add(&c[1], r.IntN(500_000))
		c[2].Ints = append(c[2].Ints, at)
		c[3].Ints = append(c[3].Ints, at+r.Int64N(30*86400*1e6))
		addText(&c[4], one(r, status))
		addText(&c[5], one(r, country))
		add(&c[6], r.IntN(1_000_000))
		c[7].Floats = append(c[7].Floats, r.Float64()*1000)
		add(&c[8], r.IntN(10))
		addText(&c[9], fmt.Sprintf("user%d@example.com", r.IntN(500_000)))
		if r.Float64() > 0.3 {
			addText(&c[10], fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()))
		} else {
			addText(&c[10], "")
			c[10].SetNull(i)
		}
		c[11].Floats = append(c[11].Floats, r.Float64())
		if r.Float64() <= 0.5 {
			c[11].Floats[i] = 0
			c[11].SetNull(i)
		}
	}
	for _, k := range []int{10, 11} {
		full(&c[k], rows)
	}
}
