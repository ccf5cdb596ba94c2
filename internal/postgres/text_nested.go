package postgres

import (
	"bytes"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// textList appends an array as array_out prints it.
func (c *codec) textList(dst *record.Column, v []byte) error {
	if len(v) < 2 || v[len(v)-1] != '}' {
		return errMalformed
	}
	if v[0] == '[' {
		return gather.ErrOdd // its lower bounds
	}
	if v[0] != '{' {
		return errMalformed
	}
	child, field := &dst.Children[0], &c.field.Fields[0]
	from := int(dst.Offsets[len(dst.Offsets)-1])
	at := from
	var room []byte
	if v = v[1:]; len(v) == 1 {
		v = nil // no elements
	}
	for ; len(v) > 0; at++ {
		var element []byte
		var quoted bool
		err := gather.ErrOdd // several dimensions
		if v[0] != '{' {
			element, v, quoted, err = arrayElement(room[:0], v)
		}
		switch {
		case err != nil:
		case !quoted && string(element) == "NULL":
			child.AppendZero(field)
			child.SetNull(at)
		default:
			err = c.parts[0].text(child, element, at)
		}
		if err != nil {
			child.Truncate(field, from)
			return err
		}
		room = element
	}
	dst.Offsets = append(dst.Offsets, uint32(at)) //nolint:gosec // Decoder keeps below 4 GiB
	return nil
}

// arrayElement takes an element and the comma or the last brace behind it off v.
func arrayElement(room, v []byte) (element, rest []byte, quoted bool, err error) {
	if v[0] != '"' {
		end := bytes.IndexAny(v, ",}")
		if end < 1 || v[end] == '}' && end != len(v)-1 {
			return nil, nil, false, errMalformed
		}
		return append(room, v[:end]...), v[end+1:], false, nil
	}
	for v = v[1:]; ; {
		end := bytes.IndexAny(v, `"\`)
		if end < 0 || end+1 >= len(v) {
			return nil, nil, true, errMalformed
		}
		room = append(room, v[:end]...)
		if v[end] == '\\' {
			room = append(room, v[end+1])
			v = v[end+2:]
			continue
		}
		v = v[end+1:]
		if v[0] != ',' && (v[0] != '}' || len(v) > 1) {
			return nil, nil, true, errMalformed
		}
		return room, v[1:], true, nil
	}
}

// textStruct appends a composite as record_out prints it.
func (c *codec) textStruct(dst *record.Column, v []byte, slots int) error {
	if len(v) < 2 || v[0] != '(' || v[len(v)-1] != ')' {
		return errMalformed
	}
	v = v[1:]
	var room []byte
	for i := range c.parts {
		child, field := &dst.Children[i], &c.field.Fields[i]
		if len(v) == 0 {
			return c.takeBack(dst, slots, i, errMalformed)
		}
		member, rest, null, err := recordMember(room[:0], v)
		switch {
		case err != nil:
		case null:
			child.AppendZero(field)
			child.SetNull(slots)
		default:
			err = c.parts[i].text(child, member, slots)
		}
		if err != nil {
			return c.takeBack(dst, slots, i, err)
		}
		v, room = rest, member
	}
	if len(v) > 0 {
		return c.takeBack(dst, slots, len(c.parts), errMalformed)
	}
	return nil
}

// recordMember takes a member and the comma or the last parenthesis behind it off v. Nothing at all is NULL.
func recordMember(room, v []byte) (member, rest []byte, null bool, err error) {
	if v[0] != '"' {
		end := bytes.IndexAny(v, ",)")
		if end < 0 || v[end] == ')' && end != len(v)-1 {
			return nil, nil, false, errMalformed
		}
		return append(room, v[:end]...), v[end+1:], end == 0, nil
	}
	for v = v[1:]; ; {
		end := bytes.IndexAny(v, `"\`)
		if end < 0 || end+1 >= len(v) {
			return nil, nil, false, errMalformed
		}
		room = append(room, v[:end]...)
		if v[end] == '\\' || v[end+1] == '"' { // one of two
			room = append(room, v[end+1])
			v = v[end+2:]
			continue
		}
		v = v[end+1:]
		if v[0] != ',' && (v[0] != ')' || len(v) > 1) {
			return nil, nil, false, errMalformed
		}
		return room, v[1:], false, nil
	}
}

// textHstore appends an hstore as hstore_out prints it: "key"=>"value", "key"=>NULL.
func (c *codec) textHstore(dst *record.Column, v []byte) error {
	list := c.hstore(dst)
	for first := true; len(v) > 0; first = false {
		ok := true
		if !first {
			v, ok = bytes.CutPrefix(v, []byte(", "))
		}
		var key, value []byte
		if ok {
			key, v, ok = hstoreText(v)
		}
		if ok {
			v, ok = bytes.CutPrefix(v, []byte("=>"))
		}
		if !ok {
			return list.takeBack(errMalformed)
		}
		after, null := bytes.CutPrefix(v, []byte("NULL"))
		if v = after; !null {
			if value, v, ok = hstoreText(v); !ok {
				return list.takeBack(errMalformed)
			}
		}
		if err := list.add(key, value, null); err != nil {
			return list.takeBack(err)
		}
	}
	list.end()
	return nil
}

func hstoreText(v []byte) (text, rest []byte, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return nil, nil, false
	}
	text = []byte{}
	for v = v[1:]; ; {
		end := bytes.IndexAny(v, `"\`)
		if end < 0 {
			return nil, nil, false
		}
		text = append(text, v[:end]...)
		if v[end] == '"' {
			return text, v[end+1:], true
		}
		if end+1 >= len(v) {
			return nil, nil, false
		}
		text = append(text, v[end+1])
		v = v[end+2:]
	}
}
