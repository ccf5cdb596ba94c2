//go:build linux

package lake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// moto is an emulator that others wrote.
var moto *awstest.Server

// onS3 is a lake in the bucket of a fake.
func onS3(s *blobtest.Server) lake.Config {
	return lake.Config{URL: "s3://bucket/a/lake", AWS: s.Settings().AWS}
}

// inMoto is one in a bucket of its own.
func inMoto(t *testing.T) lake.Config {
	t.Helper()
	name := blobtest.Bucket(t, moto.Settings)
	return lake.Config{URL: "s3://" + name + "/lake", AWS: moto.Settings, SSE: "kms"}
}

func bucketOf(ctx context.Context, c lake.Config) (blob.Bucket, error) {
	return blob.At(ctx, c.URL, c.S3())
}

func TestConformanceOnS3(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(t *testing.T) lake.Config{
		"fake": func(t *testing.T) lake.Config { t.Helper(); return onS3(blobtest.New(t)) },
		"moto": inMoto,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sinktest.Run(t, sinktest.Harness{Refused: "\xff", New: func(t *testing.T) sinktest.Place {
				t.Helper()
				c, ctx := config(t), t.Context()
				b, err := bucketOf(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				return sinktest.Place{
					Sink: func() (sinks.Sink, error) { return lake.New(ctx, c, 0, slog.New(slog.DiscardHandler)) },
					Rows: func() ([]sinktest.Row, error) { return rowsIn(ctx, b, "suite") },
					Staged: func() (int, error) {
						left, err := b.Leftovers(ctx, "")
						return len(left), err
					},
					Lose: func(f sinks.File) error { return b.Discard(ctx, blob.Publication{Final: f.Name, Upload: f.Upload}) },
					Take: func(f sinks.File) error {
						return b.Update(ctx, f.Name, func([]byte) ([]byte, error) { return []byte("other"), nil })
					},
				}
			}})
		})
	}
}

