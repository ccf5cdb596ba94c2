package athena

import (
	"context"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

const engineVersion = "Athena engine version 3"

// managedBy is the tag of what acequia has made.
const managedBy = "acequia:managed-by"

// Workgroup plans the workgroup: its settings hold for every query, whatever who asks says; a query that reads too much is stopped.
func (c *Client) Workgroup(ctx context.Context) ([]Change, error) {
	name, place := c.place.Workgroup, "workgroup "+c.place.Workgroup
	found, err := c.workgroup(ctx)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return []Change{{Kind: "workgroup", Name: name, Action: Create, Details: []string{
			"results in " + c.place.Results, "a query is stopped after " + strconv.FormatInt(int64(c.place.Cutoff), 10) + " bytes",
		}, do: func(ctx context.Context) error {
			_, err := c.athena.CreateWorkGroup(ctx, &athena.CreateWorkGroupInput{
				Name: &name, Description: aws.String("Queries over the lake of acequia"), Configuration: c.configuration(),
				Tags: []types.Tag{{Key: aws.String(managedBy), Value: aws.String("acequia")}},
			})
			if err == nil {
				return nil
			}
			if made, lost := c.Workgroup(ctx); lost == nil && made[0].Action == Same { // meanwhile, or by a call whose answer was lost
				return nil
			}
			return awsconfig.Explain(err, "make the workgroup (athena:CreateWorkGroup)", place)
		}}}, nil
	}
	if found.State == types.WorkGroupStateDisabled {
		return []Change{refuse("workgroup", name, "it is disabled")}, nil
	}
	d, updates := c.compare(found.Configuration)
	return []Change{d.change("workgroup", name, func(ctx context.Context) error {
		_, err := c.athena.UpdateWorkGroup(ctx, &athena.UpdateWorkGroupInput{WorkGroup: &name, ConfigurationUpdates: updates})
		return awsconfig.Explain(err, "change the workgroup (athena:UpdateWorkGroup)", place)
	})}, nil
}

// workgroup gives it as it is; nil: there is none.
func (c *Client) workgroup(ctx context.Context) (*types.WorkGroup, error) {
	out, err := c.athena.GetWorkGroup(ctx, &athena.GetWorkGroupInput{WorkGroup: &c.place.Workgroup})
	switch {
	case err != nil && noWorkgroup(err):
		return nil, nil //nolint:nilnil // there is none
	case err != nil:
		return nil, awsconfig.Explain(err, "find the workgroup (athena:GetWorkGroup)", "workgroup "+c.place.Workgroup)
	}
	return out.WorkGroup, nil
}

// noWorkgroup says whether an error is of a workgroup that is not there. Athena has no code for that.
func noWorkgroup(err error) bool {
	text := err.Error()
	return awsconfig.Code(err) == "InvalidRequestException" && strings.Contains(strings.ToLower(text), "workgroup") &&
		(strings.Contains(text, "not found") || strings.Contains(text, "does not exist"))
}

// encryption is how results are encrypted: with the key of the lake if it has one.
func (c *Client) encryption() *types.EncryptionConfiguration {
	if strings.HasPrefix(c.place.SSE, "arn:") {
		return &types.EncryptionConfiguration{EncryptionOption: types.EncryptionOptionSseKms, KmsKey: &c.place.SSE}
	}
	return &types.EncryptionConfiguration{EncryptionOption: types.EncryptionOptionSseS3}
}

func (c *Client) owner() *string {
	if c.place.Owner == "" {
		return nil
	}
	return &c.place.Owner
}

func (c *Client) configuration() *types.WorkGroupConfiguration {
	return &types.WorkGroupConfiguration{
		EnforceWorkGroupConfiguration: aws.Bool(true), PublishCloudWatchMetricsEnabled: aws.Bool(true), RequesterPaysEnabled: aws.Bool(false),
		BytesScannedCutoffPerQuery: aws.Int64(int64(c.place.Cutoff)), EngineVersion: &types.EngineVersion{SelectedEngineVersion: aws.String(engineVersion)},
		ResultConfiguration: &types.ResultConfiguration{OutputLocation: &c.place.Results, ExpectedBucketOwner: c.owner(), EncryptionConfiguration: c.encryption()},
	}
}

// compare gives what differs, and the call that mends it. What acequia has no opinion of stays as it is.
func (c *Client) compare(is *types.WorkGroupConfiguration) (d differences, updates *types.WorkGroupConfigurationUpdates) {
	if is == nil {
		is = &types.WorkGroupConfiguration{}
	}
	updates = &types.WorkGroupConfigurationUpdates{}
	shall := c.configuration()
	differ := func(what, is, shall string) bool {
		before := len(d)
		d.text(what, is, shall)
		return len(d) > before
	}
	if differ("the workgroup's settings hold", strconv.FormatBool(aws.ToBool(is.EnforceWorkGroupConfiguration)), "true") {
		updates.EnforceWorkGroupConfiguration = shall.EnforceWorkGroupConfiguration
	}
	if differ("bytes a query may read", strconv.FormatInt(aws.ToInt64(is.BytesScannedCutoffPerQuery), 10), strconv.FormatInt(*shall.BytesScannedCutoffPerQuery, 10)) {
		updates.BytesScannedCutoffPerQuery = shall.BytesScannedCutoffPerQuery
	}
	if differ("metrics", strconv.FormatBool(aws.ToBool(is.PublishCloudWatchMetricsEnabled)), "true") {
		updates.PublishCloudWatchMetricsEnabled = shall.PublishCloudWatchMetricsEnabled
	}
	if differ("engine", c.engine(is.EngineVersion), engineVersion) {
		updates.EngineVersion = shall.EngineVersion
	}
	if is.ManagedQueryResultsConfiguration != nil && is.ManagedQueryResultsConfiguration.Enabled {
		return d, updates // Athena keeps the results itself: a place for them would be refused
	}
	result := is.ResultConfiguration
	if result == nil {
		result = &types.ResultConfiguration{}
	}
	mend := &types.ResultConfigurationUpdates{}
	if differ("results", strings.TrimRight(aws.ToString(result.OutputLocation), "/"), strings.TrimRight(c.place.Results, "/")) {
		mend.OutputLocation = &c.place.Results
	}
	if c.place.Owner != "" && differ("owner of the results", aws.ToString(result.ExpectedBucketOwner), c.place.Owner) {
		mend.ExpectedBucketOwner = c.owner()
	}
	if want := encryptionText(c.encryption()); c.place.SSE != "" || result.EncryptionConfiguration == nil {
		if differ("encryption of the results", encryptionText(result.EncryptionConfiguration), want) {
			mend.EncryptionConfiguration = c.encryption()
		}
	}
	if *mend != (types.ResultConfigurationUpdates{}) {
		updates.ResultConfigurationUpdates = mend
	}
	return d, updates
}

// engine is the version that queries run on; one that Athena chooses is as good as ours while it is the same.
func (*Client) engine(v *types.EngineVersion) string {
	if v == nil {
		return ""
	}
	if aws.ToString(v.SelectedEngineVersion) == "AUTO" && v.EffectiveEngineVersion != nil {
		return *v.EffectiveEngineVersion
	}
	return aws.ToString(v.SelectedEngineVersion)
}

func encryptionText(e *types.EncryptionConfiguration) string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(string(e.EncryptionOption) + " " + aws.ToString(e.KmsKey))
}
