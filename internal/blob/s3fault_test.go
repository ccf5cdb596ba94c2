package blob_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

// What passes by itself is tried again, and a file is whole all the same.
func TestS3TriesAgain(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]blobtest.Fault{
		"slow down":                      {Op: blobtest.Part, Status: 503, Code: "SlowDown", Times: 1},
		"a part that is cut off":         {Op: blobtest.Part, Times: 1},
		"a part whose answer is cut":     {Op: blobtest.Part, Times: 1, Done: true},
		"a part that is slow":            {Op: blobtest.Part, Times: 1, Delay: 100 * time.Millisecond},
		"a begin that fails":             {Op: blobtest.Create, Status: 500, Code: "InternalError", Times: 1},
		"a begin whose answer is cut":    {Op: blobtest.Create, Times: 1, Done: true},
		"a complete that fails":          {Op: blobtest.Complete, Status: 503, Code: "ServiceUnavailable", Times: 1},
		"a complete whose answer is cut": {Op: blobtest.Complete, Times: 1, Done: true},
		"every answer of it is lost":     {Op: blobtest.Complete, Status: 500, Code: "InternalError", Times: 3, Done: true},
		"a list that fails":              {Op: blobtest.Uploads, Status: 503, Code: "SlowDown", Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faked(t)
			p.fake.Break(f)
			contents := map[string][]byte{"t/a": random(9 << 20), "t/b": random(5)}
			if err := p.Publish(t.Context(), staged(t, p, contents)); err != nil {
				t.Fatal(err)
			}
			for name, want := range contents {
				if got := p.fake.Object("a/lake/" + name); got == nil || string(got.Body) != string(want) {
					t.Errorf("%s is not what was written", name)
				}
			}
		})
	}
}

// What does not pass is told with its class, and what a person must do is said.
func TestS3TellsWhatFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault blobtest.Fault
		deny  string
		class fault.Class
		code  string
		is    error
		says  string
	}{
		"slow down for ever":     {fault: blobtest.Fault{Op: blobtest.Part, Status: 503, Code: "SlowDown"}, class: fault.Retryable, code: "ACQ-AWS-008"},
		"aborted meanwhile":      {fault: blobtest.Fault{Op: blobtest.Part, Status: 404, Code: "NoSuchUpload"}, class: fault.Retryable, says: "upload part 1"},
		"no connection":          {fault: blobtest.Fault{Op: blobtest.Create}, class: fault.Retryable, code: "ACQ-AWS-009"},
		"no right to begin":      {deny: blobtest.Create, code: "ACQ-AWS-005", says: "begin upload (s3:PutObject)"},
		"no right to list":       {deny: blobtest.Uploads, code: "ACQ-AWS-005", says: "s3:ListBucketMultipartUploads"},
		"no right to publish":    {deny: blobtest.Complete, code: "ACQ-AWS-005", says: "s3:PutObject"},
		"somebody else's moment": {fault: blobtest.Fault{Op: blobtest.Complete, Status: 409, Code: "ConditionalRequestConflict", Times: 1}, class: fault.Retryable},
		"no object after 412":    {fault: blobtest.Fault{Op: blobtest.Complete, Status: 412, Code: "PreconditionFailed", Times: 1}, class: fault.Retryable},
		"gone at the end":        {fault: blobtest.Fault{Op: blobtest.Complete, Status: 404, Code: "NoSuchUpload", Times: 2}, is: blob.ErrGone},
		"a part that is lost":    {fault: blobtest.Fault{Op: blobtest.Complete, Status: 400, Code: "InvalidPart", Times: 2}, is: blob.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faked(t)
			if c.deny != "" {
				p.fake.Deny(c.deny)
			} else {
				p.fake.Break(c.fault)
			}
			files, err := tryStage(t.Context(), p, map[string][]byte{"t/a": []byte("a"), "t/b": []byte("b")})
			if err == nil {
				err = p.Publish(t.Context(), files)
			}
			if c.is != nil {
				if !errors.Is(err, c.is) {
					t.Errorf("got %v, want %v", err, c.is)
				}
				return
			}
			if err == nil || fault.Of(err) != c.class || fault.Code(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v of class %v", err, fault.Of(err))
			}
			p.fake.Mend()
			if c.deny == "" && files != nil { // recovery does the same again
				if err := p.again(t).Publish(t.Context(), files); err != nil {
					t.Errorf("again: %v", err)
				}
			}
		})
	}
}

