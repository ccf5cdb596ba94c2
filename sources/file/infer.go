package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// sampleBytes bounds what is read for a sample.
const sampleBytes = 64 << 20

// The kinds that the values of a column may all have.
const (
	maybeBool = 1 << iota
	maybeInt
	maybeDecimal
	maybeFloat
	maybeDate
	maybeTime
	maybeLocal
	maybeAny = 1<<iota - 1
)

// guess is what is known of a column's values.
type guess struct {
	name  string
	can   int
	some  bool // there was a value
	whole int  // digits before the point
	scale int  // digits behind it
}

// see takes one more value into account.
func (g *guess) see(can int) {
	g.some = true
	g.can &= can
}

// field gives the narrowest type that holds all values without loss.
func (g *guess) field() record.Field {
	f := record.Field{Name: g.name, Nullable: true, Kind: record.String}
	switch {
	case !g.some:
	case g.can&maybeBool != 0:
		f.Kind = record.Bool
	case g.can&maybeInt != 0:
		f.Kind = record.Int64
	case g.can&maybeDecimal != 0 && g.whole+g.scale <= 38:
		f.Kind, f.Scale, f.Precision = record.Decimal, g.scale, 38
		if g.whole+2+g.scale <= record.NarrowDigits { // later values may be greater
			f.Precision = record.NarrowDigits
		}
	case g.can&maybeFloat != 0 && g.can&maybeDecimal == 0:
		f.Kind = record.Float64
	case g.can&maybeDate != 0:
		f.Kind = record.Date
	case g.can&maybeTime != 0:
		f.Kind = record.Timestamp
	case g.can&maybeLocal != 0:
		f.Kind = record.LocalTimestamp
	}
	return f
}

// text sees the text of a CSV field.
func (g *guess) text(v []byte) {
	switch {
	case len(v) <= 5 && (bytes.EqualFold(v, []byte("true")) || bytes.EqualFold(v, []byte("false"))):
		g.see(maybeBool)
	case g.number(v):
	default:
		g.time(v)
	}
}

// time sees a text that is no number.
func (g *guess) time(v []byte) {
	if _, ok := parseDate(v); ok {
		g.see(maybeDate)
		return
	}
	if _, ok := parseTime(v, true); ok {
		g.see(maybeTime)
		return
	}
	if _, ok := parseTime(v, false); ok {
		g.see(maybeLocal)
		return
	}
	g.see(0)
}

// Digits that a float64 surely keeps, of a whole number and of another.
const (
	floatWhole = 15
	floatAll   = 17
)

// number sees a number, if it is one. What would be written in another way when it is read back, such as 007, is none.
func (g *guess) number(v []byte) bool {
	n, ok := takeApart(v)
	if !ok || v[0] == '+' {
		return false
	}
	mantissa, _, exponent := bytes.Cut(bytes.TrimPrefix(v, []byte{'-'}), []byte{'e'})
	if !exponent {
		mantissa, _, exponent = bytes.Cut(mantissa, []byte{'E'})
	}
	whole, fraction, pointed := bytes.Cut(mantissa, []byte{'.'})
	if len(whole) > 1 && whole[0] == '0' || pointed && len(fraction) == 0 {
		return false
	}
	if exponent || n.negative && n.count == 0 { // minus zero is a float
		g.see(maybeFloat)
		return true
	}
	g.whole, g.scale = max(g.whole, len(whole)), max(g.scale, len(fraction))
	can := maybeDecimal
	if !pointed {
		if _, ok := parseInt(v); ok {
			can |= maybeInt
		}
		if len(whole) <= floatWhole {
			can |= maybeFloat
		}
	} else if len(whole)+len(fraction) <= floatAll {
		can |= maybeFloat
	}
	g.see(can)
	return true
}

// json sees a member of an NDJSON object.
func (g *guess) json(kind record.JSONKind, text []byte) {
	switch kind {
	case record.JSONNull:
	case record.JSONBool:
		g.see(maybeBool)
	case record.JSONNumber:
		g.number(text)
	case record.JSONString:
		g.time(text)
	default:
		g.see(0)
	}
}

