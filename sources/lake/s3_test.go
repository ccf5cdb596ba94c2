package lake_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/lake"
)

// A lake in S3 is read as the same one in a directory is.
func TestALakeInS3(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	games(t, root, "games/dt=2026-11-24/a.parquet", s, row{id: 1, op: record.Insert, at: "2026-11-24"}, row{id: 2, op: record.Delete, at: "2026-11-24"})
	games(t, root, "games/dt=2026-11-25/b.parquet", s, row{id: 3, op: record.Update, at: "2026-11-25"})
	server := blobtest.New(t)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		server.Store("a/lake/"+filepath.ToSlash(name), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := lake.Config{URL: "s3://bucket/a/lake/", AWS: server.Settings().AWS}
	got, refused, err := read(t, newSource(t, c))
	if err != nil || ids(got) != "1 2 3" || len(refused) > 0 {
		t.Errorf("got %s, %v, %v", ids(got), refused, err)
	}
	c.From = "2026-11-25"
	if files, err := newSource(t, c).Files(t.Context()); len(files) != 1 || err != nil {
		t.Errorf("%v, %v", files, err)
	}
	c.URL = "s3://bucket/none"
	if _, err := newSource(t, c).Files(t.Context()); fault.Code(err) != "ACQ-LAKE-030" {
		t.Errorf("got %v", err)
	}
	server.Deny(blobtest.List)
	if _, err := newSource(t, c).Files(t.Context()); fault.Of(err) != fault.Fatal {
		t.Errorf("got %v", err)
	}
}
