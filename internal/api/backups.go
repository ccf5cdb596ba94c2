package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/acequia-io/acequia/internal/backup"
)

// Backups tells what backups there are.
type Backups interface {
	// ListBackups gives them, newest first, and the manifests that cannot be read. A table that nobody knows is a *jobs.UnknownError.
	ListBackups(ctx context.Context, f backup.Filter) ([]backup.Backup, []backup.Unreadable, error)
}

// BackupList is what /backups answers.
type BackupList struct {
	Backups    []Backup            `json:"backups" nullable:"false" doc:"The newest first"`
	Total      int                 `json:"total" doc:"How many there are, beyond the limit too"`
	Unreadable []backup.Unreadable `json:"unreadable,omitempty" nullable:"false" doc:"Manifests that cannot be read, of whatever table they are"`
}

// Backup is a database as it was kept.
type Backup struct {
	ID         string            `json:"id" example:"20261201T020000-1a2b3c4d5e6f"`
	SourceDB   string            `json:"source_db"`
	Source     string            `json:"source" doc:"its name in the configuration"`
	Database   string            `json:"database"`
	Server     string            `json:"server" doc:"its version"`
	At         time.Time         `json:"at" doc:"the moment that it shows; not consistent: when reading began"`
	Ended      time.Time         `json:"ended_at"`
	Consistent bool              `json:"consistent" doc:"all of it is of one moment"`
	Position   map[string]string `json:"position,omitempty" doc:"in the server's log"`
	Selection  []string          `json:"selection,omitempty" nullable:"false" doc:"the tables that were asked for; none: all of the source"`
	Format     string            `json:"format"`
	Encrypted  bool              `json:"encrypted"`
	Rows       int64             `json:"rows"`
	Bytes      int64             `json:"bytes" doc:"of the files"`
	Tables     []BackupTable     `json:"tables" nullable:"false"`
	NotKept    []string          `json:"not_kept,omitempty" nullable:"false" doc:"what the database had and a restore does not make again"`
}

// BackupTable is a table of a backup.
type BackupTable struct {
	Table  string        `json:"table_name"`
	Rows   int64         `json:"rows"`
	Bytes  int64         `json:"bytes"`
	Digest string        `json:"digest" doc:"count, xor and sum of the hashes of its rows"`
	Files  []backup.File `json:"files" nullable:"false" doc:"in the folder of the backups"`
}

func shownBackup(b *backup.Backup) Backup {
	out := Backup{
		ID: b.ID, SourceDB: b.SourceDB, Source: b.Source, Database: b.Database, Server: b.Server, At: b.At, Ended: b.Ended, Consistent: b.Consistent,
		Position: b.Position, Selection: b.Selection, Format: b.Format, Encrypted: b.Encrypted, Rows: b.Rows, Bytes: b.Bytes, NotKept: b.NotKept,
		Tables: make([]BackupTable, len(b.Tables)),
	}
	for i, t := range b.Tables {
		out.Tables[i] = BackupTable{t.Name, t.Rows, t.Bytes, t.Digest, append([]backup.File{}, t.Files...)}
	}
	return out
}

func (a *API) backups() {
	type list struct {
		SourceDB string `query:"source_db" enum:"mysql,postgresql,mongodb" doc:"Only of this kind of database"`
		Source   string `query:"source" maxLength:"63" doc:"Only of this source of the configuration"`
		Table    string `query:"table_name" maxLength:"512" doc:"Only those that have this table"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	register(a, huma.Operation{
		OperationID: "list backups", Method: http.MethodGet, Path: "/backups", Summary: "The backups there are, the newest first", Tags: []string{"work"},
		DefaultStatus: http.StatusOK, Description: "As their manifests say. No key is needed, and no database is asked, but for the near name of a table that no backup has.",
	}, nil, func(ctx context.Context, in *list) (*answer[BackupList], error) {
		all, bad, err := a.Backups.ListBackups(ctx, backup.Filter{SourceDB: in.SourceDB, Source: in.Source, Table: in.Table})
		if err != nil {
			return nil, problemOf(err)
		}
		out := BackupList{Backups: []Backup{}, Total: len(all), Unreadable: bad}
		for i := range all[:min(len(all), in.Limit)] {
			out.Backups = append(out.Backups, shownBackup(&all[i]))
		}
		return &answer[BackupList]{out}, nil
	})
}
