package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/obs"
)

type backupCmd struct {
	Create  backupCreateCmd  `cmd:"" help:"Make a backup of each database that the pipelines of a file read."`
	List    backupListCmd    `cmd:"" help:"List the backups, newest first."`
	Verify  backupVerifyCmd  `cmd:"" help:"Read all of a backup, and compare it with what was kept, or with its database."`
	Restore backupRestoreCmd `cmd:"" help:"Make a backup again in a database that has none of its tables."`
	Prune   backupPruneCmd   `cmd:"" help:"Remove the backups that the rules do not keep, and what was left of those that were cut off."`
	Key     backupKeyCmd     `cmd:"" help:"Make a key that encrypts backups."`
}

// backupFlags are those of all commands over backups.
type backupFlags struct {
	spoken
	File string `short:"f" help:"Configuration file; default ./acequia.yaml." placeholder:"FILE"`
	JSON bool   `help:"Write JSON."`
}

// project reads the configuration.
func (f backupFlags) project(ctx context.Context, t terminal, more ...string) (*app.Project, error) {
	if f.File != "" {
		more = append(more, f.File)
	}
	return f.spoken.project(ctx, t, more...)
}

// watched runs something long, and shows meanwhile how far it is.
func (f backupFlags) watched(ctx context.Context, t terminal, do func(o app.BackupOptions) error) (err error) {
	t.err = onScreen(t.err)
	log, closed, err := t.log()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	o := app.BackupOptions{Log: log, Progress: &app.BackupProgress{}, Probe: t.probe}
	watching, done := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		(&progress{t: t, log: log, json: f.JSON, status: o.Progress.Status, expected: o.Progress.Expected, began: time.Now(), lang: language(f.Lang)}).follow(watching)
	})
	err = do(o)
	done()
	telling.Wait()
	if ctx.Err() != nil {
		_, _ = fmt.Fprintln(t.err, f.say("Interrupted; nothing of it counts.", "Interrumpido; no cuenta nada de lo hecho."))
		return toldError{exitFailed}
	}
	return err
}

type backupCreateCmd struct {
	files
	backupFlags
	Source []string `help:"Only these sources; default: those of backup.sources, or every database that a pipeline reads." placeholder:"NAME"`
	Tables []string `help:"Only these tables: patterns of SCHEMA.TABLE; ! before one leaves out." placeholder:"GLOB"`
	Format string   `help:"parquet or ndjson; default: that of the file." enum:",parquet,ndjson" default:""`
	Prune  bool     `help:"Then remove the backups that the rules of the file do not keep."`
}

// Help shows examples.
func (backupCreateCmd) Help() string {
	return `Keeps each database as it stands at one moment: all tables in one snapshot, read side by side (parallel: of the source), as Parquet or NDJSON
with zstd, under backup.url, in <engine>/<table>/. The manifest, with counts, hashes, what makes the tables again and the position in the
database's log, is written last: a backup that is cut off does not count. Nothing is written to the database, and it need not stand still.

Examples:
  acequia backup create cinema.yaml
  acequia backup create cinema.yaml --source shop --tables 'public.*' --tables '!public.audit'
  acequia backup create -f cinema.yaml --format ndjson --prune --json

Exit codes: 0 ok, 1 it failed or was interrupted, 2 usage or configuration, 3 environment (unreachable, rights, disk, key), 4 some of the
databases have no backup.`
}

// Run makes them.
func (c backupCreateCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.project(ctx, t, c.Paths...)
	if err != nil {
		return err
	}
	var results []app.BackupResult
	var pruned *backup.Pruned
	err = c.watched(ctx, t, func(o app.BackupOptions) (err error) {
		o.Sources, o.Tables, o.Format = c.Source, c.Tables, c.Format
		if results, err = project.CreateBackups(ctx, o); err != nil || !c.Prune || len(failures(results)) > 0 {
			return err
		}
		o.Progress = nil
		pruned, err = project.PruneBackups(ctx, false, o)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := writeJSON(t.out, created{results, pruned}); err != nil {
			return err
		}
	} else {
		c.show(t, results, pruned)
	}
	failed := failures(results)
	for _, r := range failed {
		_ = reportIn(t.err, r.Err, c.translation())
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) < len(results):
		return toldError{exitPartial}
	}
	return toldError{report(discard{}, failed[0].Err)}
}

