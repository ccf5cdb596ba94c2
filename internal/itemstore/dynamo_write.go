package itemstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Write does the puts: those of one key in their order, other keys side by side. It is no transaction: an error means that some may be
// done, which does no harm, for each takes effect by its version.
func (d *Dynamo) Write(ctx context.Context, puts []Put) ([]Outcome, error) {
	outcomes := make([]Outcome, len(puts))
	for from := 0; from < len(puts); {
		to := from + 1
		var err error
		if puts[from].Op == record.Truncate {
			outcomes[from], err = d.truncate(ctx, &puts[from])
		} else {
			for to < len(puts) && puts[to].Op != record.Truncate {
				to++
			}
			err = d.writeItems(ctx, puts[from:to], outcomes[from:to])
		}
		if err != nil {
			return nil, fmt.Errorf("write items: %w", err)
		}
		from = to
	}
	return outcomes, nil
}

// writeItems does puts without a truncate among them, a table after the other.
func (d *Dynamo) writeItems(ctx context.Context, puts []Put, outcomes []Outcome) error {
	var tables []string
	byTable := map[string][]int{}
	for i := range puts {
		if byTable[puts[i].Table] == nil {
			tables = append(tables, puts[i].Table)
		}
		byTable[puts[i].Table] = append(byTable[puts[i].Table], i)
	}
	for _, name := range tables {
		t, err := d.table(name)
		if err != nil {
			return err
		}
		if err := t.write(ctx, puts, byTable[name], outcomes); err != nil {
			return d.explain(err, "write items (dynamodb:PutItem)", name)
		}
	}
	return nil
}

// work is a put and its item.
type work struct {
	*Put
	item    attributes // as it will be stored
	layout  *layout
	outcome *Outcome
}

