package itemstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// childFile names the file that a test binary started as the crash test's child writes to.
const childFile = "ACEQUIA_ITEMSTORE_CHILD"

const crashWriters = 64

// TestMain makes the binary the crash test's child when it is asked to be one.
func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(path))
		os.Exit(1)
	}
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

// server speaks DynamoDB's protocol.
var server *awstest.Server

// writeForEver writes from many goroutines, and prints each key once its write is acknowledged.
func writeForEver(path string) error {
	ctx := context.Background()
	s, err := itemstore.Open(ctx, path, itemstore.Options{})
	if err != nil {
		return err
	}
	if err := s.Define(ctx, itemstore.Table{Name: "games"}); err != nil {
		return err
	}
	failed := make(chan error, crashWriters)
	var out sync.Mutex
	for c := range crashWriters {
		go func() {
			for n := uint64(1); ; n++ {
				key := fmt.Sprintf("%d-%d", c, n)
				if _, err := s.Write(ctx, []itemstore.Put{
					put(key, n, record.Insert, `{"key":"`+key+`"}`), put("last-"+fmt.Sprint(c), n, record.Update, `{"key":"`+key+`"}`),
				}); err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Println(key)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// What was acknowledged before a kill is there afterwards, once, with its change; a transaction is there as a whole.
func TestAcknowledgedWritesOutliveAKill(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		path := filepath.Join(t.TempDir(), "items.db")
		acknowledged := map[string]bool{}
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childFile+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			acknowledged[lines.Text()] = true
			if len(acknowledged) == 1500 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d: the child ended with %v", round, err)
		}
		verify(t, path, acknowledged)
	}
}

// verify opens the file after a kill.
func verify(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	s := open(t, path, itemstore.Options{})
	inserted := map[string]int{}
	pairs, seq := map[uint64]int{}, int64(0)
	err := s.Changes(t.Context(), "games", 0, 1<<30, func(c *itemstore.Change) error {
		if seq++; c.Seq != seq {
			return fmt.Errorf("change %d follows %d", c.Seq, seq-1)
		}
		if strings.HasPrefix(c.Key, "last-") {
			pairs[c.Version.Lo]--
		} else {
			inserted[c.Key]++
			pairs[c.Version.Lo]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, unpaired := range pairs {
		if unpaired != 0 {
			t.Errorf("version %d: a transaction is there by half", n)
		}
	}
	for key := range acknowledged {
		if inserted[key] != 1 {
			t.Errorf("acknowledged key %s has %d changes", key, inserted[key])
		}
		item, ok, err := s.Get(t.Context(), "games", key)
		if err != nil || !ok || string(item.Doc) != `{"key":"`+key+`"}` {
			t.Errorf("acknowledged key %s: %s %v %v", key, item.Doc, ok, err)
		}
	}
	t.Logf("%d acknowledged, %d written", len(acknowledged), len(inserted))
}
