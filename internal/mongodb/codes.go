package mongodb

// The codes of what is wrong with a server, a collection or a document.
const (
	codeURI        = "ACQ-MG-001"
	codeConnection = "ACQ-MG-002"
	codeLogin      = "ACQ-MG-003"
	codeRights     = "ACQ-MG-004"
	codeTLS        = "ACQ-MG-005"
	codeServer     = "ACQ-MG-006"
	codeTimeout    = "ACQ-MG-007"
	codeMoment     = "ACQ-MG-008"
	codeColumn     = "ACQ-MG-020"
	codeUnfit      = "ACQ-MG-021"
	codeType       = "ACQ-MG-022"
	codePattern    = "ACQ-MG-039"
)
