package verify

// Copies bounds the keys with several copies that are held at a time.
func (o Options) Copies(n int) Options {
	o.copies = n
	return o
}

// Group bounds the rows that are compared one by one at a time, and the memory of those that are gathered.
func (o Options) Group(rows int64, memory int) Options {
	o.group, o.gather = rows, memory
	return o
}