// write does the puts of one table that stand at some places.
func (t *dynamoTable) write(ctx context.Context, puts []Put, at []int, outcomes []Outcome) error {
	t.floor.writing.RLock()
	defer t.floor.writing.RUnlock()
	floor, err := t.truncated(ctx)
	if err != nil {
		return err
	}
	all, err := t.works(puts, at, outcomes)
	if err != nil {
		return err
	}
	chains := map[string][]work{}
	for _, w := range all {
		if w.Version.Compare(floor) < 0 {
			*w.outcome = Superseded
			continue
		}
		chains[w.Key] = append(chains[w.Key], w)
	}
	if t.load != nil {
		if err := t.load.write(ctx, t, chains); err != nil {
			return err
		}
	}
	keys := slices.Collect(maps.Keys(chains))                                       // in no order: neighbours in the source would meet in one partition
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) //nolint:gosec // chance, no secret
	return t.store.each(ctx, len(keys), func(ctx context.Context, i int) error {
		for _, w := range chains[keys[i]] {
			var err error
			if *w.outcome, err = t.put(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// works makes the items of puts: the documents of one schema are decoded together.
func (t *dynamoTable) works(puts []Put, at []int, outcomes []Outcome) ([]work, error) {
	out := make([]work, 0, len(at))
	var b *record.Builder
	var rows []int // of the batch: places in out
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		batch := b.Batch(nil)
		defer batch.Release()
		for row, place := range rows {
			var err error
			if out[place].item, err = out[place].layout.encode(out[place].Put, batch, row); err != nil {
				return t.strange(out[place].Put, err)
			}
		}
		b, rows = nil, rows[:0]
		return nil
	}
	for _, i := range at {
		p := &puts[i]
		w := work{Put: p, layout: t.layoutOf(p.Schema), outcome: &outcomes[i]}
		if p.Op == record.Delete {
			key, err := w.layout.key(p.Key)
			if err != nil {
				return nil, t.strange(p, err)
			}
			w.item = w.layout.tombstone(key, p.Version, t.buried(p.Expires))
			out = append(out, w)
			continue
		}
		if b != nil && b.Schema() != w.layout.schema {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if b == nil {
			b = record.NewBuilder(w.layout.schema, len(at))
		}
		if err := b.AppendPartJSON(p.Doc, p.Kept); err != nil {
			return nil, t.strange(p, err)
		}
		rows = append(rows, len(out))
		out = append(out, w)
	}
	return out, flush()
}

// buried is when a tombstone goes.
func (t *dynamoTable) buried(expires int64) int64 {
	return max(expires, time.Now().Add(t.store.options.Tombstones).Unix())
}

func (t *dynamoTable) strange(p *Put, err error) error {
	return &fault.Error{Code: "ACQ-ITEMS-023", Place: t.Name + ", key " + p.Key, Err: fmt.Errorf("the item cannot be written: %w", err), Remedy: "look at the record: it should have been refused before"}
}

// newer is the condition of a versioned write. An item that acequia did not write has no version and gives way.
const newer = "attribute_not_exists(#v) OR #v < :v"

// put does one put. A refused condition means that a copy of the same or a newer version is there.
func (t *dynamoTable) put(ctx context.Context, w work) (Outcome, error) {
	if len(w.Kept) > 0 {
		return t.merge(ctx, w)
	}
	condition, refused := newer, Superseded
	if w.IfAbsent {
		condition, refused = "attribute_not_exists(#v)", Exists
	}
	if err := t.enter(ctx, w); err != nil {
		return 0, err
	}
	old, done, err := t.putIf(ctx, w.item, condition, w.Version)
	if err != nil || !done {
		return refused, err
	}
	return Written, t.leave(ctx, w, old)
}

// putIf puts an item on a condition of #v, the stored version, and :v, a given one; it gives what the item was before.
func (t *dynamoTable) putIf(ctx context.Context, item attributes, condition string, v record.Version) (old attributes, done bool, err error) {
	in := &dynamodb.PutItemInput{
		TableName: aws.String(t.Name), Item: item, ConditionExpression: aws.String(condition), ExpressionAttributeNames: map[string]string{"#v": versionAttribute},
	}
	if condition != "attribute_not_exists(#v)" {
		in.ExpressionAttributeValues = attributes{":v": &types.AttributeValueMemberS{Value: v.String()}}
	}
	if t.hasEntries() {
		in.ReturnValues = types.ReturnValueAllOld
	}
	err = t.store.call(ctx, t.Name, t.limit, units(item), func(ctx context.Context) error {
		out, err := t.store.client.PutItem(ctx, in)
		if err == nil {
			old = out.Attributes
		}
		return err
	})
	return old, err == nil, passed(err)
}

// passed takes a refused condition for what it is: no error.
func passed(err error) error {
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return nil
	}
	return err
}

// units is what a write costs: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html.
func units(item attributes) float64 { return float64(1 + (sizeOf(item)-1)/1024) }

// merges is how often an item may change between being read and being written.
const merges = 20

// merge does a put whose document lacks columns that the stored one has. An expression that updates may have 4 KB, so the item is
// read, and written if it has not changed.
func (t *dynamoTable) merge(ctx context.Context, w work) (Outcome, error) {
	floor := t.floor.known()
	for range merges {
		key, err := w.layout.key(w.Key)
		if err != nil {
			return 0, err
		}
		stored, err := t.get(ctx, key)
		version := versionOf(stored)
		switch {
		case err != nil:
			return 0, err
		case len(stored) > 0 && version.Compare(w.Version) >= 0:
			return Superseded, nil
		case len(stored) == 0 || deleted(stored) || version.Compare(floor) < 0:
			return Missing, nil
		}
		whole := w
		whole.item = w.with(stored)
		if err := fitsItem(whole.item); err != nil {
			return 0, t.strange(w.Put, err)
		}
		if err := t.enter(ctx, whole); err != nil {
			return 0, err
		}
		condition := "#v = :v"
		if _, ok := stored[versionAttribute]; !ok {
			condition = "attribute_not_exists(#v)"
		}
		old, done, err := t.putIf(ctx, whole.item, condition, version)
		if err != nil {
			return 0, err
		}
		if done {
			return Written, t.leave(ctx, whole, old)
		}
	}
	return 0, fault.Retry(fmt.Errorf("item %s of %s is changed by others all the time", w.Key, t.Name))
}

// with gives the item with the kept columns of the stored one.
func (w work) with(stored attributes) attributes {
	out := maps.Clone(w.item)
	mine, _ := out[unindexedAttribute].(*types.AttributeValueMemberM)
	theirs, _ := stored[unindexedAttribute].(*types.AttributeValueMemberM)
	held := attributes{}
	if mine != nil {
		maps.Copy(held, mine.Value)
	}
	for _, name := range w.Kept {
		if v, ok := stored[name]; ok {
			out[name] = v
		} else if theirs != nil && theirs.Value[name] != nil {
			held[name] = theirs.Value[name]
		}
	}
	if len(held) > 0 {
		out[unindexedAttribute] = &types.AttributeValueMemberM{Value: held}
	}
	return out
}
