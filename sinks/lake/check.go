package lake

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// check says what is wrong with the settings for records of the schemas, without a look at the lake.
func check(settings any, in []*record.Schema) error {
	c, ok := settings.(*Config)
	if !ok {
		return errors.New("lake: a *lake.Config is needed")
	}
	var errs []error
	if _, err := c.Root(); err != nil {
		errs = append(errs, config.Wrong("url", "%q is no place for a lake: write a path, file:///dir, or s3://bucket/prefix", c.URL))
	}
	if field, err := c.S3().Validate(); err != nil {
		errs = append(errs, config.At(err, field))
	}
	if _, _, remote := blob.ParseURL(c.URL); !remote && c.S3() != (blob.S3Settings{}) {
		errs = append(errs, config.Wrong("url", "aws, sse and owner are of a lake at s3://"))
	}
	errs = append(errs, c.checkAthena(in)...)
	for _, at := range []struct {
		path  []string
		value int64
	}{{[]string{"roll", "rows"}, c.Roll.Rows}, {[]string{"roll", "size"}, int64(c.Roll.Size)}, {[]string{"roll", "every"}, int64(c.Roll.Every)}} {
		if at.value < 0 {
			errs = append(errs, config.At(errors.New("it must be positive"), at.path...))
		}
	}
	if c.Expire != nil && c.Expire.After <= 0 {
		errs = append(errs, config.At(errors.New("it must be positive: everything would be dropped at once"), "expire", "after"))
	}
	tables := map[string]string{}
	for _, s := range in {
		name := cmp.Or(c.TableName[s.Stream], schemas.LakeName(s.Stream))
		if other, taken := tables[name]; taken {
			errs = append(errs, config.Wrong("table_name", "streams %s and %s would both be the table %s: name one of them here", other, s.Stream, name))
		}
		tables[name] = s.Stream
		if _, err := schemas.NewLakeTable(name, s, nil); err != nil {
			errs = append(errs, config.At(err))
			continue
		}
		if t, err := schemas.NewLakeTable(name, s, c.Partition); err == nil && c.Expire != nil && !slices.ContainsFunc(t.Partition, schemas.Partition.Dated) {
			errs = append(errs, config.Wrong("expire", "table %s is partitioned by %s, and that is no date", name, strings.Join(c.Partition, ", ")))
		}
		for i, column := range c.Partition {
			switch _, err := schemas.NewLakeTable(name, s, []string{column}); {
			case err != nil && s.Index(column) < 0:
				errs = append(errs, config.At(fmt.Errorf("%s has no column %q", s.Stream, column), "partition", strconv.Itoa(i)))
			case err != nil:
				errs = append(errs, config.At(err, "partition", strconv.Itoa(i)))
			}
		}
	}
	return errors.Join(errs...)
}

// checkAthena says what is wrong with who asks the lake.
func (c *Config) checkAthena(in []*record.Schema) (errs []error) {
	if c.Athena == nil {
		return nil
	}
	if _, _, remote := blob.ParseURL(c.URL); !remote {
		errs = append(errs, config.Wrong("athena", "it is of a lake at s3://"))
	}
	if field, err := c.Athena.Validate(); err != nil {
		errs = append(errs, config.At(err, "athena", field))
	}
	for _, s := range in {
		t, err := schemas.NewLakeTable(schemas.LakeName(s.Stream), s, nil)
		if err != nil {
			continue // it is told of as a table
		}
		if err := t.AthenaMisfit(); err != nil {
			errs = append(errs, config.Wrong("athena", "stream %s, %w: rename the member at the source, or leave the column out", s.Stream, err))
		}
	}
	return errs
}

// plan tells the tables.
func plan(settings any, in []*record.Schema) []string {
	c, ok := settings.(*Config)
	if !ok {
		return nil
	}
	var lines []string
	root, err := c.Root()
	if err != nil {
		return nil // check has said why
	}
	_, _, remote := blob.ParseURL(c.URL)
	if remote {
		lines = append(lines, c.planS3())
		if c.Athena != nil {
			lines = append(lines, fmt.Sprintf("tables and columns are made known to the database %s of Glue before the first file that has them", c.Athena.Filled("").Database))
		}
	} else if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		lines = append(lines, "makes the folder "+root)
	}
	for _, s := range in {
		name := cmp.Or(c.TableName[s.Stream], schemas.LakeName(s.Stream))
		t, err := schemas.NewLakeTable(name, s, c.Partition)
		if err != nil {
			continue // check has said why
		}
		folders := make([]string, len(t.Partition))
		for i, p := range t.Partition {
			folders[i] = p.Name + "=…"
		}
		line := "table"
		if _, err := os.Stat(filepath.Join(root, tablesFolder, name+".json")); !remote && errors.Is(err, fs.ErrNotExist) {
			line = "makes the table"
		}
		lines = append(lines, line+fmt.Sprintf(" %s at %s/%s/%s/, and the view %s", name, strings.TrimRight(c.URL, "/"), name, strings.Join(folders, "/"), t.LatestName()))
	}
	filled := c.filled()
	if c.Compact != nil {
		lines = append(lines, "small files of closed partitions are merged while it runs")
	}
	if c.Expire != nil {
		lines = append(lines, fmt.Sprintf("partitions are dropped %d days after theirs", int(c.Expire.After/(24*time.Hour))))
	}
	return append(lines, fmt.Sprintf("a file is closed at %d rows or %d MiB; what has gathered becomes visible after %s, and when a lane ends",
		filled.Roll.Rows, filled.Roll.Size>>20, filled.Roll.Every))
}

// planS3 tells how files come into the bucket.
func (c *Config) planS3() string {
	bucket, _, _ := blob.ParseURL(c.URL)
	line := "writes to the bucket " + bucket
	if c.Owner != "" {
		line += " of account " + c.Owner
	}
	switch c.SSE {
	case "":
		line += ", encrypted as the bucket says"
	case "s3":
		line += ", encrypted by S3"
	case "kms":
		line += ", encrypted with the account's key for S3"
	default:
		line += ", encrypted with " + c.SSE
	}
	return line + "; the bucket must be there"
}

// Locate lets a relative path of the lake start at a folder.
func (c *Config) Locate(folder string) {
	if u, err := url.Parse(c.URL); err == nil && u.Scheme == "" && c.URL != "" && !filepath.IsAbs(c.URL) {
		c.URL = filepath.Join(folder, c.URL)
	}
}

// Rows is how many records a file may have: a group with fewer could fill none.
func (l *Lake) Rows() int { return int(l.config.Roll.Rows) }

// Every is the age at which what has gathered becomes visible.
func (l *Lake) Every() time.Duration { return l.config.Roll.Every }
