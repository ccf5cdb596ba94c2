package blob_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/blob"
)

func TestProbeLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, root := range []string{dir, filepath.Join(dir, "not", "there")} {
		there, free, err := blob.Probe(root)
		if err != nil || there != (root == dir) || free <= 0 {
			t.Errorf("%s: %v, %d bytes free, %v", root, there, free, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "sub")} {
		if _, _, err := blob.Probe(root); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", root, err)
		}
	}
}
