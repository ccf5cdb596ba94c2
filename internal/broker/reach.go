package broker

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/acequia-io/acequia/fault"
)

// ports are where brokers listen when their URL does not say.
var ports = map[string]string{"nats": "4222", "kafka": "9092", "amqp": "5672", "amqps": "5671"} //nolint:gochecknoglobals // a constant table

// Reach looks whether a broker is there, and leaves nothing behind. Of NATS it asks for the stream, with the rights of the
// user; of others only the port.
func Reach(ctx context.Context, s Settings) (found string, err error) {
	at, _, err := parse(s.URL)
	if err != nil {
		return "", fault.Stop(err)
	}
	switch {
	case cloud(at):
		return "is not looked at before it runs", nil
	case at.Scheme == "nats":
		found, err = reachNATS(ctx, s, at)
	default:
		found, err = "somebody listens; the rights are seen when it runs", dial(ctx, at)
	}
	if err != nil {
		return "", unreachable(s, at, err)
	}
	return found, nil
}

func reachNATS(ctx context.Context, s Settings, at *url.URL) (string, error) {
	conn, err := nats.Connect(at.String(), nats.Name("acequia"), nats.NoReconnect())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		return "", err
	}
	stream, err := js.StreamNameBySubject(s.Topic, nats.Context(ctx))
	switch {
	case errors.Is(err, nats.ErrNoMatchingStream) && s.Create:
		return "answers; the stream will be made", nil
	case err != nil:
		return "", err
	}
	return "answers, with the stream " + stream, nil
}

// dial tries the hosts of a URL, one after the other.
func dial(ctx context.Context, at *url.URL) error {
	var errs []error
	for host := range strings.SplitSeq(at.Host, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(host, ports[at.Scheme])
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err == nil {
			return conn.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
