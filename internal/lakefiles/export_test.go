package lakefiles

import (
	"context"

	"github.com/acequia-io/acequia/internal/blob"
)

// ListWith is List, and calls walked after each walk of the folders.
func ListWith(ctx context.Context, files blob.Files, table string, walked func()) ([]string, error) {
	found, err := find(ctx, files, table, walked)
	return names(found), err
}
