package postgres

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// fuzzed are codecs of every op, nested ones of several shapes.
func fuzzed() []codec {
	scalar := func(name string) *Type { return &Type{Schema: "pg_catalog", Name: name, Class: 'b', Modifier: -1} }
	list := func(t *Type) *Type { return &Type{Schema: "pg_catalog", Name: "_", Class: 'b', Element: t} }
	number := scalar("numeric")
	number.Modifier = 6<<16 | 2 + 4
	row := &Type{Schema: "public", Name: "row", Class: 'c', Members: []Member{
		{"a", *scalar("int4")}, {"b", *scalar("text")}, {"c", *number}, {"d", *list(scalar("timestamptz"))},
	}}
	types := []*Type{
		number, list(number), list(scalar("text")), list(scalar("bool")), row, list(row),
		{Schema: "public", Name: "hstore", Class: 'b'},
		{Schema: "public", Name: "geometry", Class: 'b'},
		scalar("inet"), list(scalar("inet")), list(list(scalar("int2"))), scalar("char"),
	}
	for _, modifier := range []int32{-1, 38<<16 | 10 + 4, 18<<16 | 18 + 4, 5<<16 | 0x7fe + 4, 3<<16 | 5 + 4, 40<<16 | 2 + 4} {
		n := scalar("numeric")
		n.Modifier = modifier
		types = append(types, n)
	}
	for _, name := range []string{
		"bool", "int2", "int4", "int8", "oid", "xid8", "float4", "float8", "text", "jsonb", "bytea", "date", "timestamp", "timestamptz", "time", "timetz",
		"interval", "uuid", "pg_lsn",
	} {
		types = append(types, scalar(name))
	}
	all := make([]codec, 0, 2*len(types))
	for _, t := range types {
		c := codecOf(t)
		all = append(all, c, c.verified())
	}
	return all
}

// decoded runs a decoder on bytes that nobody vouches for, and checks what holds whatever they are.
func decoded(t *testing.T, c *codec, v []byte, decode func(*record.Column, []byte, int) error) (*record.Column, error) {
	t.Helper()
	var dst record.Column
	dst.Prepare(&c.field)
	err := decode(&dst, v, 0)
	want := 1
	if err != nil {
		want = 0
	}
	if got := slotsOf(t, &c.field, &dst); got != want {
		t.Fatalf("%d slots after %v", got, err)
	}
	if size := dst.Size(); size > 64*len(v)+4096+(len(v)/numericHead+1)*150_000 { // a numeric of ten bytes may have 131,072 digits
		t.Fatalf("%d bytes of memory for %d bytes", size, len(v))
	}
	if err != nil { // nothing was left behind: the next value is in its place
		dst.AppendZero(&c.field)
		dst.SetNull(0)
	}
	dst.Pad(&c.field, 1)
	s, failed := record.NewSchema("s", nil, named(c.field, "c", true))
	if failed != nil {
		t.Fatal(failed)
	}
	b, failed := record.NewBatch(s, 1, []record.Column{dst}, record.System{}, nil)
	if failed != nil {
		t.Fatal(failed)
	}
	_ = b.AppendJSON(nil, 0)
	return &dst, err
}

// slotsOf counts the slots of a column; those of all members of a struct are the same.
func slotsOf(t *testing.T, f *record.Field, c *record.Column) int {
	t.Helper()
	n := c.Slots(f)
	for i := range f.Fields {
		if members := slotsOf(t, &f.Fields[i], &c.Children[i]); f.Kind == record.Struct && members != n {
			t.Fatalf("member %s has %d slots of %d", f.Fields[i].Name, members, n)
		}
	}
	return n
}

