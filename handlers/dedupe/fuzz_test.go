package dedupe_test

import (
	"bytes"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// Whatever a block holds, a lane begins with it, or is refused; and it goes on.
func FuzzBlock(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(bytes.Repeat([]byte{0xff}, 24))
	f.Add(bytes.Repeat([]byte{0x80, 0, 7}, 16))
	f.Add([]byte("damaged"))
	f.Fuzz(func(t *testing.T, block []byte) {
		disk := store{}
		disk.save("lane", handlers.Memory{Block: block})
		tracker, err := day(t).Track(t.Context(), "lane", disk.blocks)
		if (err != nil) != (len(block)%24 != 0) || err != nil && fault.Code(err) != "ACQ-DEDUPE-003" {
			t.Fatal(len(block), err)
		}
		if err != nil {
			return
		}
		defer tracker.Close()
		s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
		if got := passing(t, tracker, batchOf(t, s, event{id: "a", hour: 1}, event{id: "a", hour: 1})); got != "a1" {
			t.Fatal(got)
		}
		tracker.Cut()
	})
}
