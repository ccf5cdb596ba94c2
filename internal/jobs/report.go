package jobs

import "time"

// Report is how far a job over tables is, or what became of it.
type Report struct {
	Databases []Database `json:"databases" nullable:"false" doc:"what was read, in the order of the configuration"`
	Tables    []Table    `json:"tables" nullable:"false" doc:"by database and name"`
	Notes     []string   `json:"notes,omitempty" nullable:"false" doc:"what else there is to know"`
	File      string     `json:"report_file,omitempty" doc:"of a migration: where its report was written"`
}

// Database is a source as a job found it.
type Database struct {
	Pipeline    string   `json:"pipeline,omitempty" doc:"the one that read it; none: it was backed up"`
	Source      string   `json:"source" doc:"its name in the configuration"`
	SourceDB    string   `json:"source_db" doc:"mysql, postgresql, mongodb, or the type of the source"`
	State       string   `json:"state" enum:"waiting,running,succeeded,partial,failed,canceled"`
	Attempts    int      `json:"attempts" doc:"how often it was connected to"`
	Rows        int64    `json:"rows" doc:"durable and visible in every sink, or in the backup, by this job"`
	DeadLetters int64    `json:"dead_letters"`
	Seconds     float64  `json:"seconds"`
	Backup      string   `json:"backup,omitempty" doc:"the ID of its backup"`
	Trouble     *Trouble `json:"error,omitempty" doc:"why it was not read, or not all of it"`
}

// Table is a table as a job has read it.
type Table struct {
	Pipeline    string   `json:"pipeline,omitempty"`
	Source      string   `json:"source"`
	SourceDB    string   `json:"source_db"`
	Table       string   `json:"table"`
	State       string   `json:"state" enum:"waiting,running,succeeded,partial,failed,canceled"`
	Rows        int64    `json:"rows" doc:"durable and visible in every sink, or in the backup, by this job"`
	Bytes       int64    `json:"bytes" doc:"of the records as they were read, in memory; of a backup: of its files"`
	DeadLetters int64    `json:"dead_letters"`
	Seconds     float64  `json:"seconds"`
	Retries     int64    `json:"retries" doc:"after failures that may pass"`
	Hash        string   `json:"content_hash,omitempty" doc:"of the rows that the sinks should hold, or that the backup does: count, xor and sum of their hashes"`
	Verify      string   `json:"verify,omitempty" enum:"equal,different,not compared" doc:"whether the sinks hold what the database does; rows that it has changed since they were read differ"`
	Trouble     *Trouble `json:"error,omitempty"`
}

// What verify says of a table.
const (
	VerifyEqual     = "equal"
	VerifyDifferent = "different"
	VerifyNone      = "not compared"
)

// The states of databases and tables that jobs have beside those of jobs.
const (
	Waiting   = "waiting"
	Running   = "running"
	Succeeded = "succeeded"
	Partial   = "partial"
	Failed    = "failed"
	Canceled  = "canceled"
)

// Since gives the seconds since a moment, to the millisecond.
func Since(t time.Time) float64 { return time.Since(t).Round(time.Millisecond).Seconds() }

// Check is whether a server can be used.
type Check struct {
	Status  string   `json:"status" enum:"ok,error"`
	Latency float64  `json:"latency_ms"`
	Trouble *Trouble `json:"error,omitempty"`
}

// What a check says.
const (
	OK       = "ok"
	Unusable = "error"
)
