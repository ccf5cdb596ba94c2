//go:build !linux

package cli

import (
	"errors"
	"syscall"
)

func mountAll(disks []disk) error {
	if len(disks) == 0 {
		return nil
	}
	return errors.ErrUnsupported
}

func ownMounts() *syscall.SysProcAttr { return nil }
