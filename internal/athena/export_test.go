package athena

// DecodeView reads the text of a view.
func DecodeView(text string) (d ViewDefinition, ok bool) { return decodeView(text) }

// ViewDefinition is what the text of a view holds.
type ViewDefinition = viewDefinition
