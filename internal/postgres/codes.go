package postgres

// codes is how all of them begin.
const codes = "ACQ-PG"

// The codes of errors that users read.
const (
	codeServer      = "ACQ-PG-001" // an error of the server that nothing else names
	codeConnection  = "ACQ-PG-002" // the connection was lost, refused or not made in time
	codeLogin       = "ACQ-PG-003" // the server does not let the role in
	codeDatabase    = "ACQ-PG-004" // no such database
	codeRights      = "ACQ-PG-005" // a GRANT is missing
	codeTimeout     = "ACQ-PG-006" // a statement took too long
	codeLock        = "ACQ-PG-007" // a lock was not given in time
	codeConnections = "ACQ-PG-008" // too many connections
	codeTLS         = "ACQ-PG-009" // no TLS as the dsn wants it
	codeGone        = "ACQ-PG-010" // the table or column is not there
	codeDSN         = "ACQ-PG-011" // the dsn cannot be read
	codeNoColumns   = "ACQ-PG-020" // a table without columns
	codeUnfit       = "ACQ-PG-021" // a value that its column cannot hold
	codeChanged     = "ACQ-PG-022" // the table is not as it was when the statement was made
	codeType        = "ACQ-PG-023" // the type of a column changed so that its stream cannot go on
	codeKey         = "ACQ-PG-024" // the key of a table changed
	codeHuge        = "ACQ-PG-025" // a row larger than a message may be
)
