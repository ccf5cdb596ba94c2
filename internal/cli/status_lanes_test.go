package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/sources"
)

// Lanes that have not ended, what the source keeps, and what may be missed of each stream, in columns.
func TestStatusShowsLanesAndStreams(t *testing.T) {
	t.Parallel()
	lag, age := int64(120), 90*time.Second
	report := web.Report{Pipelines: []web.Pipeline{
		{Name: "plain", State: web.Running, Lanes: []web.Lane{{ID: "one", State: web.Running}}},
		{
			Name: "shop", State: web.Failed, LagRows: &lag,
			Lanes: []web.Lane{
				{ID: "copy-1", State: web.Ended},
				{ID: "copy-2", State: web.Ended},
				{ID: "log", State: web.Running, LagRows: &lag, Rows: 5000, RowsPerSecond: 12.4},
				{ID: "poll", State: web.Failed, Lag: &age, Reason: "permission denied"},
			},
			Source: &sources.Report{
				Held: 1288490188, Loss: 5*time.Hour + 20*time.Minute, Warnings: []string{"max_slot_wal_keep_size is -1: the server's disk may fill"},
				Streams: []sources.StreamReport{
					{Stream: "public.orders", Strategy: "log"},
					{Stream: "public.lines", Strategy: "queue", Held: 2048, Loss: time.Hour, Risks: []string{"first", "second"}, Unfit: map[string]int64{"at__raw": 1200}, Anew: "the slot was lost"},
					{Stream: "public.bad", Stopped: "its key has changed"},
				},
			},
		},
	}}
	var out bytes.Buffer
	if err := (statusCmd{}).show(&out, report); err != nil {
		t.Fatal(err)
	}
	const want = `PIPELINE   STATE     LAG        ROWS   ROWS/S   DEAD LETTERS   LAST FILE
plain      running   -          0      0        0              
shop       failed    120 rows   0      0        0              

Lanes of shop (2 more have ended)
  LANE   STATE     LAG        ROWS   ROWS/S   REASON
  log    running   120 rows   5000   12       
  poll   failed    1m30s      0      0        permission denied

Streams of shop: its server keeps 1.2 GiB until they were read, the first is lost in 5.3 h
  warning: max_slot_wal_keep_size is -1: the server's disk may fill
  STREAM          STRATEGY   HELD      LOST IN   RISKS
  public.orders   log        -         -         -
  public.lines    queue      2.0 KiB   1.0 h     first
                                                 second
                                                 values that are text in at__raw, for their column cannot hold them: 1,200
                                                 was read anew: the slot was lost
  public.bad      -          -         -         STOPPED: its key has changed
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