// discard takes what was told already.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// created is the result as JSON.
type created struct {
	Backups []app.BackupResult `json:"backups"`
	Pruned  *backup.Pruned     `json:"pruned,omitempty"`
}

func failures(results []app.BackupResult) (out []app.BackupResult) {
	for _, r := range results {
		if r.Err != nil {
			out = append(out, r)
		}
	}
	return out
}

type backupListCmd struct {
	files
	backupFlags
	SourceDB string `name:"source-db" help:"Only those of this kind: postgresql, mysql or mongodb." placeholder:"KIND"`
	Source   string `help:"Only those of this source." placeholder:"NAME"`
	Table    string `help:"Only those that have this table." placeholder:"TABLE"`
}

// Help shows examples.
func (backupListCmd) Help() string {
	return `Shows what stands in the manifests. No key is needed, and no database is asked.

Examples:
  acequia backup list cinema.yaml
  acequia backup list cinema.yaml --source-db postgresql --table reservations
  acequia backup list -f cinema.yaml --json

Exit codes: 0 ok, 2 usage or configuration, 3 environment, 5 a manifest cannot be read.`
}

// Run lists them.
func (c backupListCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.project(ctx, t, c.Paths...)
	if err != nil {
		return err
	}
	store, err := project.Backups(ctx, app.BackupOptions{})
	if err != nil {
		return err
	}
	all, bad, err := store.List(ctx, backup.Filter{SourceDB: c.SourceDB, Source: c.Source, Table: c.Table})
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(t.out, listed{append([]backup.Backup{}, all...), bad})
	} else {
		err = c.show(t, all, bad, store.Root())
	}
	if err == nil && len(bad) > 0 {
		return toldError{exitDifferent}
	}
	return err
}

// listed is the result as JSON.
type listed struct {
	Backups    []backup.Backup     `json:"backups"`
	Unreadable []backup.Unreadable `json:"unreadable,omitempty"`
}

type backupVerifyCmd struct {
	ID string `arg:"" optional:"" help:"As acequia backup list shows it; default: the newest." default:"latest"`
	backupFlags
	Source  string `help:"The newest of this source." placeholder:"NAME"`
	Against bool   `help:"Compare with what the database holds now, too." name:"against-source"`
}

// Help shows examples.
func (backupVerifyCmd) Help() string {
	return `Reads every file of a backup: it must be there, have the hash that the manifest says, open with the key, and hold as many rows as were kept, with
the same values (count, xor and sum of their hashes). With --against-source each table is compared with what its database holds now.

Examples:
  acequia backup verify -f cinema.yaml
  acequia backup verify 20261201T020000-1a2b3c4d5e6f -f cinema.yaml --json
  acequia backup verify -f cinema.yaml --source shop --against-source

Exit codes: 0 it is whole (and equal), 1 it failed, 2 usage or configuration, 3 environment (key, unreachable), 5 it is damaged, or differs.`
}

