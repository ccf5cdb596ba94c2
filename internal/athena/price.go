package athena

import "fmt"

// What Athena asks for a query: https://aws.amazon.com/athena/pricing/. The price is that of us-east-1 and eu-west-1, as it was known on
// 2026-05-31; some regions ask for more. Statements that make tables, and queries that fail, cost nothing; one that is stopped costs what it
// had read.
const (
	priceDate    = "2026-05-31"
	centsPerTiB  = 500
	leastBilled  = 10 << 20 // of each query that reads
	billingBlock = 1 << 20  // what is read is rounded up to it
)

// microsOf gives the price of a query that read so many bytes, in millionths of a dollar, rounded up.
func microsOf(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	blocks := max((bytes+billingBlock-1)/billingBlock, leastBilled/billingBlock)
	const perBlock = (1 << 40) / billingBlock
	return (blocks*centsPerTiB*10_000 + perBlock - 1) / perBlock
}

// CostText tells what a query that read so many bytes costs.
func CostText(bytes int64) string {
	micros := microsOf(bytes)
	return fmt.Sprintf("%d.%06d USD at %d.%02d USD a TiB (%s)", micros/1_000_000, micros%1_000_000, centsPerTiB/100, centsPerTiB%100, priceDate)
}
