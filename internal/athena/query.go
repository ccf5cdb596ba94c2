package athena

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Request is one query.
type Request struct {
	SQL     string        // one statement that reads, in Trino's dialect
	Params  []string      // values for its question marks, in their order, as people write them: see Literal
	Timeout time.Duration // 0: 30 min, as Athena's own limit for queries
}

// Execution tells of a query that has ended well.
type Execution struct {
	ID       string
	Results  string // where Athena keeps the result, such as s3://results/….csv; "": nowhere that others can read
	Scanned  int64  // bytes
	Duration time.Duration
}

const usualTimeout = 30 * time.Minute

// restarts is how often a query is begun again that failed for a reason which Athena says will pass.
const restarts = 2

// Query runs a statement in the workgroup, waits for its end and gives its rows, which the caller must close. When ctx ends first the query is
// stopped in Athena, too.
func (c *Client) Query(ctx context.Context, r Request) (*Rows, error) {
	if err := reads(r.SQL); err != nil {
		return nil, err
	}
	if r.Timeout <= 0 {
		r.Timeout = usualTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, errTime)
	rows, err := c.query(ctx, r)
	for again := 0; again < restarts && fault.Code(err) == codeFailed; again++ {
		rows, err = c.query(ctx, r)
	}
	if err != nil {
		cancel()
		return nil, c.timed(ctx, err, r.Timeout)
	}
	rows.close = cancel
	return rows, nil
}

var errTime = errors.New("the query took longer than it may")

// timed tells a time that is over from a caller that has gone.
func (c *Client) timed(ctx context.Context, err error, limit time.Duration) error {
	if errors.Is(context.Cause(ctx), errTime) {
		return &fault.Error{Code: "ACQ-ATHENA-015", Place: c.workgroupName(), Err: errors.New("the query was stopped after " + limit.String()), Remedy: "ask for less: name partitions (dt) in WHERE, or fewer columns"}
	}
	if ctx.Err() != nil && fault.Code(err) == "" {
		return ctx.Err()
	}
	return err
}

func (c *Client) workgroupName() string { return "workgroup " + c.place.Workgroup }

func (c *Client) query(ctx context.Context, r Request) (*Rows, error) {
	id, err := c.start(ctx, r)
	if err != nil {
		return nil, err
	}
	done, err := c.await(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.rows(ctx, done)
}

// start begins a query. The SDK gives the call a token, so that one that is repeated starts one query. It is not cut off when nobody waits any
// more: without the answer nobody could stop the query.
func (c *Client) start(ctx context.Context, r Request) (id string, err error) {
	in := &athena.StartQueryExecutionInput{
		QueryString: &r.SQL, WorkGroup: &c.place.Workgroup,
		QueryExecutionContext: &types.QueryExecutionContext{Catalog: aws.String("AwsDataCatalog"), Database: &c.place.Database},
	}
	for _, p := range r.Params {
		in.ExecutionParameters = append(in.ExecutionParameters, Literal(p))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answer)
	defer cancel()
	out, err := c.athena.StartQueryExecution(ctx, in)
	switch {
	case err == nil:
		return aws.ToString(out.QueryExecutionId), nil
	case noWorkgroup(err), strings.Contains(err.Error(), "output location"):
		return "", notMade(c.workgroupName(), err)
	case awsconfig.Code(err) == "InvalidRequestException":
		return "", &fault.Error{Class: fault.Poison, Code: codeWrong, Place: c.workgroupName(), Err: err, Remedy: "mend the statement"}
	}
	return "", awsconfig.Explain(err, "start the query (athena:StartQueryExecution)", c.workgroupName())
}

// How often Athena is asked whether a query has ended.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
)

