package broker_test

import (
	"net"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker"
)

func TestReachLeavesNothing(t *testing.T) {
	t.Parallel()
	server := start(t)
	s := broker.Settings{URL: server.URL, Topic: "reached", Create: true, MaxBytes: 1 << 20}
	for range 2 { // the second would find what the first had made
		if found, err := broker.Reach(t.Context(), s); err != nil || !strings.Contains(found, "will be made") {
			t.Fatalf("%q, %v", found, err)
		}
	}
	s.Create = false
	if _, err := broker.Reach(t.Context(), s); fault.Code(err) != "ACQ-BUS-010" {
		t.Errorf("a topic that is missing and may not be made: %v", err)
	}
	s.Create = true
	send(t, s, 1)
	if found, err := broker.Reach(t.Context(), s); err != nil || !strings.Contains(found, "with the stream reached") {
		t.Errorf("%q, %v", found, err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := listener.Addr().String()
	for _, c := range []struct {
		url  string
		well bool
	}{{"kafka://127.0.0.1:1," + up, true}, {"amqp://me:hush@" + up + "/", true}, {"kafka://127.0.0.1:1", false}, {"amqp://me:hush@127.0.0.1:1/", false}, {"nats://me:hush@127.0.0.1:1", false}} {
		_, err := broker.Reach(t.Context(), broker.Settings{URL: c.url, Topic: "x"})
		if c.well != (err == nil) || err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", c.url, err)
		}
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
}
