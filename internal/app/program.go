package app

import (
	"bytes"
	"fmt"
	"os"
)

// leastProgram is what the program itself takes of the memory at least: 50 MiB were measured where the kernel maps small pages.
const leastProgram = 50 << 20

// programMemory is what pages of the program are mapped, in bytes: a kernel that keeps files in large pages maps nearly all of it (90 MiB).
// See RssFile in https://www.kernel.org/doc/html/latest/filesystems/proc.html; other systems do not tell.
func programMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return leastProgram
	}
	_, rest, _ := bytes.Cut(status, []byte("\nRssFile:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return leastProgram
	}
	return max(kib<<10, leastProgram)
}
