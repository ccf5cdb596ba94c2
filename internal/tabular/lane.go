package tabular

import (
	"strconv"
	"strings"
)

// CutLane takes the name of a lane apart that is called STREAM@EPOCH/PART.
func CutLane(id string) (stream, epoch, part string, ok bool) {
	at, slash := strings.LastIndexByte(id, '@'), strings.LastIndexByte(id, '/')
	if at < 0 || slash < at {
		return "", "", "", false
	}
	return id[:at], id[at+1 : slash], id[slash+1:], true
}

// IsPart says whether a lane is one of the numbered parts that an incarnation of its stream has.
func IsPart(id string, epoch uint16, parts int) bool {
	_, of, part, ok := CutLane(id)
	number, err := strconv.Atoi(part)
	return ok && of == strconv.Itoa(int(epoch)) && err == nil && number >= 0 && number < parts
}
