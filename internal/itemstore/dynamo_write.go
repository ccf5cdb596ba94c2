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

// Write does the puts: those of one key in their order, other keys side by side, and each number of Together in a transaction. An error
// means that some may be done, which does no harm, for each takes effect by its version.
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

// writeItems does puts without a truncate among them: the transactions, and then the others, a table after the other.
func (d *Dynamo) writeItems(ctx context.Context, puts []Put, outcomes []Outcome) error {
	together, alone := parted(puts)
	if len(together) > 0 {
		if err := d.writeTogether(ctx, puts, together, outcomes); err != nil {
			return err
		}
	}
	var tables []string
	byTable := map[string][]int{}
	for _, i := range alone {
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

// onto is what a put goes over, and the condition on which it is done.
type onto struct {
	whole     work // with the columns that it keeps
	condition string
	version   record.Version // that the condition is of
	refused   Outcome        // where the condition does not hold
	exact     bool           // where it does not hold, the item has changed, and is to be looked at again
	old       attributes     // what is stored, if that was looked at
	decided   Outcome        // 0: it is to be done
}

// noVersion is the condition that no item is there, or one that acequia did not write.
const noVersion = "attribute_not_exists(#v)"

// blind is for a put that goes over whatever is older.
func (t *dynamoTable) blind(w work) onto {
	if w.IfAbsent {
		return onto{whole: w, condition: noVersion, refused: Exists}
	}
	return onto{whole: w, condition: newer, version: w.Version, refused: Superseded}
}

// expression is the condition as calls have it: #v is the stored version, :v the given one.
func (o *onto) expression() (condition *string, names map[string]string, values attributes) {
	if o.condition != noVersion {
		values = attributes{":v": &types.AttributeValueMemberS{Value: o.version.String()}}
	}
	return &o.condition, map[string]string{"#v": versionAttribute}, values
}

// put does one put. A refused condition means that a copy of the same or a newer version is there.
func (t *dynamoTable) put(ctx context.Context, w work) (Outcome, error) {
	if len(w.Kept) > 0 {
		return t.merge(ctx, w)
	}
	if err := t.enter(ctx, w); err != nil {
		return 0, err
	}
	on := t.blind(w)
	old, done, err := t.putIf(ctx, on)
	if err != nil || !done {
		return on.refused, err
	}
	return Written, t.leave(ctx, w, old)
}

// putIf puts an item on its condition; it gives what the item was before.
func (t *dynamoTable) putIf(ctx context.Context, on onto) (old attributes, done bool, err error) {
	in := &dynamodb.PutItemInput{TableName: aws.String(t.Name), Item: on.whole.item}
	in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues = on.expression()
	if t.hasEntries() {
		in.ReturnValues = types.ReturnValueAllOld
	}
	err = t.store.call(ctx, t.Name, t.limit, units(on.whole.item), func(ctx context.Context) error {
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
	for range merges {
		on, err := t.over(ctx, w)
		if err != nil || on.decided != 0 {
			return on.decided, err
		}
		if err := t.enter(ctx, on.whole); err != nil {
			return 0, err
		}
		old, done, err := t.putIf(ctx, on)
		if err != nil {
			return 0, err
		}
		if done {
			return Written, t.leave(ctx, on.whole, old)
		}
	}
	return 0, fault.Retry(fmt.Errorf("item %s of %s is changed by others all the time", w.Key, t.Name))
}

// over looks at the stored item, and makes the put one that goes over just that.
func (t *dynamoTable) over(ctx context.Context, w work) (onto, error) {
	floor := t.floor.known()
	key, err := w.layout.key(w.Key)
	if err != nil {
		return onto{}, err
	}
	stored, err := t.get(ctx, key)
	if err != nil {
		return onto{}, err
	}
	_, versioned := stored[versionAttribute]
	on := onto{whole: w, condition: noVersion, exact: true, old: stored}
	if versioned {
		on.condition, on.version = "#v = :v", versionOf(stored)
	}
	switch {
	case w.IfAbsent && versioned:
		on.decided = Exists
	case versioned && on.version.Compare(w.Version) >= 0:
		on.decided = Superseded
	case len(w.Kept) == 0:
	case len(stored) == 0 || deleted(stored) || on.version.Compare(floor) < 0:
		on.decided = Missing
	default:
		on.whole.item = w.with(stored)
		if err := fitsItem(on.whole.item); err != nil {
			return onto{}, t.strange(w.Put, err)
		}
	}
	return on, nil
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
