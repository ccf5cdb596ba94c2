package itemstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
)

// What TransactWriteItems takes, and what it costs: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html.
const (
	maxActions     = 100
	maxTransaction = 4 << 20 // bytes
	transactCost   = 2       // times that of the writes alone
)

// The reasons why an action has canceled its transaction:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html.
const (
	reasonNone       = "None"
	reasonCondition  = "ConditionalCheckFailed"
	reasonConflict   = "TransactionConflict"
	reasonThroughput = "ProvisionedThroughputExceeded"
	reasonThrottling = "ThrottlingError"
)

// action is a put of a transaction.
type action struct {
	*dynamoTable
	work
}

// parted gives the places of puts that are done together, those of one transaction after the other, and the places of all others.
func parted(puts []Put) (together [][]int, alone []int) {
	count := map[uint32]int{}
	for i := range puts {
		if n := puts[i].Together; n != 0 {
			count[n]++
		}
	}
	at := map[uint32]int{}
	for i := range puts {
		n := puts[i].Together
		if count[n] < 2 {
			alone = append(alone, i)
			continue
		}
		place, known := at[n]
		if !known {
			place = len(together)
			at[n], together = place, append(together, make([]int, 0, count[n]))
		}
		together[place] = append(together[place], i)
	}
	return together, alone
}

// writeTogether does puts in transactions, side by side: what is of one key is told apart by its version, whichever comes first.
func (d *Dynamo) writeTogether(ctx context.Context, puts []Put, together [][]int, outcomes []Outcome) error {
	byTable := map[string][]int{}
	for _, at := range together {
		for _, i := range at {
			byTable[puts[i].Table] = append(byTable[puts[i].Table], i)
		}
	}
	actions := map[int]action{}
	for _, name := range slices.Sorted(maps.Keys(byTable)) { // in one order, so that no two wait for each other's tables
		t, err := d.table(name)
		if err != nil {
			return err
		}
		t.floor.writing.RLock()
		defer t.floor.writing.RUnlock()
		floor, err := t.truncated(ctx)
		if err != nil {
			return err
		}
		all, err := t.works(puts, byTable[name], outcomes)
		if err != nil {
			return err
		}
		if t.load != nil {
			t.load.note(all)
		}
		for n, w := range all {
			if w.Version.Compare(floor) < 0 {
				*w.outcome = Superseded
				continue
			}
			actions[byTable[name][n]] = action{t, w}
		}
	}
	return d.each(ctx, len(together), func(ctx context.Context, i int) error {
		all := make([]action, 0, len(together[i]))
		for _, at := range together[i] {
			if a, ok := actions[at]; ok {
				all = append(all, a)
			}
		}
		all, err := single(all)
		if err == nil {
			err = d.transact(ctx, all)
		}
		return err
	})
}

// single leaves one action for each item, its newest: a transaction takes no more.
func single(all []action) ([]action, error) {
	newest := map[[2]string]int{}
	var out []action
	for _, a := range all {
		place := [2]string{a.Name, a.Key}
		i, there := newest[place]
		switch {
		case !there:
			newest[place], out = len(out), append(out, a)
		case len(a.Kept)+len(out[i].Kept) > 0 || a.IfAbsent || out[i].IfAbsent:
			return nil, a.strange(a.Put, errors.New("it depends on another put of its transaction"))
		case a.Version.Compare(out[i].Version) > 0:
			*out[i].outcome, out[i] = Superseded, a
		default:
			*a.outcome = Superseded
		}
	}
	return out, nil
}

