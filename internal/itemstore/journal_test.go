package itemstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
)

// A process may die in the transaction that makes the file: the next one takes it back, and makes it.
func TestAFileThatWasBeingMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, left := filepath.Join(dir, "first.db"), filepath.Join(dir, "items.db")
	db, err := sql.Open("sqlite", "file:"+first+"?_pragma=journal_mode(delete)&_pragma=cache_size(2)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"create table x(a)", "drop table x", "vacuum", "begin immediate", "create table tbl(a)",
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < 200) insert into tbl select zeroblob(4000) from n",
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	for _, suffix := range []string{"-journal", ""} { // as a death leaves them
		text, err := os.ReadFile(first + suffix)
		if err = errors.Join(err, os.WriteFile(left+suffix, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = conn.ExecContext(t.Context(), "rollback")
	if err = errors.Join(err, conn.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := itemstore.Open(t.Context(), left, itemstore.Options{})
	if err != nil {
		t.Fatal(fmt.Errorf("open: %w", err))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
