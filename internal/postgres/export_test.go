package postgres

// Render gives what the server prints for a value of a column in binary; nothing for those that come as text.
func (l *Layout) Render(column int, v []byte) (text []byte, ok bool, err error) {
	c := &l.fields[l.source[column]].codec
	if c.cast {
		return nil, false, nil
	}
	text, err = c.render(nil, v)
	return text, true, err
}
