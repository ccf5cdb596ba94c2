package lake

import (
	"context"
	"log/slog"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// Asked says how Athena asks the lake; what the settings do not say is as usual.
func (c Config) Asked() athena.Place {
	p := athena.Place{Lake: strings.TrimRight(c.URL, "/"), AWS: c.AWS, SSE: c.SSE, Owner: c.Owner}
	if c.Athena != nil {
		p.Settings = *c.Athena
	}
	return p
}

// tell makes a table known to Glue, if somebody there has to know it.
func (l *Lake) tell(ctx context.Context, t *schemas.LakeTable) error {
	if l.glue == nil {
		return nil
	}
	err := l.glue.Ensure(ctx, t)
	if fault.Code(err) == athena.CodeRefused {
		err = &fault.Error{Class: fault.Fatal, Place: t.Stream, Err: err} // other streams go on
	}
	return err
}

// unseen warns, once a table, of a folder that is about to get a file and that Athena does not look into: its rows would be missing from every
// answer without a word.
func (l *Lake) unseen(ctx context.Context, t *table, folder string) {
	if l.glue == nil || t.warned.Load() {
		return
	}
	first := l.glue.Place().FirstDay
	for i, level := range strings.Split(folder, "/") {
		_, value, _ := strings.Cut(level, "=")
		p := t.description.Partition[i]
		dated := p.From == schemas.EventTimeColumn || p.Kind == record.Date
		if value != nullFolder && (!dated || value >= first) || t.warned.Swap(true) {
			continue
		}
		l.log.WarnContext(ctx, "Athena does not look into a folder that rows go to", slog.String("table", t.description.Name), slog.String("folder", folder),
			slog.String("first_day", first), slog.String("remedy", "set first_day under athena: of the sink, and run acequia tables apply; rows without a value are never seen"))
		return
	}
}
