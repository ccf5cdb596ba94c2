package lakefiles

import (
	"fmt"
	"hash/fnv"
	"path"
	"regexp"
	"strconv"
)

// Origin says which commit group of which lane a file is of.
type Origin struct {
	Pipeline string
	Lane     string // its short form
	Epoch    int64
	Group    int64
}

// ShortLane is the 8 hexadecimal digits that stand for a lane in names.
func ShortLane(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return fmt.Sprintf("%08x", h.Sum32())
}

// FileName is the name of a group's file; schema is the short form of its schema.
func (o Origin) FileName(part int, schema string) string {
	return fmt.Sprintf("%s-%s-e%d-g%d-%d-%s%s", o.Pipeline, o.Lane, o.Epoch, o.Group, part, schema, suffix)
}

// OutputName is the name of an output of a swap.
func OutputName(id string, part int, schema string) string {
	return fmt.Sprintf("swap-%s-%d-%s%s", id, part, schema, suffix)
}

var (
	ofPipeline = regexp.MustCompile(`^(.+)-([0-9a-f]{8})-e(\d+)-g(\d+)-\d+-[0-9a-f]{8}\.parquet$`)
	ofSwap     = regexp.MustCompile(`^swap-\d{8}T\d{6}-[0-9a-f]{12}-\d+-[0-9a-f]{8}\.parquet$`)
)

// OriginOf reads the name of a file that a pipeline published; false: it is none.
func OriginOf(name string) (o Origin, ok bool) {
	parts := ofPipeline.FindStringSubmatch(path.Base(name))
	if parts == nil {
		return o, false
	}
	epoch, epochErr := strconv.ParseInt(parts[3], 10, 64)
	group, groupErr := strconv.ParseInt(parts[4], 10, 64)
	return Origin{parts[1], parts[2], epoch, group}, epochErr == nil && groupErr == nil
}

// IsOutput says whether a file is the output of a swap.
func IsOutput(name string) bool { return ofSwap.MatchString(path.Base(name)) }
