package form

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

var (
	// errConflict means that the key was used for another body.
	errConflict = errors.New("the key was used for another body")
	// errUnread means that no reader came for the record, which was taken back.
	errUnread = errors.New("no reader took the record")
	// errFull means that too much waits already.
	errFull = errors.New("too many records wait")
	// errSlow means that it is not known yet whether the record is durable.
	errSlow = errors.New("the record is not durable yet")
	// errBadKey means that a key is malformed.
	errBadKey = errors.New("the Idempotency-Key is malformed")
)

// maxKey is how long an Idempotency-Key may be, in bytes.
const maxKey = 255

// hash is the SHA-256 of checked values.
type hash [sha256.Size]byte

// hashOf is the same for bodies that mean the same record, however they are written. It gives scratch back, grown.
func hashOf(t *schemas.Table, values []schemas.Value, scratch []byte) (hash, []byte) {
	b := scratch[:0]
	for i := range values {
		f, v := &t.Fields[i], &values[i]
		if !v.Set || f.Generated {
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(f.Name))), f.Name...)
		switch f.Type {
		case schemas.String, schemas.Enum:
			b = append(binary.AppendUvarint(b, uint64(len(v.Text))), v.Text...)
		default:
			b = binary.BigEndian.AppendUint64(b, uint64(v.Int))     //nolint:gosec // its bits
			b = binary.BigEndian.AppendUint64(b, uint64(v.Wide.Hi)) //nolint:gosec // its bits
		}
	}
	return sha256.Sum256(b), b
}

// keyOf reads the Idempotency-Key header: a string in quotes, as draft-ietf-httpapi-idempotency-key-header has it, or
// bare, of 1 to 255 visible ASCII characters. "" means that there is none.
func keyOf(h http.Header) (string, error) {
	sent := h["Idempotency-Key"]
	if len(sent) == 0 {
		return "", nil
	}
	if len(sent) > 1 {
		return "", fmt.Errorf("%w: it was sent more than once", errBadKey)
	}
	key := strings.TrimSpace(sent[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	return key, checkKey(key)
}

func checkKey(key string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("%w: it must have 1 to %d characters", errBadKey, maxKey)
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("%w: it may hold visible ASCII characters without quotes and backslashes", errBadKey)
		}
	}
	return nil
}

// flights are the records under keys that are on their way in this process, so that copies of a request that arrive
// together wait for the same record.
type flights struct {
	mu    sync.Mutex
	byKey map[string]*ticket
}

// join gives the ticket that is on its way under t's key; when there is none, t is, and mine is true.
func (f *flights) join(t *ticket) (other *ticket, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, ok := f.byKey[t.key]; ok {
		return other, false
	}
	if f.byKey == nil {
		f.byKey = map[string]*ticket{}
	}
	f.byKey[t.key] = t
	return t, true
}

// finish tells everybody who waits for a ticket what became of it.
func (s *Source) finish(t *ticket, err error) {
	if t.key != "" {
		s.flights.mu.Lock()
		delete(s.flights.byKey, t.key)
		s.flights.mu.Unlock()
	}
	t.err = err
	close(t.done)
}

// register makes the values a durable record and gives its id. The same key and values give the same id.
func (s *Source) register(ctx context.Context, key string, sent *sent, at time.Time) (string, error) {
	t := &ticket{done: make(chan struct{})}
	if key != "" {
		t.key = s.table.Name + "/" + key
		t.hash, sent.scratch = hashOf(s.table, sent.values, sent.scratch)
		if id, settled, err := s.before(ctx, t); settled {
			return id, err
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		s.finish(t, err)
		return "", fmt.Errorf("make id: %w", err)
	}
	t.id, t.at = id.String(), at.UnixMicro()
	sent.values[s.id] = schemas.Value{Set: true, Text: []byte(t.id)}
	if !s.queue.put(t, sent.values, len(sent.body)) {
		s.finish(t, errFull)
		return "", errFull
	}
	if err := s.await(ctx, t, true); err != nil || key == "" {
		return t.id, err
	}
	return s.told(ctx, t)
}

// told gives what is under a ticket's key now that its record was to be durable: another process, or a call of one that is gone, may have been
// there first, and then this record was not written.
func (s *Source) told(ctx context.Context, t *ticket) (string, error) {
	id, found, err := s.answered(ctx, t)
	if err == nil && !found { // the pipeline keeps its answers elsewhere
		id = t.id
	}
	return id, err
}

// before settles a ticket whose key is on its way or was answered. When it does not, the key is the ticket's own.
func (s *Source) before(ctx context.Context, t *ticket) (id string, settled bool, err error) {
	for {
		other, mine := s.flights.join(t)
		if mine {
			break
		}
		err := s.await(ctx, other, false)
		switch {
		case ctx.Err() != nil || errors.Is(err, errSlow):
			return "", true, err
		case other.hash == t.hash:
			if err == nil {
				id, err = s.told(ctx, other)
			}
			return id, true, err
		} // another body under the same key: what the store holds decides
	}
	id, found, err := s.answered(context.WithoutCancel(ctx), t)
	if found || err != nil {
		t.id = id
		s.finish(t, err)
		return id, true, err
	}
	return "", false, nil
}

// answered looks for the answer that was given under a ticket's key. One that is there has its record, for they are written together.
func (s *Source) answered(ctx context.Context, t *ticket) (id string, found bool, err error) {
	item, found, err := s.items.Get(ctx, KeysTable, t.key)
	if err != nil || !found || item.Deleted {
		return "", false, err
	}
	id, err = answerOf(item, t.hash)
	return id, true, err
}

// answerOf gives the id that an answer has, or that it was of another body.
func answerOf(item itemstore.Item, of hash) (id string, err error) {
	var before string
	err = record.EachMember(item.Doc, func(name []byte, _ record.JSONKind, text []byte) error {
		switch string(name) {
		case "hash":
			before = string(text)
		case "id":
			id = string(text)
		}
		return nil
	})
	if err == nil && before != hex.EncodeToString(of[:]) {
		err = errConflict
	}
	return id, err
}

// await waits until a ticket is settled. The owner of one that no reader takes withdraws it after a fifth of the
// patience.
func (s *Source) await(ctx context.Context, t *ticket, owner bool) error {
	first := s.config.Patience
	if owner {
		first /= 5
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-t.done:
			return t.err
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if !owner {
			return errSlow
		}
		if s.queue.abandon(t) {
			s.finish(t, errUnread)
			return errUnread
		}
		owner = false
		timer.Reset(s.config.Patience - first)
	}
}
