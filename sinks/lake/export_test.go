package lake

import (
	"time"

	"github.com/acequia-io/acequia/sinks"
)

// SweepIsDue makes the next publication of a writer sweep again.
func SweepIsDue(of sinks.Writer) {
	if w, ok := of.(*writer); ok {
		w.again = time.Now().Add(-time.Second)
	}
}