// await waits for the end of a query. When it gives up, the query is stopped.
func (c *Client) await(ctx context.Context, id string) (*types.QueryExecution, error) {
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		select {
		case <-ctx.Done():
			c.stop(ctx, id)
			return nil, ctx.Err()
		case <-timer.C:
		}
		timer.Reset(pause)
		out, err := c.athena.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: &id})
		if err != nil {
			err = awsconfig.Explain(err, "look how the query stands (athena:GetQueryExecution)", c.workgroupName())
			if ctx.Err() == nil && fault.Of(err) != fault.Retryable {
				c.stop(ctx, id)
				return nil, err
			}
			continue // throttled, or the network: the query goes on, and so do we
		}
		switch q := out.QueryExecution; q.Status.State {
		case types.QueryExecutionStateSucceeded:
			return q, nil
		case types.QueryExecutionStateFailed, types.QueryExecutionStateCancelled:
			return nil, c.failure(q)
		case types.QueryExecutionStateQueued, types.QueryExecutionStateRunning:
		}
	}
}

// stopTime is how long it may take to stop a query that nobody waits for any more.
const stopTime = 10 * time.Second

// stop ends a query in Athena: what it has read so far is paid, and no more.
func (c *Client) stop(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	_, _ = c.athena.StopQueryExecution(ctx, &athena.StopQueryExecutionInput{QueryExecutionId: &id}) // its cut-off ends it otherwise
}

// Codes of queries that end badly.
const (
	codeReads  = "ACQ-ATHENA-011"
	codeWrong  = "ACQ-ATHENA-012"
	codeFailed = "ACQ-ATHENA-013"
	codeCutOff = "ACQ-ATHENA-014"
	codeEnded  = "ACQ-ATHENA-016"
)

// userError is the category of mistakes of who asks: https://docs.aws.amazon.com/athena/latest/APIReference/API_AthenaError.html.
const userError = 2

// failure says why a query ended without rows.
func (c *Client) failure(q *types.QueryExecution) error {
	reason := aws.ToString(q.Status.StateChangeReason)
	told := q.Status.AthenaError
	e := &fault.Error{Place: c.workgroupName(), Err: errors.New(orNothing(reason))}
	switch {
	case strings.Contains(strings.ToLower(reason), "bytes scanned limit"):
		e.Code, e.Remedy = codeCutOff, "name partitions (dt) and fewer columns, or raise the limit: athena: { cutoff: ... }, and acequia tables apply FILE"
	case q.Status.State == types.QueryExecutionStateCancelled:
		e.Code, e.Err, e.Remedy = codeEnded, errors.New("somebody stopped the query: "+orNothing(reason)), "ask again"
	case told != nil && told.Retryable:
		e.Class, e.Code, e.Remedy = fault.Retryable, codeFailed, "ask again later; Athena says that it will pass"
	case told == nil || told.ErrorCategory == nil || *told.ErrorCategory == userError:
		e.Class, e.Code, e.Remedy = fault.Poison, codeWrong, "mend the statement, or what it reads"
	default:
		e.Code, e.Remedy = "ACQ-ATHENA-017", "look at the query in Athena: "+aws.ToString(q.QueryExecutionId)
	}
	return e
}

var (
	explained = regexp.MustCompile(`(?is)^explain\s+(analyze\s+)?(verbose\s+)?(\([^)]*\)\s*)?`)
	reading   = regexp.MustCompile(`(?is)^[\s(]*(select|with|show|describe|desc|values|table)\b`)
)

// reads refuses what does not read: what a workgroup lets people do is a matter of rights, and this keeps them from mistakes.
func reads(sql string) error {
	if reading.MatchString(explained.ReplaceAllString(uncommented(sql), "")) {
		return nil
	}
	return &fault.Error{Code: codeReads, Err: errors.New("only statements that read may be run"), Remedy: "write one SELECT, SHOW, DESCRIBE or EXPLAIN"}
}

// uncommented takes off the comments that a statement begins with.
func uncommented(sql string) string {
	for {
		sql = strings.TrimSpace(sql)
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, _ = strings.Cut(sql, "*/")
		default:
			return sql
		}
	}
}