// Run reads it.
func (c backupVerifyCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	var found *backup.Verified
	err = c.watched(ctx, t, func(o app.BackupOptions) (err error) {
		found, err = project.VerifyBackup(ctx, c.ID, backup.Filter{Source: c.Source}, c.Against, o)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(t.out, found)
	} else {
		err = c.show(t, found)
	}
	if err == nil && (!found.Whole || found.Equal != nil && !*found.Equal) {
		return toldError{exitDifferent}
	}
	return err
}

type backupRestoreCmd struct {
	ID string `arg:"" optional:"" help:"As acequia backup list shows it; default: the newest." default:"latest"`
	backupFlags
	Source string   `help:"The newest of this source." placeholder:"NAME"`
	Into   string   `help:"Into the database of this source; default: that which the backup is of." placeholder:"NAME"`
	DSN    string   `help:"Into this database instead." placeholder:"DSN" env:"ACEQUIA_RESTORE_DSN"`
	Tables []string `help:"Only these tables: patterns of SCHEMA.TABLE; ! before one leaves out." placeholder:"GLOB"`
}

// Help shows examples.
func (backupRestoreCmd) Help() string {
	return `Makes the tables of a backup again, with their rows, keys, indexes and links, in a database that has none of them: where one is there it refuses,
and changes nothing. Every table is read back and compared with the backup before anybody sees it, and whatever goes wrong, the database
is as it was. What a backup does not keep (views, triggers, functions, rights) is said.

Examples:
  acequia backup restore -f cinema.yaml
  acequia backup restore 20261201T020000-1a2b3c4d5e6f -f cinema.yaml --into copy
  ACEQUIA_RESTORE_DSN=postgres://admin@127.0.0.1/new acequia backup restore -f cinema.yaml --tables 'public.res*' --json
  ACEQUIA_RESTORE_DSN=mysql://admin@127.0.0.1/new acequia backup restore -f cinema.yaml --source mysql

Exit codes: 0 ok, 1 it failed or was interrupted, 2 usage or configuration (also a database that is not empty), 3 environment (key,
unreachable, rights).`
}

// Run makes it again.
func (c backupRestoreCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	var restored *backup.Restored
	err = c.watched(ctx, t, func(o app.BackupOptions) (err error) {
		restored, err = project.Restore(ctx, backup.Filter{Source: c.Source}, app.RestoreOptions{
			BackupOptions: o, ID: c.ID, Into: c.Into, DSN: config.Secret(c.DSN),
			Choose: func(table string) (bool, error) { return chosen(c.Tables, table) },
		})
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, restored)
	}
	return c.show(t, restored)
}

type backupPruneCmd struct {
	files
	backupFlags
	DryRun bool `help:"Say what would be removed, and remove nothing."`
}

// Help shows examples.
func (backupPruneCmd) Help() string {
	return `Keeps the newest backup of each of the last days, weeks and months that backup.keep names, of each database by itself, by UTC, and removes the
others. The newest whole backup of a database always stays; so does one that is damaged, for somebody to look at. Files that no manifest
names, of backups that were cut off, are removed too, unless one is being made.

Examples:
  acequia backup prune cinema.yaml --dry-run
  acequia backup prune -f cinema.yaml --json

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment.`
}

// Run removes.
func (c backupPruneCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.project(ctx, t, c.Paths...)
	if err != nil {
		return err
	}
	pruned, err := project.PruneBackups(ctx, c.DryRun, app.BackupOptions{Log: obs.NewLogger(t.err, slog.LevelInfo), Probe: t.probe})
	if pruned != nil {
		if c.JSON {
			err = errors.Join(err, writeJSON(t.out, pruned))
		} else {
			err = errors.Join(err, showPruned(t.out, c.spoken, pruned, c.DryRun))
		}
	}
	return err
}

type backupKeyCmd struct {
	spoken
	Path string `arg:"" name:"file" help:"Where to write it; it must be new." type:"path"`
	JSON bool   `help:"Write JSON."`
}

// Help shows examples.
func (backupKeyCmd) Help() string {
	return `Writes a new key of age (https://age-encryption.org) into a file that only its owner can read. Keep a copy of it elsewhere: without it nobody
can read what is encrypted with it. With the public key alone, as backup.encrypt.recipients, backups can be made and not read.

Examples:
  acequia backup key /etc/acequia/backup.key
  acequia backup key backup.key --json

Exit codes: 0 ok, 2 usage, 3 the file is there already or cannot be written.`
}

// Run makes the key.
func (c backupKeyCmd) Run(t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	public, err := backup.NewKey(c.Path)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, map[string]string{"file": c.Path, "public_key": public})
	}
	_, err = fmt.Fprintf(t.out, c.say("The key is in %s. Keep a copy elsewhere: without it no backup can be read.\nPublic key: %s\n\nbackup:\n  encrypt: { key: \"${file:%s}\" }\n",
		"La clave está en %s. Guarda una copia en otro sitio: sin ella no se puede leer ninguna copia de seguridad.\nClave pública: %s\n\nbackup:\n  encrypt: { key: \"${file:%s}\" }\n"),
		c.Path, public, c.Path)
	return err
}
