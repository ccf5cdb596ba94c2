package tabular

import "strings"

// CutLane takes the name of a lane apart that is called STREAM@EPOCH/PART.
func CutLane(id string) (stream, epoch, part string, ok bool) {
	at, slash := strings.LastIndexByte(id, '@'), strings.LastIndexByte(id, '/')
	if at < 0 || slash < at {
		return "", "", "", false
	}
	return id[:at], id[at+1 : slash], id[slash+1:], true
}
