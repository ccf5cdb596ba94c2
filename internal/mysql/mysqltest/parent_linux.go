package mysqltest

import "syscall"

// endWithParent lets the server end at once when the thread that started it is gone.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
