package record

import "errors"

// JSONKind is what kind of JSON a value is.
type JSONKind uint8

// The kinds of JSON values.
const (
	JSONNull JSONKind = iota + 1
	JSONBool
	JSONNumber
	JSONString
	JSONArray
	JSONObject
)

// EachMember gives the members of a JSON object in their order: name and value. text is the value of a string, and as it
// was written for the others. Both are valid until member returns; an error of member ends it. The whole text is
// checked: an error means that it is not one JSON object in UTF-8 (RFC 8259), or that it nests deeper than 64. Names may
// stand twice.
func EachMember(object []byte, member func(name []byte, kind JSONKind, text []byte) error) error {
	s := scanner{data: object}
	var spare []byte
	if c, err := s.peek(); err == nil && c != '{' {
		return errors.New("want a JSON object, got " + kindOf(c))
	}
	err := s.object(func(name []byte) error {
		s.scratch, spare = spare, s.scratch // the value's escapes must not overwrite the name
		c, err := s.peek()
		if err != nil {
			return err
		}
		if c == '"' {
			text, err := s.string()
			if err != nil {
				return err
			}
			return member(name, JSONString, text)
		}
		start := s.pos
		if err := s.skip(); err != nil {
			return err
		}
		kind := JSONNumber
		switch c {
		case '{':
			kind = JSONObject
		case '[':
			kind = JSONArray
		case 't', 'f':
			kind = JSONBool
		case 'n':
			kind = JSONNull
		}
		return member(name, kind, s.data[start:s.pos])
	})
	if err != nil {
		return err
	}
	return s.end()
}
