package setup

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
)

// Athena says where queries run.
type Athena struct {
	Workgroup, Database string
	Results             Folder // "": a bucket that is called as that of the lake, and -results
}

// Check refuses names that are none, or that IAM would read as a pattern.
func (a Athena) Check() error {
	if !matches(`^[a-zA-Z0-9._-]{1,128}$`, a.Workgroup) {
		return fmt.Errorf("%q is no name of a workgroup", a.Workgroup)
	}
	if !matches(`^[a-z0-9_]{1,255}$`, a.Database) {
		return fmt.Errorf("%q is no name of a database: want a-z, 0-9 and _", a.Database)
	}
	return nil
}

// tablesOf are the database of a lake and what is in it.
func (a Account) tablesOf(at Athena) []string {
	return []string{a.arn("glue", "catalog"), a.arn("glue", "database/"+at.Database), a.arn("glue", "table/"+at.Database+"/*")}
}

// known lets who writes a lake tell Glue of its tables before a file has their columns.
func (a Account) known(at Athena) Statement {
	return Statement{Sid: "Glue", Action: []string{"glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"}, Resource: a.tablesOf(at)}
}

// applied lets who runs acequia tables apply make database, tables, workgroup and saved queries, from what the lake says of its tables.
func (a Account) applied(lake Folder, at Athena) []Statement {
	described := Folder{lake.Bucket, strings.TrimPrefix(lake.Prefix+"/_tables", "/")}
	return append([]Statement{
		{
			Sid: "Workgroup", Resource: []string{a.arn("athena", "workgroup/"+at.Workgroup)},
			Action: []string{
				"athena:CreateNamedQuery", "athena:CreateWorkGroup", "athena:GetNamedQuery", "athena:GetWorkGroup", "athena:ListNamedQueries", "athena:TagResource",
				"athena:UpdateNamedQuery", "athena:UpdateWorkGroup",
			},
		},
		{
			Sid: "Glue", Action: []string{"glue:CreateDatabase", "glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"}, Resource: a.tablesOf(at),
		},
	}, described.read()...)
}

// query lets SQL be asked of a lake. Athena asks Glue and S3 with the rights of who asks it.
func (a Account) query(lake Folder, at Athena) []Statement {
	if at.Results.Bucket == "" {
		at.Results.Bucket = lake.Bucket + "-results"
	}
	results := at.Results.list()
	results.Sid, results.Action = "Results", []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"}
	results.Condition = nil // the bucket is of results alone
	listed := lake.list()
	listed.Sid = "LakeList"
	return []Statement{
		{
			Sid: "Ask", Resource: []string{a.arn("athena", "workgroup/"+at.Workgroup)},
			Action: []string{
				"athena:GetNamedQuery", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetWorkGroup", "athena:ListNamedQueries",
				"athena:StartQueryExecution", "athena:StopQueryExecution",
			},
		},
		{
			Sid: "Tables", Action: []string{"glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"},
			Resource: a.tablesOf(at),
		},
		{Sid: "Lake", Resource: []string{lake.objects()}, Action: []string{"s3:GetObject"}},
		listed,
		{Sid: "LakeBucket", Resource: []string{lake.bucket()}, Action: []string{"s3:GetBucketLocation"}},
		{
			Sid: "ResultFiles", Resource: []string{at.Results.objects()},
			Action: []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"},
		},
		results,
	}
}

// athena says who asks a lake, and where: what the sink says goes before the options.
func (f *finder) athena(b *config.Block, at Account) (Athena, Account, error) {
	out := f.options.Athena
	for key, to := range map[string]*string{"database": &out.Database, "workgroup": &out.Workgroup} {
		text, err := b.Setting("athena", key)
		if err != nil {
			return out, at, err
		}
		*to = cmp.Or(text, *to)
	}
	region, err := b.Setting("athena", "aws", "region")
	if err != nil {
		return out, at, err
	}
	if region != "" && !isRegion(region) {
		return out, at, config.At(Account{Region: region}.Check(), "athena", "aws", "region")
	}
	results, err := b.Setting("athena", "results")
	if err == nil && results != "" {
		out.Results, _, err = ParseFolder(results)
		err = config.At(err, "athena", "results")
	}
	if err == nil && b.Has("athena") {
		err = config.At(out.Check(), "athena")
	}
	return out, at.in(region), err
}
