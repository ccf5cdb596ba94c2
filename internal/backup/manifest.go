package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// manifestVersion is that of the format.
const manifestVersion = 1

// manifest is a backup as its file has it.
type manifest struct {
	Version int `json:"version"`
	Backup
	Recipients  []string             `json:"recipients,omitempty"` // whose keys open it
	Prepare     []string             `json:"prepare,omitempty"`
	Definitions []sources.Definition `json:"definitions"` // of Tables
	Checksum    string               `json:"checksum"`    // SHA-256 of the manifest as it stands here with an empty one
}

// seal gives the text of the manifest's file.
func (m *manifest) seal() ([]byte, error) {
	m.Checksum = ""
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	m.Checksum = hex.EncodeToString(sum[:])
	text, err = json.MarshalIndent(m, "", " ")
	return append(text, '\n'), err
}

// unseal reads it.
func unseal(text []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("it is of version %d, and this program knows %d", m.Version, manifestVersion)
	}
	said := m.Checksum
	if _, err := m.seal(); err != nil {
		return nil, err
	}
	if said != m.Checksum {
		return nil, errors.New("it is not what was written: its checksum differs")
	}
	if len(m.Definitions) != len(m.Tables) {
		return nil, errors.New("it does not say of each table what makes it again")
	}
	return &m, nil
}

// load reads a manifest; fs.ErrNotExist says that there is none.
func (s *Store) load(ctx context.Context, engine, id string) (*manifest, error) {
	name := manifestName(engine, id)
	text, err := s.bucket.Read(ctx, name)
	if err != nil {
		return nil, kept(err)
	}
	if isNote(text) {
		return nil, fmt.Errorf("%s: it is a note: %w", name, fs.ErrNotExist)
	}
	m, err := unseal(text)
	if err == nil {
		return m, nil
	}
	return nil, &fault.Error{
		Code: codeUnread, Place: name, Err: err, Remedy: "its files are left where they are; take the manifest from a copy of the folder, or restore another backup",
	}
}

// engines are those that have a folder.
func (s *Store) engines(ctx context.Context) ([]string, error) {
	folders, err := s.bucket.Folders(ctx, "")
	if err != nil {
		return nil, kept(err)
	}
	var out []string
	for _, engine := range folders {
		inside, err := s.bucket.Folders(ctx, engine)
		if err != nil {
			return nil, kept(err)
		}
		if slices.Contains(inside, manifests) {
			out = append(out, engine)
		}
	}
	return out, nil
}

// ids gives the backups of an engine that have a manifest, or the note in its place, oldest first.
func (s *Store) ids(ctx context.Context, engine string) ([]string, error) {
	files, err := s.bucket.Walk(ctx, engine+"/"+manifests)
	if err != nil {
		return nil, kept(err)
	}
	var out []string
	for _, f := range files {
		if id, ok := strings.CutSuffix(path.Base(f.Name), ".json"); ok && wholeID.MatchString(id) && f.Name == manifestName(engine, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Filter chooses among backups; what is empty chooses all.
type Filter struct {
	SourceDB string // postgresql, mysql or mongodb
	Source   string // the name in the configuration
	Table    string
}

func (f Filter) takes(m *manifest) bool {
	return (f.SourceDB == "" || f.SourceDB == m.SourceDB) && (f.Source == "" || f.Source == m.Source) &&
		(f.Table == "" || slices.ContainsFunc(m.Tables, func(t Table) bool { return t.Name == f.Table }))
}

// Unreadable is a manifest that cannot be read.
type Unreadable struct {
	ID       string `json:"id"`
	SourceDB string `json:"source_db"`
	Reason   string `json:"reason"`
}

// List gives the backups there are, newest first, and the manifests that cannot be read, which may be of any source.
func (s *Store) List(ctx context.Context, f Filter) (out []Backup, bad []Unreadable, err error) {
	err = s.each(ctx, f.SourceDB, func(engine, id string, m *manifest, err error) {
		switch {
		case err != nil:
			bad = append(bad, Unreadable{id, engine, reasonOf(err)})
		case f.takes(m):
			out = append(out, m.Backup)
		}
	})
	slices.SortStableFunc(out, func(a, b Backup) int { return byMoment(&b, &a) })
	return out, bad, err
}

// byMoment puts the older one first: two may have been named in one second.
func byMoment(a, b *Backup) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID)) }

