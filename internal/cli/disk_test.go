package cli

import (
	"errors"
	"fmt"
	"os"
)

// exitUnmounted says that a child may not mount file systems here.
const exitUnmounted = 77

// disk is a small file system that only the child and its children see.
type disk struct {
	Path string // where it is mounted
	Size string // as mount's size option
	Keep string // where its files are copied before the child exits and it goes away
}

// keepAll copies what is on the disks to where the parent can see it, and gives an exit code.
func keepAll(disks []disk) int {
	var err error
	for _, d := range disks {
		if d.Keep != "" {
			err = errors.Join(err, os.CopyFS(d.Keep, os.DirFS(d.Path)))
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}
