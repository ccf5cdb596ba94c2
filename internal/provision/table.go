package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/itemstore"
)

// table is one of DynamoDB.
type table struct {
	*clients
	site    *Site
	want    *dynamodb.CreateTableInput // with a name and a stream alone: somebody else makes it
	expires bool                       // it has a TTL
}

// tables adds each with those of its indexes of elements. A table whose stream alone is needed comes after those that are made.
func (s *Site) tables(ctx context.Context, needs Needs) error {
	for _, made := range []bool{true, false} {
		for _, n := range needs.Tables {
			if (n.Schema != nil) != made {
				continue
			}
			c, err := s.at(ctx, n.At)
			if err != nil {
				return err
			}
			if !made {
				s.stream(c, n.Name)
				continue
			}
			for _, in := range itemstore.Design(n.Table) {
				s.table(c, in, true)
			}
		}
	}
	for _, n := range needs.States {
		c, err := s.at(ctx, n.At)
		if err != nil {
			return err
		}
		s.table(c, dynamolog.Design(n.Name), false)
	}
	return nil
}

// table adds one that is made.
func (s *Site) table(c *clients, in *dynamodb.CreateTableInput, expires bool) {
	in.DeletionProtectionEnabled = aws.Bool(true)
	in.SSESpecification = &types.SSESpecification{Enabled: aws.Bool(true)}
	in.Tags = []types.Tag{{Key: aws.String(Tag), Value: &s.Project}}
	s.add(&table{c, s, in, expires})
}

// stream has the table of this name have a stream, whoever makes it.
func (s *Site) stream(c *clients, name string) {
	changes := &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
	t := &table{c, s, &dynamodb.CreateTableInput{TableName: &name, StreamSpecification: changes}, false}
	if s.add(t) {
		return
	}
	for _, o := range s.things {
		if o, ok := o.(*table); ok && o.about().id() == t.about().id() && o.region == t.region {
			o.want.StreamSpecification = changes
		}
	}
}

func (t *table) name() *string { return t.want.TableName }

func (t *table) about() about {
	a := about{kind: KindTable, name: *t.name(), region: t.region, rank: rankFirst}
	if t.want.KeySchema == nil {
		a.is, a.borrowed = []string{"a stream"}, true
		return a
	}
	a.is = []string{"key " + keyText(t.want.KeySchema, t.want.AttributeDefinitions)}
	for _, x := range t.want.GlobalSecondaryIndexes {
		a.is = append(a.is, "index "+aws.ToString(x.IndexName)+" of "+keyText(x.KeySchema, t.want.AttributeDefinitions))
	}
	if t.want.StreamSpecification != nil {
		a.is = append(a.is, "a stream of new and old images")
	}
	text := "on demand, encrypted, recovery to any moment, "
	if t.expires {
		text += "TTL on " + itemstore.Expires + ", "
	}
	a.is = append(a.is, text+"protected from being deleted")
	return a
}

// keyText writes a key, with the types of its attributes.
func keyText(key []types.KeySchemaElement, defined []types.AttributeDefinition) string {
	words := make([]string, len(key))
	for i, k := range key {
		words[i] = aws.ToString(k.AttributeName)
		for _, d := range defined {
			if aws.ToString(d.AttributeName) == words[i] {
				words[i] += " (" + string(d.AttributeType) + ")"
				break
			}
		}
	}
	return names(words...)
}

func (t *table) explain(err error, doing string) error { return explain(err, doing, t.about()) }

func (t *table) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := t.dynamodb.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: t.name()})
	if is(err, "ResourceNotFoundException") {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, t.explain(err, "look at the table (dynamodb:DescribeTable)")
	}
	return out.Table, nil
}

