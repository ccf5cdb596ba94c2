package cli

import (
	"fmt"
	"os"
	"syscall"
)

// mountAll mounts the disks. The child is in a mount namespace of its own then.
func mountAll(disks []disk) error {
	if len(disks) == 0 {
		return nil
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, d := range disks {
		if err := os.MkdirAll(d.Path, 0o750); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", d.Path, "tmpfs", 0, "size="+d.Size); err != nil {
			return fmt.Errorf("mount %s: %w", d.Path, err)
		}
	}
	return nil
}

// ownMounts gives a child a mount namespace, where it may mount: as root, or as root of a user namespace.
func ownMounts() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}
