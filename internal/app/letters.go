package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// letterFields are the columns of the table dead_letters. What is raw and no text is quoted as Go quotes.
var letterFields = []record.Field{ //nolint:gochecknoglobals // a constant table
	{Name: "id", Kind: record.Int64},
	{Name: "pipeline", Kind: record.String},
	{Name: "lane", Kind: record.String},
	{Name: "stream", Kind: record.String},
	{Name: "step", Kind: record.String},
	{Name: "column_name", Kind: record.String},
	{Name: "code", Kind: record.String},
	{Name: "reason", Kind: record.String},
	{Name: "op", Kind: record.String},
	{Name: "version", Kind: record.String},
	{Name: "record", Kind: record.String},
	{Name: "raw", Kind: record.String},
	{Name: "position", Kind: record.String},
	{Name: "row_index", Kind: record.Int64},
	{Name: "attempts", Kind: record.Int64},
	{Name: "first_at", Kind: record.Timestamp},
	{Name: "at", Kind: record.Timestamp},
}

// LetterPage is how many dead letters are read at a time.
const LetterPage = 1000

// EachLetter calls do for each dead letter of a pipeline, or of all if it is "", oldest first, until limit; 0: no limit.
func EachLetter(ctx context.Context, s *checkpoint.Store, pipeline string, limit int, do func(*checkpoint.DeadLetter) error) error {
	var after int64
	for n := 0; limit == 0 || n < limit; {
		want := LetterPage
		if limit > 0 {
			want = min(want, limit-n)
		}
		letters, err := s.DeadLetters(ctx, pipeline, after, want)
		if err != nil || len(letters) == 0 {
			return err
		}
		for i := range letters {
			if err := do(&letters[i]); err != nil {
				return err
			}
		}
		n, after = n+len(letters), letters[len(letters)-1].ID
	}
	return nil
}

// LettersTable copies the dead letters of a state into a file of a folder, and gives the table dead_letters over it. Where
// nothing has run yet there are none.
func LettersTable(ctx context.Context, state StatePlace, folder string) (query.LakeTable, error) {
	file := filepath.Join(folder, "dead_letters.parquet")
	if err := copyLetters(ctx, state, file); err != nil {
		return query.LakeTable{}, fmt.Errorf("read dead letters: %w", err)
	}
	t := query.LakeTable{Name: "dead_letters", Columns: make([]query.Column, len(letterFields))}
	for i, f := range letterFields {
		t.Columns[i] = query.Column{Name: f.Name, Type: schemas.DuckDBType(f)}
	}
	t.Views = []query.View{{
		Name: "dead_letters", SQL: "SELECT * REPLACE (\"at\"::TIMESTAMP AS \"at\", first_at::TIMESTAMP AS first_at) FROM read_parquet('" + strings.ReplaceAll(file, "'", "''") + "')",
	}}
	return t, nil
}

func copyLetters(ctx context.Context, state StatePlace, to string) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // a folder of our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	schema, err := record.NewSchema("dead_letters", nil, letterFields...)
	if err != nil {
		return err
	}
	w := parquet.NewWriter(out, letterFields, nil, parquet.Options{})
	b := record.NewBuilder(schema, LetterPage)
	flush := func() error {
		batch := b.Batch(nil)
		b = record.NewBuilder(schema, LetterPage)
		return w.Write(batch.Columns, 0, batch.Rows)
	}
	store, err := state.OpenToRead(ctx)
	switch {
	case errors.Is(err, checkpoint.ErrNoState):
	case err != nil:
		return err
	default:
		err = EachLetter(ctx, store, "", 0, func(d *checkpoint.DeadLetter) error {
			appendLetter(b, d)
			if b.Rows() < LetterPage {
				return nil
			}
			return flush()
		})
		if err = errors.Join(err, store.Close()); err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return w.Close()
}

func appendLetter(b *record.Builder, d *checkpoint.DeadLetter) {
	b.Int(0, d.ID)
	texts := []string{
		d.Pipeline, d.Lane, d.Stream, d.Step, d.Column, d.Code, d.Reason, d.Op, d.Version, string(d.Row), printable(string(d.Raw)),
		printable(string(d.Position)),
	}
	for i, text := range texts {
		b.String(1+i, strings.ToValidUTF8(text, "\uFFFD"))
	}
	for i, n := range []int64{d.Index, d.Attempts, d.First.UnixMicro(), d.At.UnixMicro()} {
		b.Int(1+len(texts)+i, n)
	}
	b.Next()
}

// printable quotes what is no text as Go quotes.
func printable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// EachLetter gives all dead letters of the state, oldest first.
func (s *Service) EachLetter(ctx context.Context, do func(*checkpoint.DeadLetter) error) error {
	return EachLetter(ctx, s.state, "", 0, do)
}
