package sourcetest

import (
	"context"
	"fmt"
	"time"
)

// Check runs one case by its name.
func Check(ctx context.Context, name string, h Harness) error {
	for _, c := range cases() {
		if c.name == name {
			return c.run(ctx, h, 1, 5*time.Second)
		}
	}
	return fmt.Errorf("no case %q", name)
}
