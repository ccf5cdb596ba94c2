package environment

import (
	"errors"
	"path"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/schemas/cinema"
)

// Places are those of AWS that the variables name. Of databases they say nothing.
type Places struct {
	Bucket                 string
	Lake, Reports, Backups string // folders in the bucket
	Tables                 []string
}

// Places reads them. Without a bucket the error is ACQ-USE-014; what is wrong in a variable is ACQ-CFG-014.
func (v Variables) Places() (*Places, error) {
	if _, err := v.Implied(); err != nil && fault.Code(err) != "ACQ-USE-013" {
		return nil, err
	}
	if !v.set("S3_BUCKET_NAME") {
		return nil, &fault.Error{
			Code: "ACQ-USE-014", Place: "environment", Err: errors.New("no file was named, and S3_BUCKET_NAME is not set"),
			Remedy: "name a configuration file, or set the variables of the cinema service; .env.example shows them",
		}
	}
	analytics := strings.Trim(v.or("S3_ANALYTICS_FOLDER", "analytics"), "/")
	out := &Places{
		Bucket: v["S3_BUCKET_NAME"],
		Lake:   path.Join(analytics, "analytics_data"), Reports: path.Join(analytics, "migration_reports"),
		Backups: strings.Trim(v.or("S3_BACKUP_FOLDER", "backups"), "/"),
	}
	for _, t := range cinema.Items() {
		name := v.or("DYNAMODB_"+strings.ToUpper(t.Name)+"_TABLE", t.Items)
		out.Tables = append(out.Tables, name)
		for _, x := range t.Indexes {
			if x.Each { // DynamoDB has no index of elements: they stand in a table of their own
				out.Tables = append(out.Tables, name+"."+x.Name)
			}
		}
	}
	return out, nil
}
