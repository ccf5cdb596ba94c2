package bench

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/sinks/lake"
)

// s3Env tells a child where the server is.
const s3Env = "ACEQUIA_BENCH_S3"

// open64 has 32 partitions: one group of as many files fills while another commits. Its memory is shared out as acequia run does.
func open64() engineRun {
	return engineRun{partition: []string{"day"}, days: 32, groupRows: 2_000_000, budget: memory * 60 / 100, name: "engine-64"}
}

// onS3 runs against the server of the parent.
func onS3(r engineRun) engineRun {
	r.name += "-s3"
	r.lake = lake.Config{URL: "s3://bucket/lake"}
	r.lake.AWS.Region, r.lake.AWS.Endpoint = "eu-west-1", os.Getenv(s3Env)
	return r
}

// BenchmarkAWSLake is 10 million rows, or ACEQUIA_BENCH_ROWS, from memory through the steps into a lake in a directory and into one
// on a server that speaks S3's protocol in another process, whose CPU is not counted.
func BenchmarkAWSLake(b *testing.B) {
	rows := 10_000_000
	if n, err := strconv.Atoi(os.Getenv("ACEQUIA_BENCH_ROWS")); err == nil {
		rows = n
	}
	samples := map[string][]sample{}
	order := []string{"engine", "engine-s3", "engine-64", "engine-s3-64"}
	for range rounds() {
		for _, name := range order {
			server := blobtest.New(b)
			server.Hollow()
			b.Setenv(s3Env, server.URL)
			got, err := measure(b.Context(), name, rows)
			if err != nil {
				b.Fatal(err)
			}
			samples[name] = append(samples[name], got)
		}
	}
	table(b, fmt.Sprintf("Lake on S3: %s rows of 12 columns and 6 system columns", thousands(float64(rows))), order, samples,
		perCPUSecond(), perSecond(), peakMemory(), named("files", "files", thousands), named("groups", "groups", thousands),
		named("MB", "bytes", func(v float64) string { return thousands(v / 1e6) }))
	ratio(b, "S3 to a directory", samples["engine-s3"], samples["engine"], perCPUSecond())
	ratio(b, "S3 to a directory, 64 files open", samples["engine-s3-64"], samples["engine-64"], perCPUSecond())
	most := int64(0)
	for _, s := range samples["engine-s3-64"] {
		most = max(most, s.Peak)
	}
	if most > memory {
		b.Errorf("%d MiB are resident, the target is %d", most>>20, memory>>20)
	}
}
