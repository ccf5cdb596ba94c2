package parquet

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec compresses pages with the fastest level of zstd. It also entropy-codes pages without matches, which
// the library leaves as they are at this level: hexadecimal text would go out uncompressed. An encoder holds close to
// 1 MiB, so all writers of a table share a few.
type codec struct{ idle sync.Pool }

func (c *codec) compress(dst, src []byte) ([]byte, error) {
	e, ok := c.idle.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithZeroFrames(true), zstd.WithAllLitEntropyCompression(true), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, fmt.Errorf("make zstd encoder: %w", err)
		}
	}
	dst = e.EncodeAll(src, dst)
	c.idle.Put(e)
	return dst, nil
}
