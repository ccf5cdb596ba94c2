package app

import (
	"context"

	"github.com/acequia-io/acequia/internal/blob"
)

// keptPlace is where a project keeps something beside its sinks, in S3.
type keptPlace struct {
	kind, at string // backups or reports, and the address
	s3       blob.S3Settings
	check    func(ctx context.Context, root string, s blob.S3Settings) (found string, err error)
}

// keptInS3 gives those places.
func (p *Project) keptInS3() (out []keptPlace) {
	look := blob.CheckS3
	if p.Backup != nil && p.Backup.Prune {
		look = blob.CheckS3Removing
	}
	for _, k := range []keptPlace{{kind: "backups", at: p.backups, check: look}, {kind: "reports", at: p.Reports, check: blob.CheckS3Small}} {
		if _, _, remote := blob.ParseURL(k.at); remote {
			k.s3 = p.s3Of(k.at)
			out = append(out, k)
		}
	}
	return out
}

// s3Of gives what the files say of the bucket of an address: where they speak of backups in it, or else of a lake. Of any other bucket they
// say nothing, and the default chain of AWS holds.
func (p *Project) s3Of(at string) (out blob.S3Settings) {
	wanted, _, _ := blob.ParseURL(at)
	lakes, err := p.Lakes()
	if err != nil {
		return out // check has said why
	}
	if bucket, _, ok := blob.ParseURL(p.backups); ok && bucket == wanted {
		return p.Backup.S3()
	}
	for _, l := range lakes {
		if bucket, _, ok := blob.ParseURL(l.Root); ok && bucket == wanted && l.Config != nil {
			return l.Config.S3()
		}
	}
	return out
}

// pinged asks whether a place in S3 can be reached, each time that it is called. It is for one goroutine at a time.
func pinged(at string, settings blob.S3Settings) func(ctx context.Context) error {
	var b *blob.S3
	return func(ctx context.Context) (err error) {
		if b == nil {
			if b, err = blob.OpenS3(ctx, at, settings); err != nil {
				return err
			}
		}
		return b.Ping(ctx)
	}
}
