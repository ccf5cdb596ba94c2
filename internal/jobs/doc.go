// Package jobs does what is done once and ends, on the same engine as the pipelines: it sends dead letters again.
package jobs
