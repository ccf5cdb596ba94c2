package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// Images reads the rows of a table as the binary log has them, into the values that a query would send: the same codecs read both. How a
// column is written is told by the event that describes the table, never by the catalog, which may be ahead of the log.
type Images struct {
	Names   []string // of the columns
	columns []imageColumn
	ends    []int  // of the values in buf; -1: NULL
	buf     []byte // of the values of one row
	values  [][]byte
}

// imageColumn is how a column is written.
type imageColumn struct {
	kind     byte
	meta     int
	unsigned bool
	pad      int // a BINARY has so many bytes; what is zero at its end is not written
	charset  string
	labels   []string
	as       string // uuid or inet6, which are written as their bytes
}

// Charsets are the character sets of the server's collations, by number.
type Charsets map[uint64]string

// ListCharsets asks the server.
func ListCharsets(ctx context.Context, c *Conn) (Charsets, error) {
	table := "information_schema.collations"
	if c.Flavor == MariaDB {
		table = "information_schema.collation_character_set_applicability"
		if row, err := c.QueryRow(ctx, `SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'information_schema'
			AND table_name = 'COLLATION_CHARACTER_SET_APPLICABILITY' AND column_name = 'ID'`); err != nil || !row.Bool(0) {
			table = "information_schema.collations"
		}
	}
	rows, err := c.Query(ctx, "SELECT id, character_set_name FROM "+table+" WHERE id IS NOT NULL AND character_set_name IS NOT NULL")
	if err != nil {
		return nil, Explain(err, "ask for the collations", c.Host())
	}
	all := make(Charsets, len(rows))
	for _, r := range rows {
		all[uint64(r.Int(0))] = r.Text(1) //nolint:gosec // a number of a collation
	}
	return all, nil
}

// ErrNoMetadata says that the log does not tell the names of columns.
var ErrNoMetadata = errors.New("the log does not name the columns: binlog_row_metadata is not FULL")

// NewImages makes the reader of the rows that come behind a table's description, and the table as it was then. known is the table as the
// catalog has it now: it tells a UUID from a BINARY(16), which are described alike.
func NewImages(m *replication.TableMapEvent, known *Table, charsets Charsets) (*Images, *Table, error) {
	names := m.ColumnNameString()
	if len(names) != int(m.ColumnCount) { //nolint:gosec // of columns
		return nil, nil, ErrNoMetadata
	}
	im := &Images{Names: names}
	was := *known
	was.Columns = nil
	unsigned, collations, enums, sets, members := m.UnsignedMap(), m.CollationMap(), m.EnumStrValueMap(), m.SetStrValueMap(), m.EnumSetCollationMap()
	for i, name := range names {
		c := imageColumn{kind: m.ColumnType[i], meta: int(m.ColumnMeta[i]), unsigned: unsigned[i]}
		collation, has := collations[i]
		if high := byte(c.meta >> 8 & 0xff); c.kind == mysql.MYSQL_TYPE_STRING && (high == mysql.MYSQL_TYPE_ENUM || high == mysql.MYSQL_TYPE_SET) {
			c.kind, c.meta = high, c.meta&0xff
			c.labels = enums[i]
			if c.kind == mysql.MYSQL_TYPE_SET {
				c.labels = sets[i]
			}
			collation, has = members[i]
		}
		if has {
			if c.charset = charsets[collation]; c.charset == "" {
				return nil, nil, columnError(name, fmt.Errorf("its collation has the number %d, which the server does not know", collation))
			}
		}
		t, err := c.describe(known.Column(name))
		if err != nil {
			return nil, nil, columnError(name, err)
		}
		column := Column{Name: name, Type: t}
		im.columns, was.Columns = append(im.columns, c), append(was.Columns, column)
	}
	im.ends, im.values, im.buf = make([]int, len(names)), make([][]byte, len(names)), make([]byte, 0, 1<<10) // never nil: an empty text is no NULL
	return im, &was, nil
}

func columnError(name string, err error) error { return fmt.Errorf("column %s: %w", name, err) }

