//go:build !linux

package mysqltest

import "syscall"

// endWithParent does nothing: only Linux tells a process that its parent is gone.
func endWithParent(*syscall.SysProcAttr) {}
