package mongodb

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/fault"
)

// A sweep compares a collection with an index of what the sinks may hold: for each document its key and a hash, about 45 bytes. It is
// kept in blocks, each the keys above those of the block before and not above its own bound. What a block says is kept before any sink is
// given it, and with the round and the place at which it was given: what is not durable when a lane is opened again was perhaps given, so
// its keys are kept and its hashes are not believed.

// entry is a document of a block.
type entry struct {
	hash uint64
	gone bool // a delete was given
}

// block is the index of a range of keys.
type block struct {
	round   uint64 // in which it was given
	entries map[string]entry
}

// slot is where a block stands.
type slot struct {
	UpTo string `json:"u,omitempty"` // "": the end of the part
	ID   uint64 `json:"n"`           // 0: nothing is kept of it
}

// end is the bound of a block as positions have it.
func (s slot) end() string { return cmp.Or(s.UpTo, endOfKeys) }

// directory is the blocks of a part of a collection, in the order of keys.
type directory struct {
	Slots []slot `json:"slots"`
	Last  uint64 `json:"last"` // the greatest ID that was given
}

// index is the blocks of a part.
type index struct {
	source *Source
	key    string
	directory
}

func (s *Source) indexKey(stream string, epoch uint16, part int) string {
	return fmt.Sprintf("sweep %s@%d/%d", stream, epoch, part)
}

// index reads the directory of a part.
func (s *Source) index(ctx context.Context, c *collection, part int) (*index, error) {
	x := &index{source: s, key: s.indexKey(c.Name, c.note.Epoch, part)}
	text, err := s.state.Load(ctx, x.key)
	if err != nil {
		return nil, err
	}
	if text == nil {
		x.Slots = []slot{{UpTo: c.note.Parts[part].UpTo}}
		return x, nil
	}
	if err := json.Unmarshal(text, &x.directory); err != nil || len(x.Slots) == 0 {
		return nil, x.damaged(err)
	}
	return x, nil
}

func (x *index) damaged(err error) error {
	return &fault.Error{
		Code: "ACQ-MG-036", Place: x.key, Err: fmt.Errorf("what is kept of the last sweep cannot be read: %w", errors.Join(errors.New("it is damaged"), err)),
		Remedy: "restore the state file, or read the collection anew with: acequia backfill",
	}
}

// save keeps the directory.
func (x *index) save(ctx context.Context) error {
	text, err := json.Marshal(x.directory)
	if err != nil {
		return fmt.Errorf("keep %s: %w", x.key, err)
	}
	return x.source.state.Save(ctx, x.key, text)
}

func (x *index) blockKey(id uint64) string { return fmt.Sprintf("%s/%d", x.key, id) }

// load reads the block at a place; an empty one where nothing was kept.
func (x *index) load(ctx context.Context, at int) (*block, error) {
	b := &block{entries: map[string]entry{}}
	if x.Slots[at].ID == 0 {
		return b, nil
	}
	data, err := x.source.state.Load(ctx, x.blockKey(x.Slots[at].ID))
	if err != nil {
		return nil, err
	}
	if len(data) < 8 {
		return nil, x.damaged(nil)
	}
	b.round = binary.LittleEndian.Uint64(data)
	for data = data[8:]; len(data) > 0; {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > uint64(len(data)) || len(data) < size+int(n)+9 { //nolint:gosec // looked at
			return nil, x.damaged(nil)
		}
		key, rest := data[size:size+int(n)], data[size+int(n):] //nolint:gosec // looked at
		b.entries[string(key)] = entry{hash: binary.LittleEndian.Uint64(rest), gone: rest[8] == 1}
		data = rest[9:]
	}
	return b, nil
}

// store keeps a block, and gives its new slot. The old one is still there until the directory says otherwise.
func (x *index) store(ctx context.Context, upTo string, b *block) (slot, error) {
	data := binary.LittleEndian.AppendUint64(nil, b.round)
	keys := make([]string, 0, len(b.entries))
	for key := range b.entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		e := b.entries[key]
		data = append(binary.AppendUvarint(data, uint64(len(key))), key...)
		data = append(binary.LittleEndian.AppendUint64(data, e.hash), 0)
		if e.gone {
			data[len(data)-1] = 1
		}
	}
	x.Last++
	at := slot{UpTo: upTo, ID: x.Last}
	return at, x.source.state.Save(ctx, x.blockKey(at.ID), data)
}

// replace puts blocks into the place of one.
func (x *index) replace(ctx context.Context, at int, by ...slot) error {
	old := x.Slots[at].ID
	x.Slots = slices.Replace(x.Slots, at, at+1, by...)
	if err := x.save(ctx); err != nil || old == 0 {
		return err
	}
	return x.source.state.Save(ctx, x.blockKey(old), nil)
}

// forget lets the index of an incarnation go.
func (s *Source) forget(ctx context.Context, n note, stream string) error {
	if n.Strategy != bySweep {
		return nil
	}
	old := &collection{note: n}
	old.Name = stream
	for part := range n.Parts {
		x, err := s.index(ctx, old, part)
		if err != nil {
			return err
		}
		for _, at := range x.Slots {
			if at.ID > 0 {
				if err := s.state.Save(ctx, x.blockKey(at.ID), nil); err != nil {
					return err
				}
			}
		}
		if err := s.state.Save(ctx, x.key, nil); err != nil {
			return err
		}
	}
	return nil
}

// place is where a sweep stands: behind a key of a part, in a round.
type place struct {
	Round uint64 `json:"r"`
	Part  int    `json:"p"`
	Key   string `json:"k"` // the bound of the last block that was given
}

// believed says whether what a block says has reached the sinks when all up to a place has.
func (at place) believed(b *block, part int, before bool) bool {
	return b.round < at.Round || b.round == at.Round && (part < at.Part || part == at.Part && before)
}
