package servertest

import "syscall"

// endWithParent lets the server end when the thread that started it is gone.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
