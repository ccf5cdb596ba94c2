package backup

import (
	"fmt"
	"hash/fnv"
	"path"
	"regexp"
	"strings"
)

// manifests is the folder of an engine in which its manifests are; no table's folder has such a name.
const manifests = "_backups"

func manifestName(engine, id string) string { return engine + "/" + manifests + "/" + id + ".json" }

func lockName(engine, id string) string { return engine + "/" + manifests + "/" + id + ".lock" }

// makingName is the lock of an engine that who makes a backup shares, and who removes the files of no backup has alone.
func makingName(engine string) string { return engine + "/" + manifests + "/making.lock" }

// idRule is that of lakefiles.NewID.
const idRule = `\d{8}T\d{6}-[0-9a-f]{12}`

var (
	wholeID  = regexp.MustCompile(`^` + idRule + `$`)
	fileRule = regexp.MustCompile(`^(` + idRule + `)-\d+\.(parquet|ndjson\.zst)(\.age)?$`)
	lockRule = regexp.MustCompile(`^(` + idRule + `)\.lock(\.shared)?$`) // in S3 those who share a lock are below it
)

// longestName is what a folder may have: file systems take 255 bytes.
const longestName = 200

// folderOf is the folder of a table: what is no plain letter is written as in a URL, and a long name ends with its hash.
func folderOf(engine, table string) string {
	var out strings.Builder
	for i := range len(table) {
		switch c := table[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', i > 0 && (c == '_' || c == '.'):
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	name := out.String()
	if len(name) > longestName {
		h := fnv.New64a()
		_, _ = h.Write([]byte(table))
		name = fmt.Sprintf("%s-%016x", name[:longestName-17], h.Sum64())
	}
	return path.Join(engine, name)
}

// suffix ends the names of files.
func suffix(format string, encrypted bool) string {
	out := map[string]string{Parquet: ".parquet", NDJSON: ".ndjson.zst"}[format]
	if encrypted {
		out += ".age"
	}
	return out
}
