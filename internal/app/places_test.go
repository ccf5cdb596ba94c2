package app

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/config"
)

// Who may not remove is told so where backups are pruned, and only there.
func TestPrunedBackupsMayBeRemoved(t *testing.T) {
	t.Parallel()
	for _, prune := range []bool{false, true} {
		server := blobtest.New(t)
		server.Deny(blobtest.Delete)
		p := &Project{backups: "s3://bucket/copies", Backup: &config.Backup{Prune: prune, AWS: server.Settings().AWS}}
		places := p.keptInS3()
		if len(places) != 1 {
			t.Fatal(places)
		}
		_, err := places[0].check(t.Context(), places[0].at, p.Backup.S3())
		if prune != (err != nil && strings.Contains(err.Error(), "s3:DeleteObject")) || !prune && err != nil {
			t.Errorf("prune %t: %v", prune, err)
		}
	}
}