// infer gives the columns of the first file that has records, with types that fit a sample from its beginning.
func (s *Source) infer(ctx context.Context, inputs []*input) ([]record.Field, error) {
	var fields []record.Field
	for _, in := range inputs {
		if in.format == formatParquet {
			return s.parquetFields(in)
		}
		guesses, rows, err := s.sample(ctx, in)
		if err != nil {
			return nil, err
		}
		if rows > 0 || fields == nil {
			fields = nil
			for i := range guesses {
				fields = append(fields, guesses[i].field())
			}
		}
		if rows > 0 {
			return fields, nil
		}
	}
	if len(fields) == 0 {
		return nil, stop(codeNoSample, s.config.Path, "declare a schema, or wait for files that hold records",
			errors.New("there is no record that types could be inferred from"))
	}
	return fields, nil
}

// sample looks at the first records of a text.
func (s *Source) sample(ctx context.Context, in *input) (guesses []guess, rows int, err error) {
	t, err := s.open(in, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	w := newWindow(t, s.record)
	look := sampler(&jsonSample{places: map[string]int{}})
	if in.format == formatCSV {
		c := newCSV(in.delimiter, 0)
		if !s.config.NoHeader {
			c, err = s.headerOf(ctx, w, in)
			if err != nil || c == nil {
				return nil, 0, err
			}
		}
		look = newCSVSample(c)
	}
	if w.at() == 0 {
		if err := passMark(w, in.name()); err != nil {
			return nil, 0, err
		}
	}
	for rows < s.config.Sample && w.at() < sampleBytes {
		p := look.see(w.rest(), w.done && w.err == nil)
		w.pos += p.n
		switch {
		case p.row:
			rows++
		case p.n > 0:
		case w.done && w.err != nil && rows == 0:
			return nil, 0, damaged(in, 0, w.err)
		case w.done || w.full():
			return look.guesses(), rows, nil
		default:
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			w.fill()
		}
	}
	return look.guesses(), rows, nil
}

// sampler looks at records. Those that are none are passed over: they are dead letters when they are read.
type sampler interface {
	see(buf []byte, last bool) piece
	guesses() []guess
}

type csvSample struct {
	*csv
	all []guess
}

func newCSVSample(c *csv) *csvSample {
	s := &csvSample{csv: c}
	for _, name := range c.names {
		s.all = append(s.all, guess{name: schemas.ColumnName(name), can: maybeAny})
	}
	return s
}

func (s *csvSample) guesses() []guess { return s.all }

func (s *csvSample) see(buf []byte, last bool) piece {
	p, err := s.split(buf, last)
	if err == nil && p.row && s.names == nil { // no header: the first record tells how many columns there are
		for i := range s.count {
			s.names = append(s.names, fmt.Sprintf("column_%d", i+1))
			s.all = append(s.all, guess{name: s.names[i], can: maybeAny})
		}
		s.fields = make([]span, s.count)
		p, err = s.split(buf, last)
	}
	if p.row = p.row && err == nil && s.count == len(s.all); !p.row {
		return p
	}
	for i, f := range s.fields[:s.count] {
		v := buf[f.lo:f.hi]
		switch {
		case len(v) == 0 && !f.quoted:
		case f.doubled:
			s.all[i].see(0)
		default:
			s.all[i].text(v)
		}
	}
	return p
}

type jsonSample struct {
	all    []guess
	places map[string]int // by the name in the file
}

func (s *jsonSample) guesses() []guess { return s.all }

func (s *jsonSample) see(buf []byte, last bool) piece {
	end := bytes.IndexByte(buf, '\n')
	line, p := buf, piece{n: len(buf)}
	switch {
	case end >= 0:
		line, p.n = buf[:end], end+1
	case !last:
		return piece{}
	}
	nothing := func([]byte, record.JSONKind, []byte) error { return nil }
	if record.EachMember(line, nothing) != nil { // also a blank line
		return p
	}
	p.row = true
	_ = record.EachMember(line, func(name []byte, kind record.JSONKind, text []byte) error {
		i, ok := s.places[string(name)]
		if !ok {
			i = s.place(string(name))
		}
		s.all[i].json(kind, text)
		return nil
	})
	return p
}

func (s *jsonSample) place(name string) int {
	folded := schemas.ColumnName(name)
	i, ok := s.places[folded]
	if !ok {
		i = len(s.all)
		s.all = append(s.all, guess{name: folded, can: maybeAny})
	}
	s.places[folded], s.places[name] = i, i
	return i
}
