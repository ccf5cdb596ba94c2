package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/plain"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pageBound is how long a text in the page index may be.
const pageBound = 16

var errPage = errors.New("a page of 2 GiB or more")

// scratch is what a goroutine needs to encode pages.
type scratch struct {
	o               Options
	codec           *codec
	body, enc, comp []byte
	head            bytes.Buffer
	thrift          *thrift.Encoder
	ids             rle.DictionaryEncoding
	delta           delta.BinaryPackedEncoding
	err             error
}

func newScratch(o Options, z *codec) *scratch {
	s := &scratch{o: o, codec: z}
	s.thrift = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&s.head))
	return s
}

func (s *scratch) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scratch) held() int { return cap(s.body) + cap(s.enc) + cap(s.comp) }

// trim lets go of memory that one page far beyond the limit has left.
func (s *scratch) trim() {
	s.body, s.enc, s.comp = trimmed(s.body, s.o), trimmed(s.enc, s.o), trimmed(s.comp, s.o)
}

func trimmed(b []byte, o Options) []byte {
	if cap(b) > 8*(o.PageBytes+o.DictBytes) {
		return nil
	}
	return b
}

// encoded gives v as thrift; it is valid until the next call.
func (s *scratch) encoded(v any) []byte {
	s.head.Reset()
	s.fail(s.thrift.Encode(v))
	return s.head.Bytes()
}

func (s *scratch) appendDelta32(dst []byte, v []int32) []byte {
	var err error
	s.enc, err = s.delta.EncodeInt32(s.enc, v)
	s.fail(err)
	return append(dst, s.enc...)
}

func (s *scratch) appendDelta64(dst []byte, v []int64) []byte {
	var err error
	s.enc, err = s.delta.EncodeInt64(s.enc, v)
	s.fail(err)
	return append(dst, s.enc...)
}

func (s *scratch) appendIDs(dst []byte, v []int32) []byte {
	var err error
	s.enc, err = s.ids.EncodeInt32(s.enc, v)
	s.fail(err)
	return append(dst, s.enc...)
}

// flush ends the open page.
func (c *column) flush(s *scratch) {
	if c.lv.entries == 0 {
		return
	}
	body := s.body[:0]
	if c.nested() {
		body = s.appendLevels(body, c.lv.reps, c.maxRep)
		body = s.appendLevels(body, c.lv.defs, c.maxDef)
	} else if c.maxDef > 0 {
		body = c.lv.appendBitmap(body)
	}
	used := c.encoding
	if c.lv.values() == 0 {
		used = asPlain // there is nothing to encode, and nothing in a dictionary
	}
	switch used {
	case asDictionary:
		if c.form == texts {
			c.textBounds()
		}
		body = c.appendDictionary(s, body)
	case asDelta:
		body = c.appendDelta(s, body)
	default:
		body = c.appendPlain(body)
	}
	s.body = body
	c.used[used]++
	p := page{offset: c.chunk.size, entries: c.lv.entries, rows: c.lv.rows, nulls: c.lv.nulls}
	p.lo, p.hi, p.bounded = c.bounds.stats(c.leaf, pageBound)
	c.put(s, body, &format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(c.lv.entries), Encoding: c.formatOf(used), //nolint:gosec // limited
			DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
			Statistics: format.Statistics{NullCount: int64(c.lv.nulls)},
		}),
	})
	p.size = c.chunk.size - p.offset
	c.pages = append(c.pages, p)
	c.total.merge(c.leaf, &c.bounds)
	c.rows += c.lv.rows
	c.entries += c.lv.entries
	c.nulls += c.lv.nulls
	c.resetPage()
	c.data = trimmed(c.data, s.o)
	s.trim()
}

// formatOf names an encoding as the file does.
func (c *column) formatOf(e encoding) format.Encoding {
	switch {
	case e == asDictionary:
		return format.RLEDictionary
	case e == asPlain:
		return format.Plain
	case c.form == texts:
		return format.DeltaLengthByteArray
	case c.form == versions:
		return format.DeltaByteArray
	}
	return format.DeltaBinaryPacked
}

