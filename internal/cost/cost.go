// Package cost estimates what pipelines cost on AWS in a day, from how much comes and from dated prices. It is an order of magnitude: what is
// assumed is told with it.
package cost

import (
	"fmt"
	"math"
	"time"
)

// Load is how much comes, and is asked.
type Load struct {
	Rows    int64 // of each stream, a day
	Bytes   int64 // of a row, as JSON
	Days    int   // that data is kept
	Queries int64 // of the lake, a day, each over the rows of a day
}

// Usual is assumed of what nobody said.
func Usual() Load { return Load{Rows: 100_000, Bytes: 1000, Days: 30, Queries: 100} }

// What is assumed beside the load.
const (
	packed   = 0.25 // of its JSON, a row takes in Parquet
	elements = 3    // of a list, each an entry of an index of elements
	perCall  = 10   // messages a call of SQS, and records a request of a pipe
	requests = 3    // of S3 a file: an upload is begun, filled and completed
	diskSize = 50   // GB of a database
	month    = 365.0 / 12
	gigabyte = 1e9
)

// Line is what one thing costs.
type Line struct {
	Service  string  `json:"service"`
	For      string  `json:"for"` // the part, such as sink lake
	What     string  `json:"what"`
	Quantity float64 `json:"quantity"` // a day
	USD      float64 `json:"usd"`      // a day
}

// Estimate is what a project costs in a day.
type Estimate struct {
	Prices      string   `json:"prices"` // month and region of the list prices
	Assumptions []string `json:"assumptions"`
	Lines       []Line   `json:"lines"`
	USD         float64  `json:"usd_a_day"`

	load Load
}

// New begins an estimate.
func New(l Load) *Estimate {
	return &Estimate{
		Prices: Date + ", " + Region, Lines: []Line{}, load: l,
		Assumptions: []string{
			fmt.Sprintf("%d rows of %d bytes come of each stream in a day, evenly; data is kept for %d days, and so long it has been running", l.Rows, l.Bytes, l.Days),
			fmt.Sprintf("Parquet takes %.0f %% of that; a list has %d elements; a call of SQS and a request of a pipe carry %d", packed*100, elements, perCall),
			fmt.Sprintf("%d queries in a day, each over the rows of a day; a database of RDS is a db.t4g.medium with %d GB", l.Queries, diskSize),
			"list prices of " + Region + " as of " + Date + ", without free tiers, taxes, discounts, logs and traffic out of the region: the calculator of AWS has today's",
		},
	}
}

func (e *Estimate) add(service, part, what string, quantity, price float64) {
	e.Lines = append(e.Lines, Line{service, part, what, quantity, quantity * price})
	e.USD += quantity * price
}

// Lake is files in S3, of which one a table is written each time that a group is closed, and what is asked of them.
func (e *Estimate) Lake(part string, streams int, every time.Duration) {
	rows := e.load.Rows * int64(streams)
	bytes := float64(rows) * float64(e.load.Bytes) * packed
	files := min(float64(rows), float64(streams)*float64(24*time.Hour)/float64(every))
	e.add("S3", part, "requests that write files", files*requests, written)
	e.add("S3", part, "GB that are stored", bytes*float64(e.load.Days)/gigabyte, storedGB/month)
	e.add("Athena", part, "TiB that queries read", float64(e.load.Queries)*float64(billed(int64(bytes)))/tebibyte, scannedTiB)
}

// Items is a table of DynamoDB: an index is written with each item, an index of elements as often as there are elements. Written in transactions,
// an item costs twice as much.
func (e *Estimate) Items(part, table string, indexes, each int, transactions bool) {
	rows := float64(e.load.Rows)
	copies := float64(1 + indexes + elements*each)
	units, writes := math.Ceil(float64(e.load.Bytes)/1024), copies
	if transactions {
		writes++
	}
	e.add("DynamoDB", part, table+": units that are written, indexes too", rows*units*writes, writeUnit)
	stored := rows * float64(e.load.Bytes) * copies * float64(e.load.Days) / gigabyte
	e.add("DynamoDB", part, table+": GB that are stored and can be recovered", stored, (itemGB+recoveryGB)/month)
}

// State is a table that processes share, each of which renews its leases so often; what pipelines write comes on top where they are busy.
func (e *Estimate) State(part string, every time.Duration) {
	times := float64(24*time.Hour) / float64(every)
	e.add("DynamoDB", part, "units that one process writes: a transaction of two items each time", times*4, writeUnit)
	e.add("DynamoDB", part, "units that one process reads", times, readUnit)
}

// Stream is the changes of a table that a source reads itself, asking so often.
func (e *Estimate) Stream(part string, poll time.Duration) {
	e.add("DynamoDB", part, "reads of its stream, of one shard", float64(24*time.Hour)/float64(poll), streamRead)
}

// Queue is one that is read by so many pollers, and whose messages are deleted.
func (e *Estimate) Queue(part string, fifo bool, pollers int, wait time.Duration) {
	calls := 2*float64(e.load.Rows)/perCall + float64(pollers)*float64(24*time.Hour)/float64(wait)
	e.add("SQS", part, "requests that receive and delete, the empty ones too", calls, requestPrice(fifo))
}

// Send is what is sent to a queue in batches.
func (e *Estimate) Send(part string, fifo bool) {
	e.add("SQS", part, "requests that send", float64(e.load.Rows)/perCall, requestPrice(fifo))
}

func requestPrice(fifo bool) float64 {
	if fifo {
		return ordered
	}
	return message
}

// Events is what is put on a bus.
func (e *Estimate) Events(part string) {
	e.add("EventBridge", part, "events", float64(e.load.Rows), event)
}

// Route is what carries the changes of a table into a queue: over a bus, whose rule sends one by one, or straight.
func (e *Estimate) Route(part string, fifo bool) {
	e.add("EventBridge", part, "requests of the pipe", float64(e.load.Rows)/perCall, piped)
	if fifo {
		e.add("SQS", part, "requests of the pipe that send", float64(e.load.Rows)/perCall, ordered)
		return
	}
	e.Events(part)
	e.add("SQS", part, "requests of the rule that send", float64(e.load.Rows), message)
}

// Database is one of RDS.
func (e *Estimate) Database(part string) {
	e.add("RDS", part, "hours of an instance", 24, instanceHour)
	e.add("RDS", part, "GB of its disk", diskSize, diskGB/month)
}
