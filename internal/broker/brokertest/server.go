// Package brokertest runs a NATS server with JetStream inside the process, for tests.
package brokertest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// start is how long a server may take to listen.
const start = 20 * time.Second

// Server is a NATS server on a free port of this machine.
type Server struct {
	URL    string
	dir    string
	server *server.Server
}

// Start starts a server with files of its own. It takes messages of 8 MiB.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "nats")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true, MaxPayload: 8 << 20,
		DisableShortFirstPing: true, MaxPending: 256 << 20,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(start) {
		s.Shutdown()
		return nil, errors.New("the NATS server does not listen")
	}
	return &Server{URL: s.ClientURL(), dir: dir, server: s}, nil
}

// Close stops the server and removes its files.
func (s *Server) Close() error {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return os.RemoveAll(s.dir)
}

// Messages gives all messages of a stream, in order; none when it is not there.
func (s *Server) Messages(stream string) (all []*nats.RawStreamMsg, err error) {
	conn, err := nats.Connect(s.URL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		return nil, err
	}
	info, err := js.StreamInfo(stream)
	if errors.Is(err, nats.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		m, err := js.GetMsg(stream, seq)
		if err != nil {
			return nil, fmt.Errorf("message %d of %s: %w", seq, stream, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// Publish sends messages to a topic, with ids where they are not empty; the stream is made if need be.
func (s *Server) Publish(topic string, all ...*nats.Msg) error {
	conn, err := nats.Connect(s.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		return err
	}
	if _, err := js.StreamInfo(topic); err != nil {
		if _, err := js.AddStream(&nats.StreamConfig{Name: topic, Subjects: []string{topic}}); err != nil {
			return err
		}
	}
	for _, m := range all {
		m.Subject = topic
		if _, err := js.PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}
