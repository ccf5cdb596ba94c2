//go:build linux

package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// childJob holds what a test binary that was started as a child has to do.
const childJob = "ACEQUIA_LAKE_CHILD"

const troubledRows = 20_000

// job is one group that is committed to a lake where trouble comes before one of the steps.
type job struct {
	Lake  string
	Disk  string // options of a disk in memory to mount there; "" for none
	Step  string // write, stage, publish
	What  string // bytes: no space; inodes: no room for names; lock: no right to write
	Spare int    // bytes or inodes that are left
	Lock  string // the folder to lock, below the lake
	Half  bool   // a part of the group is visible by then
}

// report is what the child tells.
type report struct {
	Failures               []string // class and code
	Seen                   int      // rows that were visible after the first
	Rows, Distinct, Staged int
}

// TestMain makes the binary a child when it is asked to be one.
func TestMain(m *testing.M) {
	text, run := os.Getenv(childJob), runChild
	if onS3 := os.Getenv(s3Job); onS3 != "" {
		text, run = onS3, runS3Child
	}
	if text != "" {
		if err := run(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(awstest.Main(m, func(s *awstest.Server) { moto = s }))
}

func runChild(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Disk != "" {
		if err := syscall.Mount("none", j.Lake, "tmpfs", 0, j.Disk); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	l, err := lake.New(context.Background(), lake.Config{URL: j.Lake}, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	c := child{job: j, lake: l}
	for epoch := int64(1); epoch <= 3; epoch++ { // as the engine does: a failure ends the incarnation, recovery begins the next
		err := c.incarnation(context.Background(), epoch)
		if err == nil {
			break
		}
		c.report.Failures = append(c.report.Failures, fmt.Sprint(fault.Of(err), " ", fault.Code(err)))
		if errors.Is(err, os.ErrClosed) {
			c.report.Failures = append(c.report.Failures, "a file was closed twice: "+err.Error())
		}
		seen, seenErr := suiteRows(filepath.Join(j.Lake, "suite"))
		c.report.Seen = max(c.report.Seen, len(seen))
		if err := errors.Join(seenErr, c.mend()); err != nil {
			return err
		}
	}
	return c.tell()
}

type child struct {
	job     job
	lake    *lake.Lake
	intent  []byte // as it would be saved before publish
	ballast []string
	report  report
}

func (c *child) incarnation(ctx context.Context, epoch int64) (err error) {
	w, err := c.lake.Open(ctx, sinks.Lane{Pipeline: "p", ID: "a", Epoch: epoch})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	if c.intent != nil {
		return c.publish(ctx, w)
	}
	if err := w.(sinks.Recoverer).Sweep(ctx); err != nil {
		return err
	}
	if err := c.before("write", epoch); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for lo := 0; lo < troubledRows; lo += 2000 {
		b, err := troubled(rng, lo, lo+2000)
		if err != nil {
			return err
		}
		if err := w.Write(ctx, b); err != nil {
			return err
		}
	}
	if err := c.before("stage", epoch); err != nil {
		return err
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(ctx)
	if err != nil {
		return err
	}
	if c.intent, err = json.Marshal(m); err != nil {
		return err
	}
	if err := c.before("publish", epoch); err != nil {
		return err
	}
	return c.publish(ctx, w)
}

func (c *child) publish(ctx context.Context, w sinks.Writer) error {
	var m sinks.Manifest
	if err := json.Unmarshal(c.intent, &m); err != nil {
		return err
	}
	return w.Publish(ctx, m)
}

// troubled makes rows of three days whose text cannot be compressed.
func troubled(rng *rand.Rand, lo, hi int) (*record.Batch, error) {
	schema, err := sinktest.Schema()
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(schema, hi-lo)
	for i := lo; i < hi; i++ {
		b.Int(0, int64(i))
		b.String(1, fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()))
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, 20_000*day+int64(i%3)*day)
	}
	return b.Batch(nil), nil
}

// before makes the trouble in the first incarnation.
func (c *child) before(step string, epoch int64) error {
	if step != c.job.Step || epoch > 1 {
		return nil
	}
	switch c.job.What {
	case "lock":
		return c.chmod(0o555)
	case "bytes":
		return c.fill()
	}
	for n := 0; ; n++ { // inodes
		name := filepath.Join(c.job.Lake, fmt.Sprintf("ballast-%d", n))
		err := os.WriteFile(name, nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			return err
		}
		c.ballast = append(c.ballast, name)
	}
	for range c.job.Spare {
		last := len(c.ballast) - 1
		if err := os.Remove(c.ballast[last]); err != nil {
			return err
		}
		c.ballast = c.ballast[:last]
	}
	return nil
}

// fill writes one file until the disk is full, and cuts what is to be left.
func (c *child) fill() error {
	name := filepath.Join(c.job.Lake, "ballast")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	c.ballast = append(c.ballast, name)
	size := int64(0)
	for {
		n, err := f.Write(make([]byte, 4096))
		size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			return errors.Join(f.Truncate(size-int64(c.job.Spare)), f.Close())
		}
		if err != nil {
			return err
		}
	}
}

// chmod changes the rights of the folder; a "*" in its name stands for one name.
func (c *child) chmod(mode os.FileMode) error {
	found, err := filepath.Glob(filepath.Join(c.job.Lake, c.job.Lock))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: %d folders, %w", c.job.Lock, len(found), err)
	}
	return os.Chmod(found[0], mode)
}

// mend does what the remedy of the failure says.
func (c *child) mend() error {
	if c.job.What == "lock" {
		return c.chmod(0o755)
	}
	for _, name := range c.ballast {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	c.ballast = nil
	return nil
}

func (c *child) tell() error {
	rows, err := suiteRows(filepath.Join(c.job.Lake, "suite"))
	if err != nil {
		return err
	}
	distinct := map[int64]bool{}
	for _, r := range rows {
		distinct[r.ID] = true
	}
	c.report.Rows, c.report.Distinct = len(rows), len(distinct)
	if c.report.Staged, err = count(filepath.Join(c.job.Lake, "_staging")); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c.report)
}

// suffer runs a job in a process of its own: it must fail once, as wanted, and then commit the whole group.
func suffer(t *testing.T, j job, failure string, attributes *syscall.SysProcAttr) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "/proc/self/exe") // a user without rights may not be able to reach the path
	command.Env = append(os.Environ(), childJob+"="+string(text))
	command.SysProcAttr = attributes
	var out, errs strings.Builder
	command.Stdout, command.Stderr = &out, &errs
	switch err := command.Run(); {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("this user cannot have a disk of its own: %v", err)
	case err != nil:
		t.Fatalf("%v: %s", err, errs.String())
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if !slices.Equal(r.Failures, []string{failure}) {
		t.Errorf("failures %q, want one: %s", r.Failures, failure)
	}
	if half := r.Seen > 0; half != j.Half {
		t.Errorf("%d rows were visible after the failure: the trouble came at another step than was meant", r.Seen)
	}
	if r.Rows != troubledRows || r.Distinct != troubledRows || r.Staged != 0 {
		t.Errorf("%d rows, %d distinct, %d staged parts, want %d and nothing staged", r.Rows, r.Distinct, r.Staged, troubledRows)
	}
}

