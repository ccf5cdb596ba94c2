package mysql

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/acequia-io/acequia/internal/gather"
)

const (
	microsASecond = 1_000_000
	secondsADay   = 86_400
)

// civil is a date and a time of day as it is sent
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html).
type civil struct {
	year, month, day, hour, minute, second int
	micros                                 uint32
}

// readCivil reads one. What is 0 at its end is not sent.
func readCivil(v []byte) (c civil, ok bool) {
	switch len(v) {
	case 0:
		return c, true
	case 4, 7, 11:
	default:
		return c, false
	}
	c.year, c.month, c.day = int(binary.LittleEndian.Uint16(v)), int(v[2]), int(v[3])
	if len(v) >= 7 {
		c.hour, c.minute, c.second = int(v[4]), int(v[5]), int(v[6])
	}
	if len(v) == 11 {
		c.micros = binary.LittleEndian.Uint32(v[7:])
	}
	return c, true
}

// isDay says whether there is such a day in the years that every reader of Parquet knows: zero dates and the like are none.
func (c *civil) isDay() bool {
	if c.year < 1 || c.month < 1 || c.month > 12 || c.day < 1 {
		return false
	}
	last := 30 + (c.month+c.month>>3)&1
	if c.month == 2 {
		last = 28
		if c.year%4 == 0 && (c.year%100 != 0 || c.year%400 == 0) {
			last = 29
		}
	}
	return c.day <= last
}

// days counts the days since 1970-01-01 (Howard Hinnant, chrono-compatible low-level date algorithms).
func (c *civil) days() int64 {
	y, m := c.year, c.month
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	ofEra := y - era*400
	ofYear := (153*(m-3)+2)/5 + c.day - 1
	return int64(era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468)
}

// microseconds counts those since 1970-01-01.
func (c *civil) microseconds() int64 {
	seconds := c.days()*secondsADay + int64(c.hour*3600+c.minute*60+c.second)
	return seconds*microsASecond + int64(c.micros)
}

// days decodes dates, with or without a time.
func (d *Decoder) days(f int, c *codec, buf []byte, at []gather.Span) (bad int, err error) {
	dst := &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	for i, s := range at {
		out[i] = 0
		if s.N > 0 {
			if day, ok := readCivil(buf[s.At : s.At+s.N]); ok && day.isDay() {
				if c.op == opDate {
					out[i] = day.days()
				} else {
					out[i] = day.microseconds()
				}
				continue
			}
		}
		if err := d.gap(f, i, c, buf, s); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// appendDay writes a date as the server prints it.
func (c *civil) appendDay(dst []byte) []byte {
	return fmt.Appendf(dst, "%04d-%02d-%02d", c.year, c.month, c.day)
}

// appendFraction writes the digits of a fraction of a second, with their point.
func appendFraction(dst []byte, micros uint32, digits int) []byte {
	if digits <= 0 {
		return dst
	}
	all := strconv.FormatUint(uint64(micros)+microsASecond, 10)[1:]
	return append(append(dst, '.'), all[:min(digits, len(all))]...)
}

// appendDuration writes a TIME as the server prints it: up to 838 hours, of either sign.
func appendDuration(dst, v []byte, digits int) ([]byte, error) {
	var days uint32
	var hour, minute, second byte
	var micros uint32
	switch len(v) {
	case 0:
	case 8, 12:
		if v[0] == 1 {
			dst = append(dst, '-')
		}
		days, hour, minute, second = binary.LittleEndian.Uint32(v[1:]), v[5], v[6], v[7]
		if len(v) == 12 {
			micros = binary.LittleEndian.Uint32(v[8:])
		}
	default:
		return dst, errMalformed
	}
	dst = fmt.Appendf(dst, "%02d:%02d:%02d", uint64(days)*24+uint64(hour), minute, second)
	return appendFraction(dst, micros, digits), nil
}
