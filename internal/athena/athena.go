// Package athena makes a lake on S3 known to Glue, and asks it by Athena: the database, the tables with their projected partitions, the
// views, the workgroup with its limit, the saved queries, and SQL. What is made is compared first, so that the second time nothing changes;
// nothing is ever deleted.
package athena

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/glue"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
)

// Settings is what a configuration file says of who asks a lake on S3.
type Settings struct {
	Database  string             `yaml:"database" doc:"Database of Glue; default acequia."`
	Workgroup string             `yaml:"workgroup" doc:"Workgroup of Athena; default acequia."`
	Results   string             `yaml:"results" doc:"Where results of queries are kept, such as s3://my-results; default: the bucket of the lake's name and -results."`
	Cutoff    config.Size        `yaml:"cutoff" doc:"Bytes after which a query is stopped; default 10GiB."`
	FirstDay  string             `yaml:"first_day" doc:"The first day of dated folders that Athena looks into; default 2020-01-01."`
	AWS       awsconfig.Settings `yaml:"aws" doc:"Region and endpoint of Glue and Athena; default: those of the lake."`
}

// What holds where a file says nothing.
const (
	UsualName   = "acequia" // of database and workgroup
	usualCutoff = 10 << 30
	usualFirst  = "2020-01-01"
)

// leastCutoff is the least that Athena takes as BytesScannedCutoffPerQuery.
const leastCutoff = 10_000_000

// Filled gives the settings with their defaults, for a lake in a bucket.
func (s Settings) Filled(bucket string) Settings {
	s.Database = cmp.Or(s.Database, UsualName)
	s.Workgroup = cmp.Or(s.Workgroup, UsualName)
	s.Results = strings.TrimRight(cmp.Or(s.Results, "s3://"+bucket+"-results"), "/") + "/"
	s.Cutoff = cmp.Or(s.Cutoff, usualCutoff)
	s.FirstDay = cmp.Or(s.FirstDay, usualFirst)
	return s
}

// Validate says what is wrong with the settings, and of which field.
// See https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html.
func (s Settings) Validate() (field string, err error) {
	f := s.Filled("bucket")
	_, day := time.Parse(time.DateOnly, f.FirstDay)
	switch {
	case !only(f.Database, "abcdefghijklmnopqrstuvwxyz0123456789_") || len(f.Database) > 255:
		return "database", fmt.Errorf("%q is no name of a database: want a-z, 0-9 and _", f.Database)
	case !only(strings.ToLower(f.Workgroup), "abcdefghijklmnopqrstuvwxyz0123456789._-") || len(f.Workgroup) > 128:
		return "workgroup", fmt.Errorf("%q is no name of a workgroup", f.Workgroup)
	case !strings.HasPrefix(f.Results, "s3://") || strings.HasPrefix(f.Results, "s3:///"):
		return "results", fmt.Errorf("%q is no place in S3: want s3://BUCKET", s.Results)
	case f.Cutoff < leastCutoff:
		return "cutoff", errors.New("want 10000000 bytes at least: Athena knows no lower limit")
	case day != nil:
		return "first_day", fmt.Errorf("%q is no day: write it as 2026-01-31", f.FirstDay)
	}
	return "", nil
}

func only(text, letters string) bool { return strings.Trim(text, letters) == "" }

// Place is a lake and who asks it.
type Place struct {
	Lake  string             // s3://bucket/prefix
	AWS   awsconfig.Settings // of the lake
	SSE   string             // of the lake: s3, kms, the ARN of a key, or ""
	Owner string             // account that the bucket of the results must belong to; "": any
	Settings
}

// Client makes calls for one place. Its methods may be called from several goroutines.
type Client struct {
	place  Place
	glue   *glue.Client
	athena *athena.Client
	idle   func()
}

// answer is how long Glue and Athena may take to begin an answer.
const answer = 30 * time.Second

// Open makes a client. Nothing is asked yet but the credentials.
func Open(ctx context.Context, p Place) (*Client, error) {
	bucket, _, _ := strings.Cut(strings.TrimPrefix(p.Lake, "s3://"), "/")
	p.Settings = p.Filled(bucket)
	p.Settings.AWS.Region = cmp.Or(p.Settings.AWS.Region, p.AWS.Region)
	p.Settings.AWS.Endpoint = cmp.Or(p.Settings.AWS.Endpoint, p.AWS.Endpoint)
	c, err := awsconfig.Load(ctx, p.Settings.AWS)
	if err != nil {
		return nil, err
	}
	idle := awsconfig.Connections(&c, 4, answer)
	return &Client{place: p, glue: glue.NewFromConfig(c), athena: athena.NewFromConfig(c), idle: idle}, nil
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.idle() }

// Place gives where the client works, with all defaults.
func (c *Client) Place() Place { return c.place }

// catalogName is what errors call the database.
func (c *Client) catalogName() string { return "glue " + c.place.Database }

// notMade is of what a person has to make first.
func notMade(place string, err error) error {
	return &fault.Error{Code: "ACQ-ATHENA-001", Place: place, Err: err, Remedy: "make it: acequia tables apply FILE"}
}