// describe gives the type of a column, and how its texts are to be made.
func (c *imageColumn) describe(known *Column) (t Type, err error) {
	t.Unsigned = c.unsigned
	binaryText := c.charset == "binary"
	switch c.kind {
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_YEAR,
		mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		t.Data = plainTypes[c.kind]
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		t.Data, t.Precision, t.Scale = "decimal", c.meta>>8, c.meta&0xff
	case mysql.MYSQL_TYPE_BIT:
		t.Data, t.Precision = "bit", c.meta>>8*8+c.meta&0xff
	case mysql.MYSQL_TYPE_TIMESTAMP2, mysql.MYSQL_TYPE_DATETIME2, mysql.MYSQL_TYPE_TIME2:
		t.Data, t.Fraction = plainTypes[c.kind], c.meta
	case mysql.MYSQL_TYPE_ENUM:
		t.Data, t.Labels = "enum", c.labels
	case mysql.MYSQL_TYPE_SET:
		t.Data, t.Labels = "set", c.labels
	case mysql.MYSQL_TYPE_GEOMETRY:
		t.Data, c.charset = "geometry", "binary"
	case mysql.MYSQL_TYPE_STRING:
		c.meta = fixedLength(c.meta)
		t.Data = "char"
		if known != nil && (known.Type.Data == "uuid" || known.Type.Data == "inet6" || known.Type.Data == "inet4") {
			t.Data, c.as, c.charset = known.Type.Data, known.Type.Data, ""
		} else if binaryText {
			t.Data, c.pad = "binary", c.meta
		}
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		t.Data = "varchar"
		if binaryText {
			t.Data = "varbinary"
		}
	case mysql.MYSQL_TYPE_BLOB:
		t.Data = "longtext"
		if binaryText {
			t.Data = "longblob"
		}
	default:
		return t, fmt.Errorf("values of type %d are in the log in a form that acequia does not read", c.kind)
	}
	t.Name, t.Charset = t.Data, c.charset
	if known != nil && known.Type.Data == t.Data {
		t.Name = known.Type.Name
	}
	if c.charset != "" && !readable(c.charset) {
		return t, fmt.Errorf("its texts are in %s, which acequia does not read from the log", c.charset)
	}
	for i := range c.labels {
		label, err := toUTF8(nil, []byte(c.labels[i]), c.charset)
		if err != nil {
			return t, err
		}
		c.labels[i] = string(label)
	}
	return t, nil
}

// plainTypes are those that are written in one way alone.
var plainTypes = map[byte]string{ //nolint:gochecknoglobals // a constant table
	mysql.MYSQL_TYPE_TINY: "tinyint", mysql.MYSQL_TYPE_SHORT: "smallint", mysql.MYSQL_TYPE_INT24: "mediumint", mysql.MYSQL_TYPE_LONG: "int",
	mysql.MYSQL_TYPE_LONGLONG: "bigint", mysql.MYSQL_TYPE_YEAR: "year", mysql.MYSQL_TYPE_FLOAT: "float", mysql.MYSQL_TYPE_DOUBLE: "double",
	mysql.MYSQL_TYPE_DATE: "date", mysql.MYSQL_TYPE_NEWDATE: "date", mysql.MYSQL_TYPE_TIMESTAMP2: "timestamp", mysql.MYSQL_TYPE_DATETIME2: "datetime",
	mysql.MYSQL_TYPE_TIME2: "time",
}

// fixedLength gives the bytes of a CHAR or BINARY, whose upper bits are hidden in its type (log_event.cc, log_event_print_value).
func fixedLength(meta int) int {
	high, low := meta>>8, meta&0xff
	if meta < 256 || high&0x30 == 0x30 {
		return low
	}
	return low | (high&0x30^0x30)<<4
}

// Row reads one image, and gives the values, valid until the next, and what stands behind it. bitmap says which columns are there: all must be.
func (im *Images) Row(data, bitmap []byte) (values [][]byte, rest []byte, err error) {
	if len(bitmap)*8 < len(im.columns) {
		return nil, nil, errMalformed
	}
	for i := range im.columns {
		if bitmap[i>>3]>>(i&7)&1 == 0 {
			return nil, nil, columnError(im.Names[i], ErrImage)
		}
	}
	head := (len(im.columns) + 7) / 8
	if len(data) < head {
		return nil, nil, errMalformed
	}
	nulls := data[:head]
	data = data[head:]
	im.buf = im.buf[:0]
	for i := range im.columns {
		if nulls[i>>3]>>(i&7)&1 == 1 {
			im.ends[i] = -1
			continue
		}
		n, err := im.columns[i].value(im, data)
		if err != nil {
			return nil, nil, columnError(im.Names[i], err)
		}
		if n > len(data) {
			return nil, nil, errMalformed
		}
		data, im.ends[i] = data[n:], len(im.buf)
	}
	at := 0
	for i, end := range im.ends {
		im.values[i] = nil
		if end >= 0 {
			im.values[i] = im.buf[at:end:end]
			at = end
		}
	}
	return im.values, data, nil
}

// ErrImage says that an image does not have all columns.
var ErrImage = errors.New("the log does not have its value: binlog_row_image is not FULL, or its values are computed and not stored")

