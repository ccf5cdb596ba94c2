package expr

import (
	"errors"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Removes says whether a record only takes others away: its row need hold no more than the key.
func Removes(op record.Op) bool { return op == record.Delete || op == record.Truncate }

// Spare takes the deletes and truncates of a batch out of the rows that an error refuses. An expression says nothing of a record
// that may lack its columns, and a delete that were refused would leave its record in every sink.
func Spare(b *record.Batch, err error) error {
	rows, ok := errors.AsType[*fault.Rows](err)
	if !ok {
		return err
	}
	left := &fault.Rows{}
	for _, r := range rows.Bad {
		if !Removes(b.System.Op(r.Index)) {
			left.Bad = append(left.Bad, r)
		}
	}
	return left.Or()
}
