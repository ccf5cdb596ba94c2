package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
)

// Backup says where backups of databases are kept, and for how long.
type Backup struct {
	unset error // see Unset

	URL     string             `yaml:"url" doc:"Folder of the backups: a path, file:///dir, or s3://bucket/prefix; default: backups beside the file."`
	AWS     awsconfig.Settings `yaml:"aws" doc:"Of backups at s3://: where the bucket is."`
	SSE     string             `yaml:"sse" doc:"Of backups at s3://: s3 (keys of S3), kms (the account's key for S3 in KMS) or the ARN of a key encrypts what is written; default: as the bucket says."`
	Owner   string             `yaml:"owner" doc:"Of backups at s3://: the account that the bucket must belong to, twelve digits."`
	Format  string             `yaml:"format" enum:"parquet,ndjson" doc:"How rows are written, compressed with zstd; default parquet."`
	Sources []string           `yaml:"sources" doc:"The sources that are backed up; default: every database that a pipeline reads."`
	Encrypt BackupEncrypt      `yaml:"encrypt" doc:"Encrypts the files with age (256-bit keys); default: they are not encrypted."`
	Keep    BackupKeep         `yaml:"keep" doc:"What acequia backup prune keeps; the newest whole backup of each database always stays."`
	Prune   bool               `yaml:"prune" doc:"Has a backup that the schedule begins remove what keep does not, once every database has its backup; default false."`
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

// Folder gives the folder of the backups, or its address in S3; what is relative begins at base.
func (b *Backup) Folder(base string) (string, error) {
	at := b.URL
	if at == "" {
		at = "backups"
	}
	out, ok := placeOf(at, base)
	if !ok {
		return "", fmt.Errorf("%q is no place for backups", at)
	}
	return out, nil
}

// S3 gives what is said of their bucket.
func (b *Backup) S3() blob.S3Settings { return blob.S3Settings{AWS: b.AWS, SSE: b.SSE, Owner: b.Owner} }

// placeOf reads a path, file:///dir or s3://bucket/prefix; a path that is relative begins at base.
func placeOf(at, base string) (string, bool) {
	u, err := url.Parse(at)
	_, _, remote := blob.ParseURL(at)
	switch {
	case remote:
		return strings.TrimRight(at, "/"), true
	case err == nil && u.Scheme == "file" && u.Host == "" && u.Path != "":
		return u.Path, true
	case err != nil || u.Scheme != "":
		return "", false
	case filepath.IsAbs(at):
		return at, true
	}
	return filepath.Join(base, at), true
}

// backup checks what is said of backups.
func (l *linter) backup(b *Backup, u *uses) {
	_, n, ok := l.file.root.find(nil, []string{"backup"})
	if !ok || n.broken || n.kind != mapping {
		return
	}
	if _, err := b.Folder(""); err != nil {
		k, v, _ := n.find(n, []string{"url"})
		l.problem(spot(k, v), CodeWrong, "write a path, file:///dir, or s3://bucket/prefix", "url: %v", err)
	}
	l.backupBucket(b, n)
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

// backupBucket checks what is said of a bucket of S3.
func (l *linter) backupBucket(b *Backup, n *node) {
	if field, err := b.S3().Validate(); err != nil {
		k, v, _ := n.find(n, []string{field})
		l.problem(spot(k, v), CodeWrong, "", "%s: %v", field, err)
	}
	if _, _, remote := blob.ParseURL(b.URL); remote {
		return
	}
	for _, key := range []string{"aws", "sse", "owner"} {
		if k, v, found := n.find(n, []string{key}); found {
			l.problem(spot(k, v), CodeWrong, "write url: s3://bucket/prefix, or leave it out", "%s is of backups at s3://", key)
		}
	}
}