// rowsIn reads the files of a table.
func rowsIn(ctx context.Context, b blob.Bucket, table string) (found []sinktest.Row, err error) {
	files, err := b.Walk(ctx, table)
	for _, f := range files {
		text, err := b.Read(ctx, f.Name)
		if err != nil {
			return nil, err
		}
		rows, err := rowsOf(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	return found, err
}

// s3Job holds what a test binary that was started as a child has to do.
const s3Job = "ACEQUIA_LAKE_S3_CHILD"

// s3Lake is a lake that children write, each until it is killed or all is done.
type s3Lake struct {
	Config lake.Config
	State  string // a folder with the epoch, the intent and the checkpoint
	Rows   int    // of each group
}

const s3Groups = 3

func runS3Child(text string) error {
	var l s3Lake
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	ctx := context.Background()
	sink, err := lake.New(ctx, l.Config, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	epoch, err := l.number("epoch")
	if err != nil {
		return err
	}
	if err := l.save("epoch", strconv.Itoa(epoch+1)); err != nil {
		return err
	}
	w, err := sink.Open(ctx, sinks.Lane{Pipeline: "p", ID: "a", Epoch: int64(epoch) + 1})
	if err != nil {
		return err
	}
	done, err := l.recover(ctx, w)
	if err != nil {
		return err
	}
	for done < s3Groups {
		if err := l.commit(ctx, w, done+1); err != nil {
			return err
		}
		done++
	}
	return w.Close(ctx)
}

// recover does what the engine does: forward, then sweep.
func (l s3Lake) recover(ctx context.Context, w sinks.Writer) (done int, err error) {
	if done, err = l.number("checkpoint"); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(l.State, "intent"))
	if err == nil && len(text) > 0 {
		var m sinks.Manifest
		if err := json.Unmarshal(text, &m); err != nil {
			return 0, err
		}
		if err := w.Publish(ctx, m); err != nil {
			return 0, err
		}
		done++
		if err := errors.Join(l.save("checkpoint", strconv.Itoa(done)), l.save("intent", "")); err != nil {
			return 0, err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	r, ok := w.(sinks.Recoverer)
	if !ok {
		return 0, errors.New("no Recoverer")
	}
	p, ok := w.(sinks.Prover)
	if !ok {
		return 0, errors.New("no Prover")
	}
	return done, errors.Join(r.Sweep(ctx), p.Prove(ctx, int64(done)))
}

func (l s3Lake) commit(ctx context.Context, w sinks.Writer, group int) error {
	rng := rand.New(rand.NewPCG(1, uint64(group)))
	for lo := 0; lo < l.Rows; lo += 1000 {
		b, err := troubled(rng, (group-1)*l.Rows+lo, (group-1)*l.Rows+min(lo+1000, l.Rows))
		if err != nil {
			return err
		}
		if err := w.Write(ctx, b); err != nil {
			return err
		}
	}
	m, err := w.Cut(sinks.Group{Ordinal: int64(group), From: record.Position(strconv.Itoa(group - 1)), To: record.Position(strconv.Itoa(group))}).Stage(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := errors.Join(l.save("intent", string(text)), w.Publish(ctx, m)); err != nil {
		return err
	}
	return errors.Join(l.save("checkpoint", strconv.Itoa(group)), l.save("intent", ""))
}

func (l s3Lake) number(name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(l.State, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

func (l s3Lake) save(name, text string) error {
	next := filepath.Join(l.State, name+".new")
	return errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, filepath.Join(l.State, name)))
}

// A process that is killed at any request leaves neither half files nor, once the next has recovered, uploads.
func TestAKilledProcessLeavesNothingInS3(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		op   string
		skip int
		done bool // the request takes effect
	}{
		{blobtest.Create, 0, true},
		{blobtest.Create, 5, true},
		{blobtest.Part, 4, false},
		{blobtest.Part, 4, true},
		{blobtest.Uploads, 1, false},
		{blobtest.Complete, 0, false},
		{blobtest.Complete, 0, true},
		{blobtest.Complete, 4, true},
		{blobtest.Complete, 8, true},
	} {
		t.Run(fmt.Sprint(at.op, at.skip, at.done), func(t *testing.T) {
			t.Parallel()
			s := blobtest.New(t)
			l := s3Lake{Config: onS3(s), State: t.TempDir(), Rows: 600}
			child := func() (*exec.Cmd, *strings.Builder) {
				text, err := json.Marshal(l)
				if err != nil {
					t.Fatal(err)
				}
				c := exec.CommandContext(t.Context(), "/proc/self/exe")
				c.Env = append(os.Environ(), s3Job+"="+string(text), "GORACE=atexit_sleep_ms=0")
				out := &strings.Builder{}
				c.Stdout, c.Stderr = out, out
				return c, out
			}
			first, _ := child()
			started := make(chan *os.Process, 1) // it may come to the request before Start has returned
			s.Break(blobtest.Fault{Op: at.op, Skip: at.skip, Times: 1, Done: at.done, Do: func() { _ = (<-started).Kill() }})
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			started <- first.Process
			if err := first.Wait(); err == nil {
				t.Fatal("it was not killed")
			}
			s.Mend()
			second, out := child()
			if err := second.Run(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			b, err := bucketOf(t.Context(), l.Config)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := rowsIn(t.Context(), b, "suite")
			if err != nil {
				t.Fatal(err)
			}
			seen := make([]int, s3Groups*l.Rows)
			for _, r := range rows {
				seen[r.ID]++
			}
			if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
				t.Errorf("row %d is there %d times", i, seen[i])
			}
			if n := s.Staged(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// A look at a bucket leaves nothing there, and says which right is missing.
func TestCheckOfS3(t *testing.T) {
	t.Parallel()
	for op, says := range map[string]string{
		"": "", blobtest.List: "s3:ListBucket", blobtest.Create: "s3:PutObject", blobtest.Uploads: "s3:ListBucketMultipartUploads",
		blobtest.Abort: "s3:AbortMultipartUpload", blobtest.Get: "s3:GetObject", blobtest.Parts: "s3:ListMultipartUploadParts", blobtest.Delete: "s3:DeleteObject",
	} {
		s := blobtest.New(t)
		c := onS3(s)
		if op != "" {
			s.Deny(op)
		}
		if op == blobtest.Delete {
			if found, err := c.Check(t.Context()); err != nil { // nothing is removed there
				t.Errorf("%s, %v", found, err)
			}
			c.Compact = new(lake.Compact)
		}
		found, err := c.Check(t.Context())
		switch {
		case op == "" && (err != nil || found != "s3://bucket/a/lake can be written, and is empty"):
			t.Errorf("got %q, %v", found, err)
		case op != "" && (fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "("+says) || !strings.Contains(err.Error(), "s3://bucket/a/lake")):
			t.Errorf("without %s: got %v", says, err)
		}
		if op != blobtest.Abort && s.Staged()+len(s.Names("")) > 0 {
			t.Errorf("without %q it left something", says)
		}
	}
	c := onS3(blobtest.New(t))
	c.URL = "s3://other/lake"
	if _, err := c.Check(t.Context()); fault.Code(err) != "ACQ-AWS-006" || !strings.Contains(err.Error(), "s3://other/lake") {
		t.Errorf("got %v", err)
	}
	if found, err := new(inMoto(t)).Check(t.Context()); err != nil {
		t.Errorf("moto: %s, %v", found, err)
	}
}

// A former owner that was frozen stages after the sweep of the next one: a later sweep finds that.
func TestALaterSweepOnS3(t *testing.T) {
	t.Parallel()
	s := blobtest.New(t)
	l := open(t, onS3(s))
	commit := func(w sinks.Writer, group int64, publish bool) {
		t.Helper()
		if err := w.Write(t.Context(), games(t, 0, 10, 2)); err != nil {
			t.Fatal(err)
		}
		m, err := w.Cut(sinks.Group{Ordinal: group}).Stage(t.Context())
		if err == nil && publish {
			err = w.Publish(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var owners []sinks.Writer
	for epoch := range int64(2) {
		w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: epoch + 1})
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, w)
	}
	if err := owners[1].(sinks.Recoverer).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(owners[0], 1, false)
	commit(owners[1], 1, true)
	if s.Staged() != 2 {
		t.Fatalf("%d uploads are staged, want the two of the former owner", s.Staged())
	}
	lake.SweepIsDue(owners[1])
	commit(owners[1], 2, true)
	if s.Staged() != 0 {
		t.Errorf("%d uploads are left", s.Staged())
	}
}