func (t *table) look(ctx context.Context) (*found, error) {
	d, err := t.describe(ctx)
	if err != nil || d == nil || d.TableStatus == types.TableStatusDeleting {
		return nil, err
	}
	f := &found{claim: func(ctx context.Context) error { return t.claim(ctx, d.TableArn) }, holds: t.holds}
	if f.owner, err = t.owner(ctx, d.TableArn); err != nil {
		return nil, err
	}
	if t.want.KeySchema != nil {
		f.drifts = t.keys(d)
	}
	f.drifts = append(f.drifts, t.streams(d)...)
	if t.want.KeySchema == nil {
		return f, nil
	}
	for _, differs := range []func(context.Context) (*drift, error){t.expiry, t.recovery} {
		one, err := differs(ctx)
		if err != nil {
			return nil, err
		}
		if one != nil {
			f.drifts = append(f.drifts, *one)
		}
	}
	if !aws.ToBool(d.DeletionProtectionEnabled) {
		f.drifts = append(f.drifts, drift{what: "protection from being deleted", is: "off", want: "on", mend: func(ctx context.Context) error {
			return t.update(ctx, "protect it", &dynamodb.UpdateTableInput{DeletionProtectionEnabled: aws.Bool(true)})
		}})
	}
	return f, nil
}

// owner reads the tag.
func (t *table) owner(ctx context.Context, arn *string) (string, error) {
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: arn}
	for {
		out, err := t.dynamodb.ListTagsOfResource(ctx, in)
		if err != nil {
			return "", t.explain(err, "read its tags (dynamodb:ListTagsOfResource)")
		}
		for _, tag := range out.Tags {
			if aws.ToString(tag.Key) == Tag {
				return aws.ToString(tag.Value), nil
			}
		}
		if out.NextToken == nil {
			return "", nil
		}
		in.NextToken = out.NextToken
	}
}

func (t *table) claim(ctx context.Context, arn *string) error {
	_, err := t.dynamodb.TagResource(ctx, &dynamodb.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: aws.String(Tag), Value: &t.site.Project}}})
	return t.explain(err, "write its tag (dynamodb:TagResource)")
}

// keys compares the key and the indexes, which items are found by. An index more does no harm.
func (t *table) keys(d *types.TableDescription) (out []drift) {
	if was, want := keyText(d.KeySchema, d.AttributeDefinitions), keyText(t.want.KeySchema, t.want.AttributeDefinitions); was != want {
		out = append(out, drift{what: "key", is: was, want: want, why: "the key of a table stays as it was made: name another table for the stream (tables: name), and backfill"})
	}
	for _, x := range t.want.GlobalSecondaryIndexes {
		name, want := aws.ToString(x.IndexName), keyText(x.KeySchema, t.want.AttributeDefinitions)
		i := slices.IndexFunc(d.GlobalSecondaryIndexes, func(o types.GlobalSecondaryIndexDescription) bool { return aws.ToString(o.IndexName) == name })
		if i < 0 {
			out = append(out, drift{what: "index " + name, is: "none", want: want, mend: func(ctx context.Context) error { return t.index(ctx, x) }})
			continue
		}
		was := keyText(d.GlobalSecondaryIndexes[i].KeySchema, d.AttributeDefinitions)
		if p := d.GlobalSecondaryIndexes[i].Projection; p != nil && p.ProjectionType != types.ProjectionTypeAll { // who finds an item wants all of it
			was += " with " + string(p.ProjectionType)
		}
		if was != want {
			out = append(out, drift{
				what: "index " + name, is: was, want: want,
				why: "an index stays as it was made, and this deletes none: give it another name, or delete it (aws dynamodb update-table) and apply again",
			})
		}
	}
	return out
}

func (t *table) streams(d *types.TableDescription) []drift {
	if t.want.StreamSpecification == nil {
		return nil
	}
	was := "none"
	if d.StreamSpecification != nil && aws.ToBool(d.StreamSpecification.StreamEnabled) {
		was = string(d.StreamSpecification.StreamViewType)
	}
	out := drift{what: "stream", is: was, want: string(types.StreamViewTypeNewAndOldImages)}
	if t.want.KeySchema == nil && was == string(types.StreamViewTypeNewImage) { // it can be read, if without what deletes have deleted
		return nil
	}
	switch was {
	case out.want:
		return nil
	case "none":
		out.mend = func(ctx context.Context) error {
			return t.update(ctx, "turn its stream on", &dynamodb.UpdateTableInput{StreamSpecification: &types.StreamSpecification{
				StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages,
			}})
		}
	default:
		out.why = "a stream has to be turned off first, which loses what nobody has read, and every reader of it then needs its new name: do it by hand when that can be borne"
	}
	return []drift{out}
}

