package record

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Version says which copy of a key wins: the greatest. Its text is of fixed width and orders as the version does.
type Version struct {
	Epoch uint16 // incarnation of the stream
	Hi    uint64 // the number, in two words: a DynamoDB sequence number needs more than 64 bits
	Lo    uint64
	Index uint32 // place among the records of one number
}

// VersionLen is the length of a version's text: eeee-nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn-iiiiiiii.
const VersionLen = EpochLen + 1 + 32 + 1 + 8

// EpochLen is the length of the epoch, with which the text begins.
const EpochLen = 4

// Compare orders versions: negative when v is older than o.
func (v Version) Compare(o Version) int {
	switch {
	case v.Epoch != o.Epoch:
		return cmp.Compare(v.Epoch, o.Epoch)
	case v.Hi != o.Hi:
		return cmp.Compare(v.Hi, o.Hi)
	case v.Lo != o.Lo:
		return cmp.Compare(v.Lo, o.Lo)
	}
	return cmp.Compare(v.Index, o.Index)
}

// String gives the text.
func (v Version) String() string { return string(v.AppendText(make([]byte, 0, VersionLen), 0)) }

// AppendText appends the text without its first from characters.
func (v Version) AppendText(dst []byte, from int) []byte {
	if from >= 38 {
		digits := hex8(v.Index) << (8 * (from - 38))
		return binary.BigEndian.AppendUint64(dst, digits)[:len(dst)+VersionLen-from]
	}
	var t [VersionLen]byte
	if from < 21 {
		binary.BigEndian.PutUint64(t[0:8], hex8(uint32(v.Epoch)<<16)) // its last four digits are written over
		t[4] = '-'
		binary.BigEndian.PutUint64(t[5:13], hex8(uint32(v.Hi>>32)))
		binary.BigEndian.PutUint64(t[13:21], hex8(uint32(v.Hi))) //nolint:gosec // the other half
	}
	if from < 37 {
		binary.BigEndian.PutUint64(t[21:29], hex8(uint32(v.Lo>>32)))
		binary.BigEndian.PutUint64(t[29:37], hex8(uint32(v.Lo))) //nolint:gosec // the other half
	}
	t[37] = '-'
	binary.BigEndian.PutUint64(t[38:46], hex8(v.Index))
	return append(dst, t[from:]...)
}

// hex8 gives the eight hexadecimal digits of v, the first in the highest byte: it spreads the nibbles over the bytes and
// adds '0' to each, and the way from '9' to 'a' to those above nine.
func hex8(v uint32) uint64 {
	const each = 0x0101010101010101
	x := uint64(v)
	x = (x | x<<16) & 0x0000FFFF0000FFFF
	x = (x | x<<8) & 0x00FF00FF00FF00FF
	x = (x | x<<4) & 0x0F0F0F0F0F0F0F0F
	above := (x + 6*each) >> 4 & each
	return x + '0'*each + ('a'-'9'-1)*above
}

// CommonPrefix is the length of the prefix that the texts of two versions share.
func (v Version) CommonPrefix(o Version) int {
	switch {
	case v.Epoch != o.Epoch:
		return bits.LeadingZeros16(v.Epoch^o.Epoch) / 4
	case v.Hi != o.Hi:
		return 5 + bits.LeadingZeros64(v.Hi^o.Hi)/4
	case v.Lo != o.Lo:
		return 21 + bits.LeadingZeros64(v.Lo^o.Lo)/4
	case v.Index != o.Index:
		return 38 + bits.LeadingZeros32(v.Index^o.Index)/4
	}
	return VersionLen
}

// ParseVersion reads the text of a version.
func ParseVersion(s string) (Version, error) { return ParseVersionText([]byte(s)) }

// ParseVersionText reads the text of a version, and keeps nothing of it.
func ParseVersionText(s []byte) (v Version, err error) {
	if len(s) != VersionLen || s[4] != '-' || s[37] != '-' {
		return v, fmt.Errorf("version %q: want eeee-, 32 digits, -iiiiiiii", s)
	}
	var epoch [8]byte
	copy(epoch[:], "0000")
	copy(epoch[4:], s[:4])
	var words [6]uint64
	good := true
	for i, digits := range [...][]byte{epoch[:], s[5:13], s[13:21], s[21:29], s[29:37], s[38:46]} {
		var ok bool
		words[i], ok = unhex8(binary.BigEndian.Uint64(digits))
		good = good && ok
	}
	if !good {
		return v, fmt.Errorf("version %q: only 0-9 and a-f are digits", s)
	}
	v = Version{Epoch: uint16(words[0]), Hi: words[1]<<32 | words[2], Lo: words[3]<<32 | words[4], Index: uint32(words[5])} //nolint:gosec // 4 and 8 digits
	return v, nil
}

// unhex8 reads what hex8 writes: it makes nibbles of the digits, and looks whether they are written so again.
func unhex8(digits uint64) (v uint64, ok bool) {
	const each = 0x0101010101010101
	x := digits&(0x0F*each) + 9*(digits>>6&each)
	x = (x | x>>4) & 0x00FF00FF00FF00FF
	x = (x | x>>8) & 0x0000FFFF0000FFFF
	x = (x | x>>16) & 0x00000000FFFFFFFF
	return x, hex8(uint32(x)) == digits
}

// Versions are the versions of the rows of a batch, kept as numbers. Hi, Lo and Index have one entry a row, or one
// entry that stands for every row; an empty slice is zero for every row.
type Versions struct {
	Epoch uint16
	Hi    []uint64
	Lo    []uint64
	Index []uint32
}

// At gives the version of a row.
func (v *Versions) At(row int) Version {
	return Version{Epoch: v.Epoch, Hi: pick(v.Hi, row), Lo: pick(v.Lo, row), Index: pick(v.Index, row)}
}

// Constant says whether one version stands for every row.
func (v *Versions) Constant() bool { return len(v.Hi) <= 1 && len(v.Lo) <= 1 && len(v.Index) <= 1 }

// One is a version that stands for every row of a batch.
func One(v Version) Versions {
	return Versions{Epoch: v.Epoch, Hi: []uint64{v.Hi}, Lo: []uint64{v.Lo}, Index: []uint32{v.Index}}
}

// pick gives the entry of a row from a slice of one entry a row, one entry for all, or none (zero).
func pick[T any](s []T, row int) T {
	switch len(s) {
	case 0:
		var zero T
		return zero
	case 1:
		return s[0]
	}
	return s[row]
}
