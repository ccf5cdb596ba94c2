package cost

// When and where the prices are of. They are list prices as AWS publishes them, without free tiers, taxes and discounts; other regions differ by up to
// a half. Who changes one looks at all of them, and sets the date.
const (
	Date   = "2026-06"
	Region = "us-east-1"
)

// The prices, in US dollars. See the page of each service: https://aws.amazon.com/s3/pricing/ and so on.
const (
	storedGB     = 0.023       // S3 Standard, GB and month
	written      = 5.0 / 1e6   // S3: PUT, and each step of a multipart upload
	writeUnit    = 0.625 / 1e6 // DynamoDB on demand, a write of 1 KB
	readUnit     = 0.125 / 1e6 // DynamoDB on demand, a read of 4 KB as it is now
	itemGB       = 0.25        // DynamoDB, GB and month
	recoveryGB   = 0.20        // DynamoDB, recovery to any moment, GB and month
	streamRead   = 0.20 / 1e6  // DynamoDB Streams, a GetRecords of an application
	message      = 0.40 / 1e6  // SQS, a request of a standard queue
	ordered      = 0.50 / 1e6  // SQS, a request of a FIFO queue
	event        = 1.00 / 1e6  // EventBridge, an event of one's own
	piped        = 0.40 / 1e6  // EventBridge Pipes, a request
	scannedTiB   = 5.00        // Athena, TiB that queries read
	instanceHour = 0.065       // RDS PostgreSQL, db.t4g.medium in one zone
	diskGB       = 0.115       // RDS, gp3, GB and month
)

// What Athena counts of a query: https://aws.amazon.com/athena/pricing/. Statements that make tables, and queries that fail, cost nothing; one
// that is stopped costs what it had read.
const (
	leastScanned = 10 << 20 // bytes, of each query that reads
	scannedBlock = 1 << 20  // bytes; what is read is rounded up to it
)
