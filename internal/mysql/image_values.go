package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// decimalBytes is how many bytes hold so many digits; nine are held by four (strings/decimal.c of MySQL, decimal2bin).
var decimalBytes = [...]int{0, 1, 1, 2, 2, 3, 3, 4, 4} //nolint:gochecknoglobals // a constant table

// tens are the powers of ten: digits of a group make less.
var tens = [...]uint64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000} //nolint:gochecknoglobals // a constant table

// appendDecimal writes a packed decimal with all digits of its scale, as the server prints it.
func appendDecimal(dst, v []byte, precision, scale int) ([]byte, error) {
	var room [32]byte // of 65 digits
	packed := append(room[:0], v...)
	negative := packed[0]&0x80 == 0
	packed[0] ^= 0x80
	if negative {
		for i := range packed {
			packed[i] = ^packed[i]
		}
		dst = append(dst, '-')
	}
	sound := true
	take := func(digits int) uint64 {
		size := 4
		if digits < 9 {
			size = decimalBytes[digits]
		}
		var n uint64
		for _, b := range packed[:size] {
			n = n<<8 | uint64(b)
		}
		packed = packed[size:]
		sound = sound && n < tens[digits]
		return n
	}
	whole := precision - scale
	leading := true
	put := func(digits int) {
		if digits == 0 {
			return
		}
		n := take(digits)
		switch {
		case leading && n == 0:
		case leading:
			dst, leading = strconv.AppendUint(dst, n, 10), false
		default:
			dst = appendDigits(dst, n, digits)
		}
	}
	put(whole % 9)
	for range whole / 9 {
		put(9)
	}
	if leading {
		dst = append(dst, '0')
	}
	if scale > 0 {
		dst = append(dst, '.')
	}
	for range scale / 9 {
		dst = appendDigits(dst, take(9), 9)
	}
	if rest := scale % 9; rest > 0 {
		dst = appendDigits(dst, take(rest), rest)
	}
	if !sound {
		return dst, errMalformed
	}
	return dst, nil
}

// appendDigits writes the last digits of a number, with zeros before it.
func appendDigits(dst []byte, n uint64, digits int) []byte {
	before := len(dst)
	for range digits {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= before; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// fraction reads the stored part of a second, in microseconds: one byte has two digits.
func fraction(v []byte) int {
	n := 0
	for _, b := range v {
		n = n<<8 | int(b)
	}
	for i := len(v); i < 3; i++ {
		n *= 100
	}
	return n
}

// appendCivil writes a date and time as a query sends it.
func appendCivil(dst []byte, c civil) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(c.year)) //nolint:gosec // of four digits
	dst = append(dst, byte(c.month), byte(c.day), byte(c.hour), byte(c.minute), byte(c.second))
	return binary.LittleEndian.AppendUint32(dst, c.micros)
}

// appendMoment writes a TIMESTAMP, which is stored as seconds since 1970; 0 is none.
func appendMoment(dst []byte, seconds int64, micros int) []byte {
	if seconds == 0 && micros == 0 {
		return appendCivil(dst, civil{})
	}
	t := time.Unix(seconds, 0).UTC()
	return appendCivil(dst, civil{
		year: t.Year(), month: int(t.Month()), day: t.Day(), hour: t.Hour(), minute: t.Minute(), second: t.Second(), micros: uint32(micros), //nolint:gosec // below a million
	})
}

// appendStored writes a DATETIME (my_time.c of MySQL, my_datetime_packed_from_binary).
func appendStored(dst, v []byte) []byte {
	var n uint64
	for _, b := range v[:5] {
		n = n<<8 | uint64(b)
	}
	n -= 0x80_0000_0000
	day, clock := n>>17, n&0x1ffff
	return appendCivil(dst, civil{
		year: int(day >> 5 / 13), month: int(day >> 5 % 13), day: int(day & 31), hour: int(clock >> 12), minute: int(clock >> 6 & 63),
		second: int(clock & 63), micros: uint32(fraction(v[5:])), //nolint:gosec // few bits
	})
}

// appendStoredTime writes a TIME (my_time.c of MySQL, my_time_packed_from_binary). A negative one is stored as what is missing to zero, its
// fraction with it.
func appendStoredTime(dst, v []byte) []byte {
	var n int64
	for _, b := range v {
		n = n<<8 | int64(b)
	}
	bits := 8 * (len(v) - 3)
	n -= 0x80_0000 << bits
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	whole, part := n>>bits, n&(1<<bits-1)
	for i := len(v) - 3; i < 3; i++ {
		part *= 100
	}
	hours := whole >> 12 & 0x3ff
	dst = append(dst, sign)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(hours/24))
	dst = append(dst, byte(hours%24), byte(whole>>6&63), byte(whole&63))
	return binary.LittleEndian.AppendUint32(dst, uint32(part)) //nolint:gosec // below a million
}

