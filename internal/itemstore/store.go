// Package itemstore keeps items: key-value tables with versions, indexes and a change log.
package itemstore

// Store is the embedded item store.
type Store struct{} // placeholder