func (t *table) expiry(ctx context.Context) (*drift, error) {
	if !t.expires {
		return nil, nil //nolint:nilnil // there is nothing to compare
	}
	out, err := t.dynamodb.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: t.name()})
	if err != nil {
		return nil, t.explain(err, "read its TTL (dynamodb:DescribeTimeToLive)")
	}
	d := &drift{what: "TTL", is: "none", want: itemstore.Expires, mend: func(ctx context.Context) error {
		return t.ready(ctx, "turn its TTL on (dynamodb:UpdateTimeToLive)", func(ctx context.Context) error {
			_, err := t.dynamodb.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
				TableName: t.name(), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(itemstore.Expires), Enabled: aws.Bool(true)},
			})
			return err
		})
	}}
	if ttl := out.TimeToLiveDescription; ttl != nil && (ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabled || ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabling) {
		if d.is = aws.ToString(ttl.AttributeName); d.is == d.want {
			return nil, nil
		}
		d.why = "the TTL of another attribute has to be turned off first, and on again an hour later: do it by hand, and apply again"
	}
	return d, nil
}

func (t *table) recovery(ctx context.Context) (*drift, error) {
	out, err := t.dynamodb.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: t.name()})
	if err != nil {
		return nil, t.explain(err, "read whether it can be recovered (dynamodb:DescribeContinuousBackups)")
	}
	if c := out.ContinuousBackupsDescription; c != nil && c.PointInTimeRecoveryDescription != nil && c.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled {
		return nil, nil
	}
	return &drift{what: "recovery to any moment", is: "off", want: days(recoveryDays), mend: func(ctx context.Context) error {
		return t.ready(ctx, "have it be recovered (dynamodb:UpdateContinuousBackups)", func(ctx context.Context) error {
			_, err := t.dynamodb.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
				TableName: t.name(), PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true), RecoveryPeriodInDays: aws.Int32(recoveryDays)},
			})
			return err
		})
	}}, nil
}

// recoveryDays is how far back a table can be recovered, the longest that there is.
const recoveryDays = 35

func (t *table) create(ctx context.Context) error {
	if t.want.KeySchema == nil {
		return &fault.Error{
			Code: "ACQ-SETUP-007", Place: t.about().id(), Err: errors.New("the table is not there, and no items sink of this project says what its key is"),
			Remedy: "make it with the project that writes it, then apply again",
		}
	}
	// One of this name that is just being deleted has to go first, and when too many are made at the same time the others.
	err := t.site.persist(ctx, t.about(), "another of this name is being deleted, or others are made", func(ctx context.Context) error {
		_, err := t.dynamodb.CreateTable(ctx, t.want)
		if is(err, "ResourceInUseException") {
			if d, wrong := t.describe(ctx); wrong == nil && d != nil && d.TableStatus != types.TableStatusDeleting {
				return nil // it was made, and the answer lost
			}
		}
		return err
	}, "ResourceInUseException", "LimitExceededException")
	return t.explain(err, "make the table (dynamodb:CreateTable, dynamodb:TagResource)")
}

// settle waits until the table and its indexes can be used.
func (t *table) settle(ctx context.Context) error {
	return t.site.wait(ctx, t.about(), func(ctx context.Context) (string, bool, error) {
		d, err := t.describe(ctx)
		if err != nil || d == nil {
			return "it was made, and is not seen yet", false, err
		}
		if d.TableStatus != types.TableStatusActive {
			return string(d.TableStatus), false, nil
		}
		for _, x := range d.GlobalSecondaryIndexes {
			if x.IndexStatus != types.IndexStatusActive && x.IndexStatus != "" {
				return fmt.Sprintf("index %s %s, %d items when DynamoDB last counted", aws.ToString(x.IndexName), x.IndexStatus, aws.ToInt64(d.ItemCount)), false, nil
			}
		}
		return "", true, nil
	})
}

