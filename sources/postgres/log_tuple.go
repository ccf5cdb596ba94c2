package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/acequia-io/acequia/internal/postgres"
)

var errMessage = errors.New("the server sent a message of the log that is cut off or unknown")

// change is an insert, update or delete, as pgoutput sends it ("Logical Replication Message Formats" in PostgreSQL's manual). Its values
// point into the message, and its slices are used again for the next one: a row allocates nothing.
type change struct {
	kind     byte   // 'I', 'U', 'D'
	relation uint32 // the table's OID
	identity byte   // of old: 'K' only the replica identity's columns are there, 'O' all are; 0: old was not sent
	old, new []postgres.Value
}

// parse reads a message, of which the first byte is the kind.
func (c *change) parse(m []byte) error {
	if len(m) < 6 {
		return errMessage
	}
	c.kind, c.relation, c.identity = m[0], binary.BigEndian.Uint32(m[1:]), 0
	c.old, c.new = c.old[:0], c.new[:0]
	m = m[5:]
	var err error
	if m[0] == 'K' || m[0] == 'O' {
		c.identity = m[0]
		if c.old, m, err = tuple(c.old, m[1:]); err != nil {
			return err
		}
	}
	switch {
	case c.kind == 'D':
		if c.identity == 0 || len(m) != 0 {
			return errMessage
		}
		return nil
	case len(m) == 0 || m[0] != 'N' || c.kind == 'I' && c.identity != 0:
		return errMessage
	}
	if c.new, m, err = tuple(c.new, m[1:]); err == nil && len(m) != 0 {
		err = errMessage
	}
	return err
}

// tuple reads the columns of one row, and gives what stands behind them.
func tuple(values []postgres.Value, m []byte) ([]postgres.Value, []byte, error) {
	if len(m) < 2 {
		return values, nil, errMessage
	}
	n := int(binary.BigEndian.Uint16(m))
	m = m[2:]
	for range n {
		if len(m) == 0 {
			return values, nil, errMessage
		}
		kind := m[0]
		m = m[1:]
		switch kind {
		case 'n', 'u':
			values = append(values, postgres.Value{Kind: kind})
		case 't', 'b':
			if len(m) < 4 {
				return values, nil, errMessage
			}
			size := int(binary.BigEndian.Uint32(m))
			if size > len(m)-4 {
				return values, nil, errMessage
			}
			values = append(values, postgres.Value{Kind: kind, Data: m[4 : 4+size : 4+size]})
			m = m[4+size:]
		default:
			return values, nil, errMessage
		}
	}
	return values, m, nil
}

// unsent says whether a value of the row was not sent, since the update has not touched it.
func unsent(values []postgres.Value) bool {
	for i := range values {
		if values[i].Kind == 'u' {
			return true
		}
	}
	return false
}

// same says whether the server printed two values alike.
func same(a, b postgres.Value) bool { return a.Kind == b.Kind && bytes.Equal(a.Data, b.Data) }
