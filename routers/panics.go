package routers

import (
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
)

// panicked is the error of a plugin that panicked.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("a plugin panicked: %v", p.value) }

// maxPanics is how many panics in a row without a commit restart a lane before it fails.
const maxPanics = 3

// guard makes a panic of a plugin an error: it ends the lane's incarnation, never the process.
func guard(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &fault.Error{
				Class: fault.Retryable, Code: "ACQ-RUN-003", Err: &panicked{v, string(debug.Stack())},
				Remedy: "report it with the stack in the log; what was not durable is read again",
			}
		}
	}()
	return do()
}

// keepError is the one middleware: it makes a panic an error, as Watermill's Recoverer does, and leaves the handler's
// error with the delivery, for the lane.
func keepError(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) (out []*message.Message, err error) {
		err = guard(func() (err error) {
			out, err = next(m)
			return err
		})
		if d, ok := deliveryOf(m); ok {
			d.err = err
		}
		return out, err
	}
}