// ready does what a table takes only when nothing else is changed of it.
func (t *table) ready(ctx context.Context, doing string, do func(ctx context.Context) error) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	return t.explain(t.site.persist(ctx, t.about(), "it was just changed", do, "ResourceInUseException", "LimitExceededException", "ContinuousBackupsUnavailableException"), doing)
}

// update changes the table, and waits until it can be used again.
func (t *table) update(ctx context.Context, doing string, in *dynamodb.UpdateTableInput) error {
	in.TableName = t.name()
	err := t.ready(ctx, doing+" (dynamodb:UpdateTable)", func(ctx context.Context) error {
		_, err := t.dynamodb.UpdateTable(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	return t.settle(ctx)
}

// index adds one, which DynamoDB fills from the items that there are. A table with provisioned capacity needs it for its indexes too.
func (t *table) index(ctx context.Context, x types.GlobalSecondaryIndex) error {
	d, err := t.describe(ctx)
	if err != nil {
		return err
	}
	add := &types.CreateGlobalSecondaryIndexAction{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: x.Projection}
	if p := d.ProvisionedThroughput; p != nil && aws.ToInt64(p.WriteCapacityUnits) > 0 {
		add.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: p.ReadCapacityUnits, WriteCapacityUnits: p.WriteCapacityUnits}
	}
	defined := d.AttributeDefinitions
	for _, k := range x.KeySchema {
		for _, a := range t.want.AttributeDefinitions {
			if aws.ToString(a.AttributeName) == aws.ToString(k.AttributeName) &&
				!slices.ContainsFunc(defined, func(o types.AttributeDefinition) bool {
					return aws.ToString(o.AttributeName) == aws.ToString(a.AttributeName)
				}) {
				defined = append(defined, a)
			}
		}
	}
	return t.update(ctx, "add the index "+aws.ToString(x.IndexName), &dynamodb.UpdateTableInput{
		AttributeDefinitions: defined, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: add}},
	})
}

// holds looks for an item: what DynamoDB counts is up to six hours old.
func (t *table) holds(ctx context.Context) (string, error) {
	out, err := t.dynamodb.Scan(ctx, &dynamodb.ScanInput{TableName: t.name(), Limit: aws.Int32(1), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return "", t.explain(err, "look what it holds (dynamodb:Scan)")
	}
	if len(out.Items) == 0 && out.LastEvaluatedKey == nil {
		return "", nil
	}
	return "items", nil
}

// remove takes the protection away, deletes the table and waits until it is gone.
func (t *table) remove(ctx context.Context) error {
	d, err := t.describe(ctx)
	if err == nil && d != nil && aws.ToBool(d.DeletionProtectionEnabled) {
		err = t.update(ctx, "let it be deleted", &dynamodb.UpdateTableInput{DeletionProtectionEnabled: aws.Bool(false)})
	}
	if err != nil || d == nil {
		return err
	}
	err = t.ready(ctx, "delete it (dynamodb:DeleteTable)", func(ctx context.Context) error {
		_, err := t.dynamodb.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: t.name()})
		return unless(err, "ResourceNotFoundException")
	})
	if err != nil {
		return err
	}
	return t.site.wait(ctx, t.about(), func(ctx context.Context) (string, bool, error) {
		d, err := t.describe(ctx)
		if err != nil || d == nil {
			return "", err == nil, err
		}
		return string(d.TableStatus), false, nil
	})
}

// streamARN is that of the stream which the table has now; "": it has none.
func (t *table) streamARN(ctx context.Context) (string, error) {
	d, err := t.describe(ctx)
	if err != nil || d == nil || d.StreamSpecification == nil || !aws.ToBool(d.StreamSpecification.StreamEnabled) {
		return "", err
	}
	return strings.TrimSpace(aws.ToString(d.LatestStreamArn)), nil
}
