package record

// Prepare gives an empty column of field f the leading offset and the children that it wants. Who appends to a column slot by
// slot begins with it and ends with Pad.
func (c *Column) Prepare(f *Field) {
	if (f.Kind == String || f.Kind == Bytes || f.Kind == List) && len(c.Offsets) == 0 {
		c.Offsets = append(c.Offsets, 0)
	}
	if len(c.Children) < len(f.Fields) {
		c.Children = make([]Column, len(f.Fields))
	}
	for i := range c.Children {
		c.Children[i].Prepare(&f.Fields[i])
	}
}

// AppendZero appends an empty slot to a prepared column of field f: zero, no text, an empty list.
func (c *Column) AppendZero(f *Field) {
	switch {
	case f.Kind == Float32 || f.Kind == Float64:
		c.Floats = append(c.Floats, 0)
	case f.Wide():
		c.Wide = append(c.Wide, Int128{})
	case f.Kind == String || f.Kind == Bytes:
		c.AppendText(nil)
	case f.Kind == VersionText:
		c.Versions.append(Version{})
	case f.Kind == List:
		c.Offsets = append(c.Offsets, c.Offsets[len(c.Offsets)-1])
	case f.Kind == Struct:
		for i := range f.Fields {
			c.Children[i].AppendZero(&f.Fields[i])
		}
	default:
		c.Ints = append(c.Ints, 0)
	}
}

// Slots counts the slots of a column of field f that is not Const.
func (c *Column) Slots(f *Field) int {
	switch {
	case f.Kind == Float32 || f.Kind == Float64:
		return len(c.Floats)
	case f.Wide():
		return len(c.Wide)
	case f.Kind == String || f.Kind == Bytes || f.Kind == List:
		return max(0, len(c.Offsets)-1)
	case f.Kind == VersionText:
		return len(c.Versions.Lo)
	case f.Kind == Struct:
		if len(c.Children) == 0 {
			return 0
		}
		return c.Children[0].Slots(&f.Fields[0])
	}
	return len(c.Ints)
}

// Truncate cuts a column of field f to its first slots.
func (c *Column) Truncate(f *Field, slots int) {
	switch {
	case f.Kind == Float32 || f.Kind == Float64:
		c.Floats = c.Floats[:slots]
	case f.Wide():
		c.Wide = c.Wide[:slots]
	case f.Kind == String || f.Kind == Bytes:
		c.Offsets = c.Offsets[:slots+1]
		c.Bytes = c.Bytes[:c.Offsets[slots]]
	case f.Kind == VersionText:
		c.Versions.Hi, c.Versions.Lo, c.Versions.Index = c.Versions.Hi[:slots], c.Versions.Lo[:slots], c.Versions.Index[:slots]
	case f.Kind == List:
		c.Offsets = c.Offsets[:slots+1]
		c.Children[0].Truncate(&f.Fields[0], int(c.Offsets[slots]))
	case f.Kind == Struct:
		for i := range f.Fields {
			c.Children[i].Truncate(&f.Fields[i], slots)
		}
	default:
		c.Ints = c.Ints[:slots]
	}
	if c.Valid != nil && len(c.Valid)*64 > slots {
		c.Valid = c.Valid[:(slots+63)/64]
		if slots&63 != 0 {
			c.Valid[slots>>6] |= ^uint64(0) << (slots & 63)
		}
	}
	if c.Absent != nil && len(c.Absent)*64 > slots {
		c.Absent = c.Absent[:(slots+63)/64]
		if slots&63 != 0 {
			c.Absent[slots>>6] &= 1<<(slots&63) - 1
		}
	}
}

// Pad makes the bitmaps of a column of field f, and of what it holds, cover its slots: a null struct gives its members a slot and
// no bit.
func (c *Column) Pad(f *Field, slots int) {
	c.pad(slots)
	switch f.Kind {
	case Struct:
		for i := range f.Fields {
			c.Children[i].Pad(&f.Fields[i], slots)
		}
	case List:
		if n := len(c.Offsets); n > 0 {
			c.Children[0].Pad(&f.Fields[0], int(c.Offsets[n-1]))
		}
	}
}

func (c *Column) pad(rows int) {
	if c.Valid != nil {
		for len(c.Valid)*64 < rows {
			c.Valid = append(c.Valid, ^uint64(0))
		}
	}
	if c.Absent != nil {
		for len(c.Absent)*64 < rows {
			c.Absent = append(c.Absent, 0)
		}
	}
}
