package verify

// Copies bounds the keys with several copies that are held at a time.
func (o Options) Copies(n int) Options {
	o.copies = n
	return o
}
