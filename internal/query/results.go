package query

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
)

// Receipt tells of a result that was written: it stands beside the CSV file as JSON.
type Receipt struct {
	SQL       string    `json:"sql"`
	Started   time.Time `json:"started"`
	Millis    int64     `json:"ms"`
	Rows      int       `json:"rows"`
	Truncated bool      `json:"truncated"` // the result has more rows than were written
	Columns   []Column  `json:"columns"`
	File      string    `json:"file"` // the CSV file's name
	Path      string    `json:"-"`    // its place
}

// SaveResult writes the rows of a statement as CSV into a results folder, with a receipt beside it, and closes them.
// The folder is made when it is missing, and may not be in the lake: what lies there is data. Both files appear whole
// or not at all.
func (e *Engine) SaveResult(dir, text string, rows *Rows) (Receipt, error) {
	receipt, err := e.saveResult(dir, text, rows)
	return receipt, errors.Join(err, rows.Close())
}

func (e *Engine) saveResult(dir, text string, rows *Rows) (Receipt, error) {
	started := time.Now().UTC().Add(-rows.Elapsed())
	inside, err := within(e.cfg.Lake, dir)
	if err != nil {
		return Receipt{}, cannotSave(err)
	}
	if inside {
		return Receipt{}, &fault.Error{
			Code: "ACQ-QUERY-008", Place: dir, Err: errors.New("the results folder is in the lake"),
			Remedy: "name a folder outside of " + e.cfg.Lake,
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return Receipt{}, cannotSave(err)
	}
	digest := sha256.Sum256([]byte(text))
	name := started.Format("20060102T150405.000000Z") + "-" + hex.EncodeToString(digest[:4])
	r := Receipt{SQL: text, Started: started, Columns: rows.Columns(), File: name + ".csv", Path: filepath.Join(dir, name+".csv")}
	if err := writeWhole(r.Path, func(f *os.File) error { return Write(f, rows, CSV) }); err != nil {
		return Receipt{}, err
	}
	r.Rows, r.Truncated, r.Millis = rows.Count(), rows.Truncated(), rows.Elapsed().Milliseconds()
	note, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return Receipt{}, fmt.Errorf("write receipt: %w", err)
	}
	err = writeWhole(filepath.Join(dir, name+".json"), func(f *os.File) error {
		_, err := f.Write(append(note, '\n'))
		return err
	})
	return r, err
}

// within says whether a folder, which need not exist, is the other or lies in it, links followed.
func within(outer, inner string) (bool, error) {
	outer, err := resolve(outer)
	if err != nil {
		return false, err
	}
	if inner, err = resolve(inner); err != nil {
		return false, err
	}
	path, err := filepath.Rel(outer, inner)
	return err == nil && path != ".." && !strings.HasPrefix(path, ".."+string(filepath.Separator)), nil
}

// resolve follows the links of as much of a path as exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find folder: %w", err)
	}
	existing, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, os.ErrNotExist) || filepath.Dir(path) == path {
		return existing, err
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// writeWhole writes a file under another name in the same folder and renames it when its bytes are on the disk.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err != nil {
		return cannotSave(err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first failure is the one to tell
		return cannotSave(err)
	}
	return nil
}

func cannotSave(err error) error {
	if fault.Code(err) != "" || !errors.As(err, new(*os.PathError)) && !errors.As(err, new(*os.LinkError)) {
		return err
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-QUERY-010", Err: fmt.Errorf("write result: %w", err),
		Remedy: "name a results folder that can be written, with room in it",
	}
}
