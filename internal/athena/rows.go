package athena

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// pageRows is how many rows a page of a result has, the most that Athena gives.
const pageRows = 1000

// ResultColumn is a column of a result; Type is as Athena names it, such as bigint.
type ResultColumn struct{ Name, Type string }

// Rows are the rows of a query, read page by page, once, from one goroutine.
type Rows struct {
	client    *Client
	ctx       context.Context //nolint:containedctx // of the query, whose pages are read later
	execution Execution
	columns   []ResultColumn
	page      []types.Row
	next      *string
	at        int
	err       error
	close     context.CancelFunc
}

// rows reads the first page.
func (c *Client) rows(ctx context.Context, q *types.QueryExecution) (*Rows, error) {
	r := &Rows{client: c, ctx: ctx, close: func() {}, execution: Execution{ID: aws.ToString(q.QueryExecutionId)}}
	if q.ResultConfiguration != nil {
		r.execution.Results = aws.ToString(q.ResultConfiguration.OutputLocation)
	}
	if s := q.Statistics; s != nil {
		r.execution.Scanned = aws.ToInt64(s.DataScannedInBytes)
		r.execution.Duration = time.Duration(aws.ToInt64(s.TotalExecutionTimeInMillis)) * time.Millisecond
	}
	out, err := r.read()
	if err != nil {
		return nil, err
	}
	if out.ResultSetMetadata != nil {
		for _, column := range out.ResultSetMetadata.ColumnInfo {
			r.columns = append(r.columns, ResultColumn{aws.ToString(column.Name), aws.ToString(column.Type)})
		}
	}
	if len(r.page) > 0 && r.names(r.page[0]) { // the first row of a SELECT is the names of its columns
		r.at = 1
	}
	return r, nil
}

// names says whether a row is the names of the columns.
func (r *Rows) names(row types.Row) bool {
	if len(row.Data) != len(r.columns) {
		return false
	}
	for i, d := range row.Data {
		if d.VarCharValue == nil || *d.VarCharValue != r.columns[i].Name {
			return false
		}
	}
	return true
}

// read reads the next page.
func (r *Rows) read() (*types.ResultSet, error) {
	out, err := r.client.athena.GetQueryResults(r.ctx, &athena.GetQueryResultsInput{QueryExecutionId: &r.execution.ID, MaxResults: aws.Int32(pageRows), NextToken: r.next})
	if err != nil {
		return nil, awsconfig.Explain(err, "read the result (athena:GetQueryResults)", r.client.workgroupName())
	}
	r.page, r.next, r.at = out.ResultSet.Rows, out.NextToken, 0
	return out.ResultSet, nil
}

// Execution tells of the query.
func (r *Rows) Execution() Execution { return r.execution }

// Columns gives the columns of the result.
func (r *Rows) Columns() []ResultColumn { return r.columns }

// Next gives the next row, of which nil is NULL; false at the end and after an error.
func (r *Rows) Next() (row []*string, ok bool) {
	for r.err == nil && r.at == len(r.page) {
		if r.next == nil {
			return nil, false
		}
		_, r.err = r.read()
	}
	if r.err != nil {
		return nil, false
	}
	row = make([]*string, len(r.columns))
	for i, d := range r.page[r.at].Data[:min(len(row), len(r.page[r.at].Data))] {
		row[i] = d.VarCharValue
	}
	r.at++
	return row, true
}

// Err gives what ended the rows too early, or nil.
func (r *Rows) Err() error { return r.err }

// Close ends the reading.
func (r *Rows) Close() { r.close() }

// Literal makes the SQL literal of a value that a person gives for a question mark. Athena takes expressions, so a value is never handed on
// as it is: numbers, true, false and null stand for themselves, all else is text in quotes. What stands in single quotes is text, too, so that
// '7' can be told from 7.
func Literal(value string) string {
	if len(value) > 1 && value[0] == '\'' && value[len(value)-1] == '\'' {
		return "'" + strings.ReplaceAll(value[1:len(value)-1], "'", "''") + "'"
	}
	switch value {
	case "true", "false", "null":
		return value
	}
	var number json.Number
	if value != "" && (value[0] == '-' || value[0] >= '0' && value[0] <= '9') && json.Unmarshal([]byte(value), &number) == nil && number.String() == value {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", "''") + "'"
}
