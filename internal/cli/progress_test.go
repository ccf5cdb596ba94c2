package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/routers"
)

// readingShop is a pipeline that has read some of its tables, after some seconds.
func readingShop(rows int64) routers.Status {
	lane := func(stream, id string, state routers.State, endless bool, rows int64) routers.LaneStatus {
		return routers.LaneStatus{ID: stream + id, Streams: []string{stream}, State: state, Endless: endless, Progress: routers.Progress{RowsRead: rows, BytesRead: rows * 100}}
	}
	return routers.Status{
		Pipeline: "shop", State: routers.Running, Progress: routers.Progress{RowsRead: rows + 7, BytesRead: (rows + 7) * 100, DeadLetters: 2},
		Lanes: []routers.LaneStatus{
			lane("a_waiting", "@1/0", routers.Waiting, false, 0), lane("a_waiting", "@1/follow", routers.Waiting, true, 0),
			lane("b_done", "@1/0", routers.Ended, false, 5), lane("b_done", "@1/complete", routers.Ended, false, 1),
			lane("c_following", "@1/0", routers.Ended, false, 0), lane("c_following", "@1/follow", routers.Running, true, 1),
			lane("d_reading", "@1/0", routers.Ended, false, rows/2), lane("d_reading", "@1/1", routers.Running, false, rows-rows/2), lane("d_reading", "@1/follow", routers.Running, true, 0),
			{ID: "log@1", Streams: []string{"a_waiting", "b_done"}, State: routers.Running, Endless: true},
		},
	}
}

func TestProgressIsDrawn(t *testing.T) {
	t.Parallel()
	began := time.Now()
	p := &progress{began: began, before: map[string]mark{}, expected: func() app.Expected {
		return app.Expected{"shop": {"a_waiting": 1000, "b_done": 5, "c_following": 1, "d_reading": 41_000}}
	}}
	p.lines(readingShop(1000), began.Add(time.Second))
	got := p.lines(readingShop(2000), began.Add(2*time.Second))
	want := []string{
		"shop 2,007 rows, 1,004/s, 0.1 MB/s, ETA 40s, 2 dead letters",
		"  d_reading                reading           2,000 rows   4 %      1,000/s  ETA 39s",
		"  c_following              following             1 rows",
		"  a_waiting                waiting               0 rows   0 %",
		"  b_done                   done                  6 rows",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var log bytes.Buffer
	p = &progress{began: began, before: map[string]mark{}, expected: p.expected, log: slog.New(slog.NewJSONHandler(&log, nil))}
	p.record(t.Context(), readingShop(1000), began.Add(time.Second))
	log.Reset()
	p.record(t.Context(), readingShop(2000), began.Add(2*time.Second))
	var line struct {
		Table string
		Rows  int64
		ETA   time.Duration
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Table != "d_reading" || line.Rows != 2000 || line.ETA != 39*time.Second {
		t.Errorf("want the table that has moved alone: %v\n%s", err, &log)
	}
}

// TestWhatIsWrittenStandsAboveTheProgress replays what a terminal is sent.
func TestWhatIsWrittenStandsAboveTheProgress(t *testing.T) {
	t.Parallel()
	var sent bytes.Buffer
	s := &screen{out: &sent}
	_, _ = s.Write([]byte("first\n"))
	s.draw([]string{"one", "two"})
	_, _ = s.Write([]byte("second\n"))
	s.draw([]string{"1", "2", "3"})
	s.draw(nil)
	_, _ = s.Write([]byte("third\n"))
	var shown []string
	text := sent.String()
	for len(text) > 0 {
		up, after, moves := strings.Cut(text, "\r\x1b[J")
		if i := strings.Index(up, "\x1b["); moves && i >= 0 && !strings.Contains(up[:i], "\x1b") {
			shown = append(shown, strings.SplitAfter(up[:i], "\n")...)
			shown = shown[:len(shown)-1-int(up[i+2]-'0')]
			text = after
			continue
		}
		shown = append(shown, strings.SplitAfter(text, "\n")...)
		break
	}
	if got := strings.Join(shown, ""); got != "first\nsecond\nthird\n" {
		t.Errorf("%q of %q", got, &sent)
	}
}