// each hands over every manifest of an engine, or of all, in the order of their names.
func (s *Store) each(ctx context.Context, only string, do func(engine, id string, m *manifest, err error)) error {
	engines, err := s.engines(ctx)
	if err != nil {
		return err
	}
	for _, engine := range engines {
		if only != "" && engine != only {
			continue
		}
		ids, err := s.ids(ctx, engine)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := s.load(ctx, engine, id)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it is being made, or was pruned meanwhile
			}
			if err != nil && fault.Code(err) != codeUnread {
				return err
			}
			do(engine, id, m, err)
		}
	}
	return nil
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// Latest stands for the newest backup.
const Latest = "latest"

// find gives a backup by its id, or the newest that the filter takes.
func (s *Store) find(ctx context.Context, id string, f Filter) (*manifest, error) {
	var found *manifest
	var broken error
	of := map[string]bool{}
	err := s.each(ctx, f.SourceDB, func(_, its string, m *manifest, err error) {
		switch {
		case id != Latest && its != id:
		case err != nil:
			broken = err
		case f.takes(m):
			of[m.Source] = true
			if found == nil || byMoment(&m.Backup, &found.Backup) > 0 {
				found = m
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case len(of) > 1:
		return nil, &fault.Error{
			Code: codeTables, Place: id, Err: fmt.Errorf("there are backups of %s", strings.Join(slices.Sorted(maps.Keys(of)), ", ")), Remedy: "say of which with --source, or name the backup",
		}
	case found == nil && broken != nil:
		return nil, broken
	case found == nil:
		return nil, &fault.Error{Code: codeNone, Place: id, Err: fmt.Errorf("there is no such backup in %s", s.Root()), Remedy: "see which there are: acequia backup list"}
	}
	return found, nil
}

// Get gives a backup by its id, or for Latest the newest that the filter takes.
func (s *Store) Get(ctx context.Context, id string, f Filter) (*Backup, error) {
	m, err := s.find(ctx, id, f)
	if err != nil {
		return nil, err
	}
	return &m.Backup, nil
}

// hold keeps a backup from being pruned, and reads it again under the lock.
func (s *Store) hold(ctx context.Context, id string, f Filter) (m *manifest, release func(), err error) {
	if m, err = s.find(ctx, id, f); err != nil {
		return nil, nil, err
	}
	release, held, err := s.bucket.TryShare(ctx, lockName(m.SourceDB, m.ID))
	switch {
	case fault.Code(err) == "ACQ-LAKE-002", fault.Code(err) == "ACQ-AWS-005": // it is only read; where others prune, a file that goes is told
		release = func() {}
	case err != nil:
		return nil, nil, kept(err)
	case !held:
		return nil, nil, &fault.Error{Code: codeInUse, Place: m.ID, Err: errors.New("another process is removing it"), Remedy: "choose another backup"}
	}
	if m, err = s.load(ctx, m.SourceDB, m.ID); err != nil {
		release()
		if errors.Is(err, fs.ErrNotExist) {
			err = &fault.Error{Code: codeNone, Place: id, Err: errors.New("it was removed just now"), Remedy: "choose another backup"}
		}
		return nil, nil, err
	}
	return m, release, nil
}

// columnsOf writes fields as a manifest has them.
func columnsOf(fields []record.Field, types map[string]string) []Column {
	out := make([]Column, len(fields))
	for i, f := range fields {
		out[i] = Column{
			Name: f.Name, Type: types[f.Name], Kind: f.Kind.String(), Nullable: f.Nullable, Precision: f.Precision, Scale: f.Scale,
		}
		if len(f.Fields) > 0 {
			out[i].Fields = columnsOf(f.Fields, nil)
		}
	}
	return out
}

// fieldsOf reads them back.
func fieldsOf(columns []Column) ([]record.Field, error) {
	out := make([]record.Field, len(columns))
	for i, c := range columns {
		kind, ok := record.KindOf(c.Kind)
		if !ok {
			return nil, fmt.Errorf("column %s: unknown kind %q", c.Name, c.Kind)
		}
		out[i] = record.Field{Name: c.Name, Kind: kind, Nullable: c.Nullable, Precision: c.Precision, Scale: c.Scale}
		if len(c.Fields) > 0 {
			inner, err := fieldsOf(c.Fields)
			if err != nil {
				return nil, err
			}
			out[i].Fields = inner
		}
	}
	return out, nil
}

// schema is that of a table's rows.
func (t *Table) schema() (*record.Schema, error) {
	fields, err := fieldsOf(t.Columns)
	if err != nil {
		return nil, err
	}
	return record.NewSchema(t.Name, nil, fields...)
}
