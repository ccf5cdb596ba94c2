package sources

import "context"

// Backfiller is a source that reads its streams as they stand before it follows them, and can do so again.
type Backfiller interface {
	// Rewind has streams read anew by the next run that lists the lanes: at a new epoch, at whose end what is gone from them goes
	// from the sinks too. The patterns choose among the tables of the source; none: all. It is durable when it returns, and gives the
	// streams; those that no run has begun to read are left out.
	Rewind(ctx context.Context, tables []string) (streams []string, err error)
	// Backfill is called before the run, which then reads the chosen tables as they stand, ends, and follows nothing.
	Backfill(tables []string, parallel int) // 0: as the settings have it
}
