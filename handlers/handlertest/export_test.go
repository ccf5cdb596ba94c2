package handlertest

import (
	"context"
	"fmt"
)

// Check runs one case by its name.
func Check(ctx context.Context, name string, h Harness) error {
	for _, c := range cases() {
		if c.name == name {
			return c.check(ctx, h, newMaker(h, 1))
		}
	}
	return fmt.Errorf("no case %q", name)
}