func FuzzBinary(f *testing.F) {
	all := fuzzed()
	for i := range all {
		for _, seed := range []string{
			"", "\x00", "\x00\x00\x00\x01", "\x00\x02\x00\x01\x40\x00\x00\x02\x00\x01\x0d\x80", "\x7f\xff\xff\xff\xff\xff\xff\xff",
			"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x05", "\x01{}", "\x00\x00\x00\x00\xc0\x00\x00\x00",
			"\x00\x00\x00\x01\x00\x00\x00\x01a\xff\xff\xff\xff", "\x00\x00\x00\x04" + "\x00\x00\x00\x17\xff\xff\xff\xff" + "\x00\x00\x00\x19\x00\x00\x00\x00" + "\x00\x00\x06\xa4\xff\xff\xff\xff" + "\x00\x00\x00\x00\xff\xff\xff\xff",
		} {
			f.Add(uint8(i), []byte(seed)) //nolint:gosec // few
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, v []byte) {
		c := &all[int(which)%len(all)]
		got, err := decoded(t, c, v, c.binary)
		text, unprintable := c.render(nil, v)
		if errors.Is(err, gather.ErrOdd) && unprintable != nil && len(c.parts) == 0 { // the parts of what is odd as a whole are not looked at
			t.Fatalf("it cannot be held, and not be printed: %v", unprintable)
		}
		if err != nil || c.op == opNumeric || c.cast {
			return
		}
		again, err := decoded(t, c, text, c.text) // what is printed reads as the same
		if err != nil {
			if c.op == opText || c.op == opList || c.op == opStruct || c.op == opHstore || c.op >= opTime || c.op == opNarrow || c.op == opWide {
				return // the server sends none such: a time of 30 hours, digits above 9999, zero in a text
			}
			t.Fatalf("%q is printed as %q: %v", v, text, err)
		}
		if c.field.Kind == record.Date || c.field.Kind == record.Timestamp || c.field.Kind == record.Int64 || c.field.Kind == record.Int32 {
			if got.Ints[0] != again.Ints[0] {
				t.Fatalf("%q is printed as %q and read as %d, not %d", v, text, again.Ints[0], got.Ints[0])
			}
		}
	})
}

func FuzzText(f *testing.F) {
	all := fuzzed()
	for i := range all {
		for _, seed := range []string{
			"", "t", "-1", "12.30", "NaN", "infinity", "2026-01-02", "2026-01-02 03:04:05.6+00", "0044-03-15 BC", "{}", "{1,NULL}", `{"a\"b",c}`, "[0:1]={1,2}",
			"{{1}}", `(1,"a ""b""",,"{}")`, "()", `"a"=>"b", "c"=>NULL`, `\x00ff`, "00ff", "1e400", "{", "}", `{"`, `("`, `"`, `{(1\\,,,)}`,
		} {
			f.Add(uint8(i), []byte(seed)) //nolint:gosec // few
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, v []byte) {
		c := &all[int(which)%len(all)]
		_, _ = decoded(t, c, v, c.text)
	})
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

func (s *said) Write(p []byte) (int, error) { return len(p), nil }

// A message that is no row and says that it has a GiB is refused before memory is taken for it.
func TestMessageLongerThanAny(t *testing.T) { //nolint:paralleltest // it counts what is allocated
	l, err := NewLayout(&Table{Schema: "public", Name: "t", Columns: []Column{{Name: "a", Type: Type{OID: 23, Schema: "pg_catalog", Name: "int4", Class: 'b', Modifier: -1}}}}, LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = Replay(&said{left: binary.BigEndian.AppendUint32([]byte{'T'}, 1<<30)}, l.Decoder())
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errMalformed) || after.TotalAlloc-before.TotalAlloc > 1<<26 {
		t.Errorf("%d bytes were taken: %v", after.TotalAlloc-before.TotalAlloc, err)
	}
}

// FuzzMessages reads bytes that nobody vouches for as what a server says.
func FuzzMessages(f *testing.F) {
	table := &Table{Schema: "public", Name: "t", Columns: []Column{
		{Name: "a", Type: Type{OID: 23, Schema: "pg_catalog", Name: "int4", Class: 'b', Modifier: -1}},
		{Name: "b", Type: Type{OID: 25, Schema: "pg_catalog", Name: "text", Class: 'b', Modifier: -1}},
	}}
	row := []byte("D\x00\x00\x00\x13\x00\x02\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x01x")
	f.Add(append(row, "Z\x00\x00\x00\x05I"...))
	f.Add([]byte("D\x00\x00\x00\x06\x00\x02"))
	f.Add([]byte("E\x00\x00\x00\x05\x00Z\x00\x00\x00\x05E"))
	f.Add([]byte("T\x00\x00\x00\x06\x00\x00"))
	f.Add(binary.BigEndian.AppendUint32([]byte{'D'}, 1<<31))
	f.Add(binary.BigEndian.AppendUint32([]byte{'D'}, 1<<20))
	f.Fuzz(func(t *testing.T, v []byte) {
		l, err := NewLayout(table, LayoutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d := l.Decoder()
		_ = Replay(&said{left: v}, d)
		batches, err := d.Batches(Nothing)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			for row := range b.Rows {
				_ = b.AppendJSON(nil, row)
			}
		}
	})
}
