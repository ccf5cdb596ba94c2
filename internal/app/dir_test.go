package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
)

func TestSecondOwnerOfADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "dir")
	first, err := app.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.OpenDir(path); fault.Code(err) != "ACQ-ENV-002" {
		t.Errorf("second owner: %v, want ACQ-ENV-002", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := app.OpenDir(path)
	if err != nil {
		t.Fatalf("after the first has let go: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirectoryWithoutRightsIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := app.OpenDir(filepath.Join(file, "sub")); fault.Code(err) != "ACQ-ENV-001" {
		t.Errorf("a directory below a file: %v, want ACQ-ENV-001", err)
	}
}
