package backup

// Reseal gives the text of a manifest with other contents, whose checksum is right again.
func Reseal(text []byte, change func(*Backup)) ([]byte, error) {
	m, err := unseal(text)
	if err != nil {
		return nil, err
	}
	change(&m.Backup)
	return m.seal()
}
