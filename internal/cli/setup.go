package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/setup"
)

type setupCmd struct {
	Plan    setupPlanCmd    `cmd:"" help:"Show what apply would make on AWS, and how what is there differs."`
	Apply   setupApplyCmd   `cmd:"" help:"Make on AWS what the configuration needs; a second time changes nothing."`
	Destroy setupDestroyCmd `cmd:"" help:"Delete what apply has made."`
	IAM     setupIAMCmd     `cmd:"" name:"iam" help:"Print the least rights that each part needs of AWS, as policies of IAM."`
}

type setupIAMCmd struct {
	files
	Account   string   `help:"Account of AWS, 12 digits; without it ACCOUNT_ID stands in its place." placeholder:"ID"`
	Region    string   `help:"Region of parts that name none under aws; default: that of AWS_REGION." placeholder:"REGION"`
	Project   string   `help:"Name of the project, as acequia setup apply has it; default: that of the first file, or cinema." placeholder:"NAME"`
	Component []string `help:"Only these components, such as lake-sink." placeholder:"NAME"`
	Document  bool     `help:"Print one policy document of all that was chosen, for a role that does all of it."`
	Workgroup string   `help:"Workgroup of Athena." default:"acequia" placeholder:"NAME"`
	Database  string   `help:"Database of Glue." default:"acequia" placeholder:"NAME"`
	Results   string   `help:"Where results of queries are kept; default: the bucket of the lake's name and -results." placeholder:"s3://BUCKET"`
	JSON      bool     `help:"Print JSON, as without it." hidden:""`
}

// Help shows examples.
func (setupIAMCmd) Help() string {
	return `Prints a policy for each part of the files, with the exact names of what it may use: no action is a pattern, and * stands as the resource
of one action alone, dynamodb:ListTables, which AWS does not limit (unscoped says why). Nothing is connected to, and no credentials are needed. What is
not known offline has a placeholder: ACCOUNT_ID, REGION. Without a file, and without ./acequia.yaml, the parts are those of the cinema
service's environment (S3_BUCKET_NAME, DYNAMODB_*_TABLE). The component setup is who runs acequia setup apply and destroy: what runs afterwards needs none of
that, and --document leaves it out unless it is named.

Examples:
  acequia setup iam games.yaml --account 123456789012 --region eu-west-1
  acequia setup iam games.yaml --component lake-sink --document > policy.json
  acequia setup iam games.yaml --component setup --document > maker.json
  S3_BUCKET_NAME=cinema-data acequia setup iam --document

Exit codes: 0 ok, 2 usage or configuration, 3 a file cannot be read.`
}

// policySet is what is printed.
type policySet struct {
	Account  string         `json:"account"`
	Policies []setup.Policy `json:"policies"`
}

// Run prints.
func (c setupIAMCmd) Run(ctx context.Context, t terminal) error {
	o, err := c.options(t)
	if err != nil {
		return err
	}
	policies, err := c.policies(ctx, t, o)
	if err != nil {
		return err
	}
	switch {
	case len(c.Component) > 0:
		policies = slices.DeleteFunc(policies, func(p setup.Policy) bool { return !slices.Contains(c.Component, string(p.Component)) })
	case c.Document: // of what runs, which makes and deletes nothing
		policies = slices.DeleteFunc(policies, func(p setup.Policy) bool { return p.Component == setup.Setup })
	}
	if c.Document {
		return writeJSON(t.out, setup.Merge(policies))
	}
	account := o.Account.ID
	if account == "" {
		account = setup.UnknownAccount
	}
	if policies == nil {
		policies = []setup.Policy{}
	}
	return writeJSON(t.out, policySet{account, policies})
}

func (c setupIAMCmd) options(t terminal) (setup.Options, error) {
	o := setup.Options{Account: setup.Account{ID: c.Account, Region: c.Region}, Athena: setup.Athena{Workgroup: c.Workgroup, Database: c.Database}}
	v, err := t.variables()
	if err != nil {
		return o, err
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if o.Account.Region == "" {
			o.Account.Region = v[name]
		}
	}
	err = errors.Join(o.Account.Check(), o.Athena.Check())
	if c.Results != "" {
		results, isS3, wrong := setup.ParseFolder(c.Results)
		if !isS3 {
			wrong = fmt.Errorf("--results: %q is no place in S3: want s3://BUCKET", c.Results)
		}
		o.Athena.Results, err = results, errors.Join(err, wrong)
	}
	var known []string
	for _, one := range setup.Components() {
		known = append(known, string(one))
	}
	for _, name := range c.Component {
		if !slices.Contains(known, name) {
			err = errors.Join(err, fmt.Errorf("--component: there is no %q: there are %s", name, strings.Join(known, ", ")))
		}
	}
	if err != nil {
		return o, &fault.Error{Code: "ACQ-USE-071", Place: "setup iam", Err: err, Remedy: "see acequia setup iam --help"}
	}
	return o, nil
}

func (c setupIAMCmd) policies(ctx context.Context, t terminal, o setup.Options) ([]setup.Policy, error) {
	paths, err := setupPaths(c.Paths)
	if err != nil {
		return nil, err
	}
	if o.Project = c.Project; o.Project == "" {
		o.Project = projectName(paths)
	}
	if !isProject(o.Project) {
		return nil, noProject(o.Project)
	}
	if len(paths) == 0 {
		return c.service(t, o)
	}
	project, problems, err := t.load(ctx, paths)
	if err != nil {
		return nil, err
	}
	policies, more := project.Policies(o)
	// Who prints policies need not have the passwords of the databases.
	problems = append(slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Code == config.CodeUnset || p.Warning }), problems.Beside(more)...)
	if problems.Sort(); problems.Errors() {
		tell(t.err, problems)
		return nil, toldError{exitUsage}
	}
	return append(policies, project.Making(o)), nil
}

// service gives the policies of the cinema service that the environment describes.
func (setupIAMCmd) service(t terminal, o setup.Options) ([]setup.Policy, error) {
	v, err := t.variables()
	if err != nil {
		return nil, err
	}
	p, err := v.Places()
	if err != nil {
		return nil, err
	}
	at := func(prefix string) setup.Folder { return setup.Folder{Bucket: p.Bucket, Prefix: prefix} }
	service := setup.Service{Lake: at(p.Lake), Reports: at(p.Reports), Backups: at(p.Backups), Tables: p.Tables}
	policies, err := service.Policies(o)
	making, wrong := service.Making(o)
	if err = errors.Join(err, wrong); err != nil {
		return nil, &fault.Error{Code: "ACQ-CFG-014", Place: "environment", Err: err, Remedy: "mend the variable"}
	}
	return append(policies, making), nil
}
