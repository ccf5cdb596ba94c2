package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Standby makes a standby of the server, which follows it, and starts it. It is to be closed before the server.
func (s *Server) Standby() (*Server, error) {
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	standby := &Server{Bin: s.Bin, Data: filepath.Join(dir, "data"), dir: dir, owner: s.owner, ended: make(chan error, 1)}
	if s.owner != nil {
		err = os.Chown(dir, int(s.owner.Uid), int(s.owner.Gid))
	}
	if err == nil {
		err = standby.copyOf(s)
	}
	if err == nil {
		err = standby.Run()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return standby, nil
}

func (s *Server) copyOf(primary *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.program(ctx, "pg_basebackup", "-D", s.Data, "-h", "127.0.0.1", "-p", strconv.Itoa(primary.Port), "-U", "postgres", "-R", "-X", "stream",
		"-c", "fast", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return nil
}