// A disk that is full stops a group at any step. When there is space again the group is committed, whole and once.
func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	for name, j := range map[string]job{
		"no space to describe the table":   {Step: "write", What: "bytes"},
		"no space to stage":                {Step: "stage", What: "bytes"},
		"no space to stage all":            {Step: "stage", What: "bytes", Spare: 200_000},
		"no name for a folder":             {Step: "publish", What: "inodes"},
		"no name for the second folder":    {Step: "publish", What: "inodes", Spare: 1},
		"no name for the first file":       {Step: "publish", What: "inodes", Spare: 4},
		"no names for files but the first": {Step: "publish", What: "inodes", Spare: 5, Half: true},
		"no name for a staged file":        {Step: "write", What: "inodes", Spare: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j.Lake, j.Disk = t.TempDir(), "size=8m,nr_inodes=60"
			own := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // nobody else sees the disk, and it goes with the child
			if os.Geteuid() != 0 {
				own.Cloneflags = syscall.CLONE_NEWUSER
				own.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
				own.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
			}
			suffer(t, j, "retryable ACQ-LAKE-001", own)
		})
	}
}

// Without the right to write a group waits in the same way.
func TestAFolderWithoutRightsLosesNothing(t *testing.T) {
	t.Parallel()
	for name, j := range map[string]job{
		"the lake, before the table is described": {Step: "write", Lock: "."},
		"the descriptions":                        {Step: "write", Lock: "_tables"},
		"the lake, before publish":                {Step: "publish", Lock: "."},
		"the staging folder, before publish":      {Step: "publish", Lock: "_staging/*", Half: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j.Lake, j.What = t.TempDir(), "lock"
			if err := os.MkdirAll(filepath.Join(j.Lake, "_tables"), 0o755); err != nil {
				t.Fatal(err)
			}
			var nobody *syscall.SysProcAttr
			if os.Geteuid() == 0 { // who may write everywhere
				const id = 65534
				nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
				err := errors.Join(os.Chmod(filepath.Dir(j.Lake), 0o711), os.Chown(j.Lake, id, id), os.Chown(filepath.Join(j.Lake, "_tables"), id, id))
				if err != nil {
					t.Fatal(err)
				}
			}
			suffer(t, j, "retryable ACQ-LAKE-002", nobody)
		})
	}
}
