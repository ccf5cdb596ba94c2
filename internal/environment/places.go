package environment

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/schemas/cinema"
)

// Places are those of AWS that the variables name. Of databases they say nothing.
type Places struct {
	Bucket                 string
	Lake, Reports, Backups string // folders in the bucket
	Tables                 []string
	Items                  []itemstore.Table // the same tables, as they are declared; those of elements are in their indexes
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
		schema, err := t.Schema()
		if err != nil {
			return nil, fmt.Errorf("declare %s: %w", t.Name, err)
		}
		out.Tables = append(out.Tables, name)
		declared := itemstore.Table{Name: name, Schema: schema}
		for _, x := range t.Indexes {
			declared.Indexes = append(declared.Indexes, itemstore.Index{Name: x.Name, Columns: []string{x.Column}, Each: x.Each})
			if x.Each { // DynamoDB has no index of elements: they stand in a table of their own
				out.Tables = append(out.Tables, name+"."+x.Name)
			}
		}
		out.Items = append(out.Items, declared)
	}
	return out, nil
}
