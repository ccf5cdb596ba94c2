package mysql

// codes is how all of them begin.
const codes = "ACQ-MY"

// The codes of errors that users read.
const (
	codeServer      = "ACQ-MY-001" // an error of the server that nothing else names
	codeConnection  = "ACQ-MY-002" // the connection was lost, refused or not made in time
	codeLogin       = "ACQ-MY-003" // the server does not let the user in
	codeDatabase    = "ACQ-MY-004" // no such database
	codeRights      = "ACQ-MY-005" // a GRANT is missing
	codeTimeout     = "ACQ-MY-006" // a statement took too long
	codeLock        = "ACQ-MY-007" // a lock was not given in time
	codeConnections = "ACQ-MY-008" // too many connections
	codeTLS         = "ACQ-MY-009" // no TLS as the dsn wants it
	codeGone        = "ACQ-MY-010" // the table or column is not there
	codeDSN         = "ACQ-MY-011" // the dsn cannot be read
	codeNoColumns   = "ACQ-MY-020" // a table without columns
	codeUnfit       = "ACQ-MY-021" // a value that its column cannot hold
	codeChanged     = "ACQ-MY-022" // the table is not as it was when the statement was made
	codeType        = "ACQ-MY-023" // a column is of another type than its rows
	codeHuge        = "ACQ-MY-025" // a row larger than a message may be
)
