package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
)

// Backup says where backups of databases are kept, and for how long.
type Backup struct {
	unset error // see Unset

	URL     string        `yaml:"url" doc:"Folder of the backups: a path, or file:///dir; default: backups beside the file."`
	Format  string        `yaml:"format" enum:"parquet,ndjson" doc:"How rows are written, compressed with zstd; default parquet."`
	Sources []string      `yaml:"sources" doc:"The sources that are backed up; default: every database that a pipeline reads."`
	Encrypt BackupEncrypt `yaml:"encrypt" doc:"Encrypts the files with age (256-bit keys); default: they are not encrypted."`
	Keep    BackupKeep    `yaml:"keep" doc:"What acequia backup prune keeps; the newest whole backup of each database always stays."`
	Prune   bool          `yaml:"prune" doc:"Has a backup that the schedule begins remove what keep does not, once every database has its backup; default false."`
}

// BackupEncrypt says who can read backups.
type BackupEncrypt struct {
	Key        Secret   `yaml:"key" doc:"An age identity, AGE-SECRET-KEY-1..., by reference: new backups can be opened with it, and old ones are. acequia backup key makes one."`
	Recipients []string `yaml:"recipients" doc:"Public keys, age1..., that can open new backups; with them alone a machine makes backups that it cannot read."`
}

// BackupKeep counts days, weeks and months.
type BackupKeep struct {
	Daily   int `yaml:"daily" doc:"The newest backup of each of so many days; default 7."`
	Weekly  int `yaml:"weekly" doc:"The newest of each of so many weeks; default 4."`
	Monthly int `yaml:"monthly" doc:"The newest of each of so many months; default 12."`
}

// NewBackup gives the defaults.
func NewBackup() *Backup {
	return &Backup{Format: "parquet", Keep: BackupKeep{Daily: 7, Weekly: 4, Monthly: 12}}
}

// Unset says why the key of the backups, which the file names, has no value; nil: it has one, or there is none. Without it no backup may be
// made: it would not be encrypted.
func (b *Backup) Unset() error { return b.unset }

// Folder gives the folder of the backups; what is relative begins at base.
func (b *Backup) Folder(base string) (string, error) {
	at := b.URL
	if at == "" {
		at = "backups"
	}
	u, err := url.Parse(at)
	switch {
	case err == nil && u.Scheme == "file" && u.Host == "" && u.Path != "":
		return u.Path, nil
	case err != nil || u.Scheme != "":
		return "", fmt.Errorf("%q is no place for backups", at)
	case filepath.IsAbs(at):
		return at, nil
	}
	return filepath.Join(base, at), nil
}

// backup checks what is said of backups.
func (l *linter) backup(b *Backup, u *uses) {
	_, n, ok := l.file.root.find(nil, []string{"backup"})
	if !ok || n.broken || n.kind != mapping {
		return
	}
	if _, err := b.Folder(""); err != nil {
		k, v, _ := n.find(n, []string{"url"})
		l.problem(spot(k, v), CodeWrong, "write a path, or file:///dir", "url: %v", err)
	}
	for i := range b.Sources {
		if key, v, found := n.find(n, []string{"sources", strconv.Itoa(i)}); found {
			l.reference(spot(key, v), "source", "sources", u.sources, u)
		}
	}
	for _, key := range []string{"daily", "weekly", "monthly"} {
		k, v, found := n.find(n, []string{"keep", key})
		count := map[string]int{"daily": b.Keep.Daily, "weekly": b.Keep.Weekly, "monthly": b.Keep.Monthly}[key]
		if found && !v.broken && count < 0 {
			l.problem(spot(k, v), CodeWrong, "write 0 to keep none by this rule", "%s is at least 0", key)
		}
	}
}