// transact does all actions at once. What finds a copy of the same or a newer version is left out, and the rest is sent again; nothing is
// where one finds a copy that must not be there.
func (d *Dynamo) transact(ctx context.Context, all []action) error {
	for range merges {
		sent, err := ready(ctx, all)
		if err != nil {
			return err
		}
		if len(sent) < 2 {
			for _, a := range sent {
				if *a.outcome, err = a.put(ctx, a.work); err != nil {
					return d.explain(err, "write items (dynamodb:PutItem)", a.Name)
				}
			}
			return nil
		}
		if err := d.send(ctx, sent); err != nil {
			if all, err = left(sent, err); err != nil {
				return d.explain(err, "write items in a transaction (dynamodb:PutItem)", tablesOf(sent))
			}
			continue
		}
		for _, a := range sent {
			*a.outcome = Written
			if err := a.leave(ctx, a.whole, a.old); err != nil {
				return err
			}
		}
		return nil
	}
	return fault.Retry(fmt.Errorf("items of a transaction on %s are changed by others all the time", tablesOf(all)))
}

// readied is an action with the condition on which it is done.
type readied struct {
	action
	onto
}

// ready looks what the actions go over, as far as that is needed, and gives those that are to be done.
func ready(ctx context.Context, all []action) ([]readied, error) {
	out := make([]readied, 0, len(all))
	for _, a := range all {
		r := readied{a, a.blind(a.work)}
		if len(a.Kept) > 0 || a.hasEntries() { // a transaction does not tell what was there before
			var err error
			if r.onto, err = a.over(ctx, a.work); err != nil {
				return nil, err
			}
			switch *a.outcome = r.decided; r.decided {
			case 0:
			case Exists:
				exist(all)
				return nil, nil
			default:
				continue
			}
		}
		if err := a.enter(ctx, r.whole); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// send sends one transaction; repeated, it has the same token, so that one whose answer was lost is not done twice.
func (d *Dynamo) send(ctx context.Context, all []readied) error {
	in := &dynamodb.TransactWriteItemsInput{ClientRequestToken: aws.String(rand.Text()), TransactItems: make([]types.TransactWriteItem, len(all))}
	costs := make([]cost, len(all))
	bytes := 0
	for i, a := range all {
		bytes += sizeOf(a.whole.item)
		condition, names, values := a.expression()
		in.TransactItems[i].Put = &types.Put{
			TableName: &a.Name, Item: a.whole.item, ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		}
		costs[i] = cost{a.Name, a.limit, transactCost * units(a.whole.item)}
	}
	if len(all) > maxActions || bytes > maxTransaction {
		return all[0].strange(all[0].Put, fmt.Errorf("its transaction has %d items of %d bytes, possible are %d and %d", len(all), bytes, maxActions, maxTransaction))
	}
	return d.callAll(ctx, costs, func(ctx context.Context) error {
		_, err := d.client.TransactWriteItems(ctx, in)
		return err
	})
}

// left gives the actions of a canceled transaction that are to be done all the same, or the error that keeps them from it.
func left(sent []readied, err error) (all []action, _ error) {
	e, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok || len(e.CancellationReasons) != len(sent) {
		return nil, err
	}
	again := false
	for i, reason := range e.CancellationReasons {
		a := sent[i]
		switch code := aws.ToString(reason.Code); code {
		case reasonCondition:
			if again = true; a.exact {
				break
			}
			if *a.outcome = a.refused; a.refused == Exists {
				exist(sent)
				return nil, nil
			}
			continue
		case reasonNone, "", reasonConflict, reasonThroughput, reasonThrottling:
		default: // a validation, or a local index that is full
			return nil, a.strange(a.Put, fmt.Errorf("%s: %s", code, aws.ToString(reason.Message)))
		}
		all = append(all, a.action)
	}
	if !again {
		return nil, err
	}
	return all, nil
}

// exist tells of all actions of a transaction that a copy is there.
func exist[T interface{ tell(o Outcome) }](all []T) {
	for _, a := range all {
		a.tell(Exists)
	}
}

func (a action) tell(o Outcome) { *a.outcome = o }

// tablesOf names the tables of actions.
func tablesOf[T interface{ tableName() string }](all []T) string {
	var out []string
	for _, a := range all {
		if n := a.tableName(); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return strings.Join(out, ", ")
}

func (a action) tableName() string { return a.Name }