// appendDictionary appends the ids of the page.
func (c *column) appendDictionary(s *scratch, body []byte) []byte {
	if n := len(c.runs); n == 0 || n > 64 && c.lv.values() < 16*n { // short runs are better packed
		c.expand()
		return s.appendIDs(body, c.ids)
	}
	width := bits.Len32(uint32(c.dictLen() - 1)) //nolint:gosec // dictionaries are small
	body = append(body, byte(width))             //nolint:gosec // at most 32
	for _, r := range c.runs {
		body = binary.AppendUvarint(body, uint64(r.n)<<1) //nolint:gosec // positive
		for k := 0; k < width; k += 8 {
			body = append(body, byte(r.id>>k)) //nolint:gosec // the low 8
		}
	}
	return body
}

// expand turns runs into ids.
func (c *column) expand() {
	for _, r := range c.runs {
		for range r.n {
			c.ids = append(c.ids, r.id)
		}
	}
	c.runs = c.runs[:0]
}

func (c *column) appendDelta(s *scratch, body []byte) []byte {
	switch c.form {
	case versions:
		body = s.appendDelta32(body, c.prefixes)
		body = s.appendDelta32(body, c.lens)
		return append(body, c.data...)
	case texts:
		body = s.appendDelta32(body, c.lens)
		return append(body, c.data...)
	case words4:
		c.narrow = c.narrow[:0]
		for _, v := range c.words {
			c.narrow = append(c.narrow, int32(v)) //nolint:gosec // checked
		}
		return s.appendDelta32(body, c.narrow)
	default:
		return s.appendDelta64(body, c.words)
	}
}

func (c *column) appendPlain(body []byte) []byte {
	switch c.form {
	case words4, words8:
		return c.appendWords(body, c.words)
	case bits1:
		for i, v := range c.words {
			if i&7 == 0 {
				body = append(body, 0)
			}
			body[len(body)-1] |= byte(v) << (i & 7) //nolint:gosec // 0 or 1
		}
		return body
	default:
		return append(body, c.data...)
	}
}

func (c *column) appendWords(dst []byte, words []int64) []byte {
	if c.form == words4 {
		for _, v := range words {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(v)) //nolint:gosec // checked
		}
		return dst
	}
	for _, v := range words {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // its bits
	}
	return dst
}

// put appends a page to the chunk.
func (c *column) put(s *scratch, body []byte, h *format.PageHeader) {
	head, body := c.pack(s, body, h)
	c.chunk.append(head)
	c.chunk.append(body)
}

// pack compresses a page and makes its header. Both are valid until the next one.
func (c *column) pack(s *scratch, body []byte, h *format.PageHeader) (head, packed []byte) {
	if len(body) > math.MaxInt32 {
		s.fail(fmt.Errorf("encode column %s: %w", c.field.Name, errPage))
		return nil, nil
	}
	h.UncompressedPageSize = int32(len(body)) //nolint:gosec // checked
	if c.choice.zstd {
		var err error
		s.comp, err = s.codec.compress(s.comp[:0], body)
		s.fail(err)
		body = s.comp
	}
	h.CompressedPageSize = int32(len(body)) //nolint:gosec // checked
	h.CRC = int32(crc32.ChecksumIEEE(body)) //nolint:gosec // its bits
	head = s.encoded(h)
	c.raw += len(head) + int(h.UncompressedPageSize)
	return head, body
}

// dictPage encodes the dictionary of the chunk, which goes before the data pages in the file. It is valid until the next page.
func (c *column) dictPage(s *scratch) (head, packed []byte) {
	body := s.body[:0]
	switch c.form {
	case texts, versions:
		for i := range c.textDict.len() {
			body = plain.AppendByteArray(body, c.textDict.at(i))
		}
	case wides:
		body = append(body, c.textDict.bytes...)
	default:
		body = c.appendWords(body, c.wordDict.words)
	}
	s.body = body
	return c.pack(s, body, &format.PageHeader{
		Type:                 format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: int32(c.dictLen()), Encoding: format.Plain}), //nolint:gosec // small
	})
}