// value appends a value as a query would send it, and says how long it was.
func (c *imageColumn) value(im *Images, v []byte) (n int, err error) {
	switch c.kind {
	case mysql.MYSQL_TYPE_ENUM, mysql.MYSQL_TYPE_SET:
		return c.member(im, v)
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_GEOMETRY:
		return c.text(im, v)
	}
	if n = c.size(); n > len(v) {
		return 0, errMalformed
	}
	v = v[:n]
	switch c.kind {
	case mysql.MYSQL_TYPE_INT24:
		fill := byte(0)
		if !c.unsigned && v[2] >= 0x80 {
			fill = 0xff
		}
		im.buf = append(append(im.buf, v...), fill)
	case mysql.MYSQL_TYPE_YEAR:
		year := uint16(0)
		if v[0] != 0 {
			year = 1900 + uint16(v[0])
		}
		im.buf = binary.LittleEndian.AppendUint16(im.buf, year)
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		im.buf, err = appendDecimal(im.buf, v, c.meta>>8, c.meta&0xff)
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		im.buf = appendMoment(im.buf, int64(binary.BigEndian.Uint32(v)), fraction(v[4:]))
	case mysql.MYSQL_TYPE_DATETIME2:
		im.buf = appendStored(im.buf, v)
	case mysql.MYSQL_TYPE_TIME2:
		im.buf = appendStoredTime(im.buf, v)
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		day := int(v[0]) | int(v[1])<<8 | int(v[2])<<16
		im.buf = appendCivil(im.buf, civil{year: day >> 9, month: day >> 5 & 15, day: day & 31})
	default: // as it is
		im.buf = append(im.buf, v...)
	}
	return n, err
}

// size is the bytes of a value of a type that has always as many.
func (c *imageColumn) size() int {
	switch c.kind {
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_YEAR:
		return 1
	case mysql.MYSQL_TYPE_SHORT:
		return 2
	case mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		return 3
	case mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_FLOAT:
		return 4
	case mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_DOUBLE:
		return 8
	case mysql.MYSQL_TYPE_BIT:
		return (c.meta>>8*8 + c.meta&0xff + 7) / 8
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		return 4 + (c.meta+1)/2
	case mysql.MYSQL_TYPE_DATETIME2:
		return 5 + (c.meta+1)/2
	case mysql.MYSQL_TYPE_TIME2:
		return 3 + (c.meta+1)/2
	}
	precision, scale := c.meta>>8, c.meta&0xff // a decimal
	whole := precision - scale
	return whole/9*4 + decimalBytes[whole%9] + scale/9*4 + decimalBytes[scale%9]
}

// text reads what is written with its length before it.
func (c *imageColumn) text(im *Images, v []byte) (int, error) {
	head := 1
	switch {
	case c.kind == mysql.MYSQL_TYPE_BLOB || c.kind == mysql.MYSQL_TYPE_GEOMETRY:
		head = c.meta
	case c.meta > 255:
		head = 2
	}
	if head > len(v) || head > 4 {
		return 0, errMalformed
	}
	size := 0
	for i := range head {
		size |= int(v[i]) << (8 * i)
	}
	if head+size > len(v) {
		return 0, errMalformed
	}
	body := v[head : head+size]
	var err error
	switch {
	case c.as != "":
		im.buf, err = appendAddress(im.buf, body, c.as)
	case c.charset == "binary" || c.charset == "":
		im.buf = append(im.buf, body...)
		for range c.pad - size {
			im.buf = append(im.buf, 0)
		}
	default:
		im.buf, err = toUTF8(im.buf, body, c.charset)
	}
	return head + size, err
}

// member reads the number of an ENUM's label, or the bits of a SET's.
func (c *imageColumn) member(im *Images, v []byte) (int, error) {
	size := c.meta
	if size > len(v) || size > 8 {
		return 0, errMalformed
	}
	var n uint64
	for i := range size {
		n |= uint64(v[i]) << (8 * i)
	}
	if c.kind == mysql.MYSQL_TYPE_ENUM {
		if n > uint64(len(c.labels)) {
			return 0, fmt.Errorf("it has no label of number %s", strconv.FormatUint(n, 10))
		}
		if n > 0 {
			im.buf = append(im.buf, c.labels[n-1]...)
		}
		return size, nil
	}
	first := true
	for i := range 64 {
		if n>>i&1 == 0 {
			continue
		}
		if i >= len(c.labels) {
			return 0, fmt.Errorf("it has no label of number %d", i+1)
		}
		if !first {
			im.buf = append(im.buf, ',')
		}
		im.buf, first = append(im.buf, c.labels[i]...), false
	}
	return size, nil
}
