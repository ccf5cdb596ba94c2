//go:build !linux

package mongodbtest

import "syscall"

// endWithParent does nothing: only Linux tells a process that its parent is gone.
func endWithParent(*syscall.SysProcAttr) {}