func TestS3NoticesAPartThatIsLost(t *testing.T) {
	t.Parallel()
	p := faked(t)
	files := staged(t, p, map[string][]byte{"t/a": random(17 << 20)})
	p.fake.LosePart("a/lake/t/a", 2)
	if err := p.Publish(t.Context(), files); !errors.Is(err, blob.ErrGone) || len(p.fake.Names("")) > 0 {
		t.Errorf("got %v", err)
	}
}

// Another account's bucket of the same name is not written to.
func TestS3AsksForTheOwner(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.settings.Owner = "210987654321"
	if _, err := tryStage(t.Context(), p.again(t), map[string][]byte{"t/a": nil}); fault.Code(err) != "ACQ-AWS-005" {
		t.Errorf("got %v", err)
	}
}

// A seal whose time is over returns, though the server does not answer.
func TestS3SealEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Break(blobtest.Fault{Op: blobtest.Part, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := tryStage(ctx, p, map[string][]byte{"t/a": random(9 << 20)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a file holds is bounded, however slow the server is.
func TestS3HoldsLittle(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Break(blobtest.Fault{Op: blobtest.Part, Delay: 5 * time.Millisecond})
	f, err := p.Stage(t.Context(), "s", "t/a")
	if err != nil {
		t.Fatal(err)
	}
	const most = 8<<20 + 16<<20 + 1<<20 // a part, and what is on its way
	chunk := random(1 << 20)
	for range 40 {
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
		if held := f.Held(); held > most {
			t.Fatalf("%d bytes are held", held)
		}
	}
	var sealer blob.Sealer
	if err := errors.Join(sealer.Seal(t.Context(), f), sealer.Wait()); err != nil || f.Held() != 0 {
		t.Errorf("%d bytes are held, %v", f.Held(), err)
	}
	if err := p.Publish(t.Context(), []blob.Publication{f.Publication()}); err != nil {
		t.Error(err)
	}
}

// An upload whose name was foreseen wrongly fails as something to try again; a file that has not begun takes the right one.
func TestS3NameThatWasForeseen(t *testing.T) {
	t.Parallel()
	for size, wrong := range map[int]bool{100: false, 9 << 20: true} {
		p := faked(t)
		f, err := p.Stage(t.Context(), "s", "t/foreseen")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(random(size)); err != nil {
			t.Fatal(err)
		}
		f.Final = "t/right"
		var sealer blob.Sealer
		err = errors.Join(sealer.Seal(t.Context(), f), sealer.Wait())
		if wrong != (err != nil) || wrong && fault.Of(err) != fault.Retryable {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// An answer that was lost does not make an update happen twice.
func TestS3UpdateWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 500} {
		p := faked(t)
		p.fake.Break(blobtest.Fault{Op: blobtest.Put, Times: 1, Done: true, Status: status, Code: "InternalError"})
		for range 2 {
			if err := p.Update(t.Context(), "n", add); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := p.Read(t.Context(), "n"); string(text) != "2" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	}
}

// Two that write the same content at the same moment have both updated it.
func TestS3UpdatesOfOneContent(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Break(blobtest.Fault{Op: blobtest.Put, Times: 1, Pass: true, Do: func() {
		if err := p.again(t).Update(t.Context(), "n", add); err != nil {
			t.Error(err)
		}
	}})
	if err := p.Update(t.Context(), "n", add); err != nil {
		t.Fatal(err)
	}
	if text, err := p.Read(t.Context(), "n"); string(text) != "2" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

// One holds the lock, until it lets go or has not been seen for a minute of the server's clock.
func TestS3Lock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		try := func(want bool) func() {
			t.Helper()
			unlock, held, err := p.again(t).TryLock(t.Context(), "_swaps/t.lock")
			if err != nil || held != want {
				t.Fatalf("held %t, %v, want %t", held, err, want)
			}
			return unlock
		}
		unlock := try(true)
		try(false)
		unlock()
		unlock = try(true)
		try(false)
		if p.fake == nil {
			unlock()
			return
		}
		p.fake.Later(20 * time.Second)
		try(false)
		p.fake.Later(time.Minute)
		next := try(true)
		unlock() // by who has lost it
		try(false)
		next()
		try(true)()
	})
}

func TestS3RemoveSaysWhatItCannot(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Deny(blobtest.Delete)
	if err := p.Remove(t.Context(), "t/a"); fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(fmt.Sprint(err), "s3:DeleteObject") {
		t.Errorf("got %v", err)
	}
}
