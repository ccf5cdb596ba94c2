// Package jobs does what is done once and ends, on the same engine as the pipelines: it sends dead letters again,
// and tries a pipeline on the records of a test.
package jobs