var errUTF8 = errors.New("its bytes are no text of its character set")

// readable says whether texts of a character set can be made UTF-8.
func readable(charset string) bool {
	switch charset {
	case "binary", "utf8mb4", "utf8mb3", "utf8", "ascii", "latin1", "ucs2", "utf16", "utf32":
		return true
	}
	return false
}

// toUTF8 appends a text. MySQL's latin1 is Windows' code page 1252, whose five free bytes stand for themselves.
func toUTF8(dst, text []byte, charset string) ([]byte, error) {
	width := 1
	switch charset {
	case "", "binary":
		return append(dst, text...), nil
	case "utf8mb4", "utf8mb3", "utf8", "ascii":
		if !utf8.Valid(text) {
			return dst, errUTF8
		}
		return append(dst, text...), nil
	case "latin1":
		for _, b := range text {
			r := rune(b)
			if b >= 0x80 && b < 0xa0 {
				r = windows1252[b-0x80]
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, nil
	case "ucs2", "utf16":
		width = 2
	case "utf32":
		width = 4
	}
	return wideUTF8(dst, text, width)
}

// wideUTF8 reads characters of two bytes, with surrogates, or of four, the highest byte first.
func wideUTF8(dst, text []byte, width int) ([]byte, error) {
	if len(text)%width != 0 {
		return dst, errUTF8
	}
	for at := 0; at < len(text); at += width {
		r := rune(0)
		for _, b := range text[at : at+width] {
			r = r<<8 | rune(b)
		}
		if width == 2 && r >= 0xd800 && r < 0xdc00 && at+4 <= len(text) {
			at += width
			low := rune(text[at])<<8 | rune(text[at+1])
			if low&^0x3ff != 0xdc00 {
				return dst, errUTF8
			}
			r = (r-0xd800)<<10 + low - 0xdc00 + 0x10000
		}
		if !utf8.ValidRune(r) {
			return dst, errUTF8
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

// windows1252 is what its bytes from 0x80 to 0x9f stand for.
var windows1252 = [...]rune{ //nolint:gochecknoglobals // a constant table
	0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
}

// appendAddress writes a UUID or an INET6 as the server prints it; zeros at its end are not stored.
func appendAddress(dst, v []byte, as string) ([]byte, error) {
	var full [16]byte
	size := 16
	if as == "inet4" {
		size = 4
	}
	if len(v) > size {
		return dst, fmt.Errorf("%d bytes are no %s", len(v), as)
	}
	copy(full[:], v)
	switch as {
	case "inet4":
		return fmt.Appendf(dst, "%d.%d.%d.%d", full[0], full[1], full[2], full[3]), nil
	case "inet6":
		return appendInet6(dst, full), nil
	}
	full = unswapped(full)
	for i, part := range [][]byte{full[:4], full[4:6], full[6:8], full[8:10], full[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, nil
}

// unswapped gives the bytes of a UUID of MariaDB in their order. Those of versions 1 to 5 are stored with the last part first, so that they
// are ordered by node and time; the others as they are (sql_type_uuid.h of MariaDB, rec_need_swap).
func unswapped(v [16]byte) [16]byte {
	if v[6]&0x80 == 0 || v[8] == 0 || v[8] >= 0x60 {
		return v
	}
	var out [16]byte
	copy(out[:4], v[12:])
	copy(out[4:6], v[10:12])
	copy(out[6:8], v[8:10])
	copy(out[8:10], v[6:8])
	copy(out[10:], v[:6])
	return out
}

// appendInet6 writes an address as MariaDB does: the first of the longest runs of zeros is left out, also one of a single zero, and what an
// address of version 4 is part of ends with it (sql_type_inet.cc, Inet6::to_string).
func appendInet6(dst []byte, v [16]byte) []byte {
	var words [8]uint16
	gap, length := -1, 0
	run := 0
	for i := range words {
		words[i] = binary.BigEndian.Uint16(v[2*i:])
		if run++; words[i] != 0 {
			run = 0
		}
		if run > length {
			gap, length = i+1-run, run
		}
	}
	for i := 0; i < len(words); i++ {
		switch {
		case i == gap:
			if i == 0 {
				dst = append(dst, ':')
			}
			dst = append(dst, ':')
			i += length - 1
		case i == 6 && gap == 0 && (length == 6 || length == 5 && words[5] == 0xffff):
			return fmt.Appendf(dst, "%d.%d.%d.%d", v[12], v[13], v[14], v[15])
		default:
			dst = strconv.AppendUint(dst, uint64(words[i]), 16)
			if i+1 < len(words) {
				dst = append(dst, ':')
			}
		}
	}
	return dst
}
