package postgrestest

import "syscall"

// endWithParent lets the server shut down at once when the thread that started it is gone.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
