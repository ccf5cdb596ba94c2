package form

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/schemas"
)

// flight is a request with an idempotency key that is under way. Others with the same key wait for it.
type flight struct {
	hash string
	done chan struct{}
	id   string
	err  error
}

var errOtherBody = errors.New("this key was used with other values")

// maxKey is the longest idempotency key, in bytes.
const maxKey = 200

// validKey says whether an idempotency key is printable ASCII of a sensible length.
func validKey(key string) bool {
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(key) <= maxKey
}

// hashOf tells records apart that came with the same key: it covers the checked values, not how they were written.
func hashOf(values []schemas.Value) string {
	h := sha256.New()
	var n [17]byte
	for i := range values {
		v := &values[i]
		n[0] = 0
		if v.Set {
			n[0] = 1
		}
		binary.BigEndian.PutUint64(n[1:], uint64(len(v.Text)))
		binary.BigEndian.PutUint64(n[9:], uint64(v.Int)) //nolint:gosec // two's complement
		_, _ = h.Write(n[:])
		_, _ = h.Write(v.Text)
		_, _ = fmt.Fprint(h, v.Wide.Hi, v.Wide.Lo)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// once registers the record of a key once: it gives the id that the key has got, now or before.
func (s *Source) once(ctx context.Context, sub *submission) (string, error) {
	if sub.key == "" {
		return sub.id, s.submit(ctx, sub)
	}
	sub.key = s.config.Table.Name + "/" + sub.key
	s.mu.Lock()
	if f, ok := s.flights[sub.key]; ok {
		s.mu.Unlock()
		return f.wait(ctx, sub.hash)
	}
	f := &flight{hash: sub.hash, done: make(chan struct{})}
	s.flights[sub.key] = f
	s.mu.Unlock()
	f.id, f.err = s.first(ctx, sub)
	s.mu.Lock()
	delete(s.flights, sub.key)
	s.mu.Unlock()
	close(f.done)
	return f.id, f.err
}

func (f *flight) wait(ctx context.Context, hash string) (string, error) {
	if hash != f.hash {
		return "", errOtherBody
	}
	select {
	case <-f.done:
		return f.id, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// first looks whether the key was used before this process, or before the last restart, and registers if not.
func (s *Source) first(ctx context.Context, sub *submission) (string, error) {
	item, found, err := s.items.Get(ctx, KeysStream, sub.key)
	if err != nil {
		return "", err
	}
	if !found || item.Deleted {
		return sub.id, s.submit(ctx, sub)
	}
	var known struct{ Hash, ID string }
	if err := json.Unmarshal(item.Doc, &known); err != nil {
		return "", fmt.Errorf("read idempotency key: %w", err)
	}
	if known.Hash != sub.hash {
		return "", errOtherBody
	}
	return known.ID, nil
}
