package cost

import "fmt"

const tebibyte = 1 << 40

// billed is how many bytes Athena counts of a query that read so many.
func billed(bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	return max((bytes+scannedBlock-1)/scannedBlock*scannedBlock, leastScanned)
}

// QueryText tells what a query of Athena that read so many bytes costs.
func QueryText(bytes int64) string {
	return fmt.Sprintf("%.6f USD at %.2f USD a TiB (%s)", float64(billed(bytes))/tebibyte*scannedTiB, scannedTiB, Date)
}
