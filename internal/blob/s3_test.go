package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

// moto is an emulator that others wrote.
var moto *awstest.Server

// place is an empty prefix of a bucket, of the fake or of moto.
type place struct {
	*blob.S3
	fake     *blobtest.Server // nil: it is moto's
	settings blob.S3Settings
}

// again is the same place as another process has it.
func (p place) again(t *testing.T) *blob.S3 {
	t.Helper()
	b, err := blob.OpenS3(t.Context(), p.Root(), p.settings)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// onBoth runs a test on the fake and on moto.
func onBoth(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		test(t, faked(t))
	})
	t.Run("moto", func(t *testing.T) {
		t.Parallel()
		name := blobtest.Bucket(t, moto.Settings)
		var err error
		p := place{settings: blob.S3Settings{AWS: moto.Settings, SSE: "s3"}}
		if p.S3, err = blob.OpenS3(t.Context(), "s3://"+name+"/a/lake", p.settings); err != nil {
			t.Fatal(err)
		}
		test(t, p)
	})
}

func faked(t *testing.T) place {
	t.Helper()
	p := place{fake: blobtest.New(t)}
	p.settings = p.fake.Settings()
	var err error
	if p.S3, err = blob.OpenS3(t.Context(), "s3://bucket/a/lake", p.settings); err != nil {
		t.Fatal(err)
	}
	return p
}

// staged seals a file with a content under each name.
func staged(t *testing.T, b blob.Bucket, contents map[string][]byte) []blob.Publication {
	t.Helper()
	out, err := tryStage(t.Context(), b, contents)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryStage(ctx context.Context, b blob.Bucket, contents map[string][]byte) ([]blob.Publication, error) {
	var sealer blob.Sealer
	var files []*blob.File
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range contents {
			if !yield(name) {
				return
			}
		}
	}) {
		f, err := b.Stage(ctx, "_staging/lane/"+strconv.Itoa(len(files)), name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		for rest := contents[name]; len(rest) > 0; { // as pages come
			n := min(len(rest), 100_001)
			if _, err := f.Write(rest[:n]); err != nil {
				return nil, errors.Join(err, f.Close(), sealer.Wait())
			}
			rest = rest[n:]
		}
		_ = sealer.Seal(ctx, f) // Wait gives the error too
	}
	if err := sealer.Wait(); err != nil {
		return nil, err
	}
	return blob.Publications(files), nil
}

// random gives bytes that are not those of another place in them.
func random(n int) []byte {
	out := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = source.Read(out)
	return out
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"s3://b": "b|", "s3://b/": "b|", "s3://b/p/q/": "b|p/q", "s3://": "", "file:///x": "", "/x": "", "s3://b/p//q": "", "s3://b/../q": "",
		"s3://u@b/p": "", "s3://b/p?x": "",
	} {
		got := ""
		if bucket, prefix, ok := blob.ParseURL(text); ok {
			got = bucket + "|" + prefix
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// Files of no part, of one and of several are invisible until they are published, and then whole.
func TestS3Publishes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		contents := map[string][]byte{"t/dt=1/a": random(3), "t/dt=1/b=%2F ñ": random(20 << 20), "t/dt=2/c": random(16 << 20)}
		files := staged(t, p, contents)
		if all, err := p.Walk(t.Context(), ""); err != nil || len(all) > 0 {
			t.Fatalf("staged files can be seen: %v, %v", all, err)
		}
		other := p.again(t)
		for range 2 {
			if err := other.Publish(t.Context(), files); err != nil {
				t.Fatal(err)
			}
		}
		all, err := p.Walk(t.Context(), "t")
		if err != nil || len(all) != 3 {
			t.Fatalf("got %v, %v", all, err)
		}
		for _, one := range all {
			want := contents[one.Name]
			got, err := p.Read(t.Context(), one.Name)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes of %d are not those that were written, %v", one.Name, len(got), len(want), err)
			}
			if size, at, err := one.Stat(); size != int64(len(want)) || at.IsZero() || err != nil {
				t.Errorf("%s: %d bytes at %v, %v", one.Name, size, at, err)
			}
		}
		if left, err := p.Leftovers(t.Context(), ""); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// A name that is taken is told, whoever took it and whatever stands there.
func TestS3DoesNotOverwrite(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		first, second := staged(t, p, map[string][]byte{"t/a": []byte("one")}), staged(t, p, map[string][]byte{"t/a": []byte("two")})
		if err := p.Publish(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := p.Publish(t.Context(), second); !errors.Is(err, blob.ErrTaken) {
				t.Errorf("got %v", err)
			}
		}
		if text, err := p.Read(t.Context(), "t/a"); string(text) != "one" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	})
}

// Of a group of which an upload has vanished nothing is published.
func TestS3NoticesWhatVanished(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		files := staged(t, p, map[string][]byte{"t/a": []byte("a"), "t/b": []byte("b"), "t/c": []byte("c")})
		if err := p.Discard(t.Context(), files[2]); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(t.Context(), files); !errors.Is(err, blob.ErrGone) {
			t.Errorf("got %v", err)
		}
		if all, err := p.Walk(t.Context(), ""); err != nil || len(all) > 0 {
			t.Errorf("visible: %v, %v", all, err)
		}
		if err := p.Publish(t.Context(), files[2:]); !errors.Is(err, blob.ErrGone) {
			t.Errorf("alone: got %v", err)
		}
		if err := p.Discard(t.Context(), files...); err != nil {
			t.Error(err)
		}
	})
}

func TestS3KeepsSmallFiles(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		const goroutines, each = 3, 4
		var all sync.WaitGroup
		errs := make(chan error, goroutines*each)
		for _, b := range []*blob.S3{p.S3, p.again(t), p.again(t)} {
			all.Go(func() {
				for range each {
					errs <- b.Update(t.Context(), "_tables/n.json", add)
				}
			})
			if p.fake == nil {
				all.Wait() // moto looks at a condition and then writes: two threads of it may both find it met
			}
		}
		all.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if text, err := p.Read(t.Context(), "_tables/n.json"); string(text) != strconv.Itoa(goroutines*each) || err != nil {
			t.Errorf("%s updates are left, %v", text, err)
		}
		if err := p.Remove(t.Context(), "_tables/n.json", "nothing"); err != nil {
			t.Fatal(err)
		}
		there, err := p.Exists(t.Context(), "_tables/n.json")
		if there || err != nil {
			t.Errorf("there %t, %v", there, err)
		}
		if _, err := p.Read(t.Context(), "_tables/n.json"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// Reads at any place give what stands there, in few requests.
func TestS3ReadsRanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		want := random(3<<20 + 17)
		if err := p.Publish(t.Context(), staged(t, p, map[string][]byte{"t/a": want, "t/small": want[:10]})); err != nil {
			t.Fatal(err)
		}
		o, err := p.Open(t.Context(), "t/a")
		if err != nil || o.Size() != int64(len(want)) {
			t.Fatalf("size %d, %v", o.Size(), err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			at := rng.IntN(len(want))
			got := make([]byte, rng.IntN(700_000))
			n, err := o.ReadAt(got, int64(at))
			if !bytes.Equal(got[:n], want[at:min(len(want), at+len(got))]) || n < len(got) && !errors.Is(err, io.EOF) {
				t.Fatalf("%d bytes at %d: %d, %v", len(got), at, n, err)
			}
		}
		if p.fake != nil && p.fake.Count(blobtest.Get) > 8 {
			t.Errorf("%d requests for seven ranges", p.fake.Count(blobtest.Get))
		}
		small, err := p.Open(t.Context(), "t/small")
		if err != nil || small.Size() != 10 {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(io.NewSectionReader(small, 0, 10)); !bytes.Equal(got, want[:10]) || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := p.Open(t.Context(), "t/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		if err := errors.Join(o.Close(), small.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestS3Lists(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Page(2)
	contents := map[string][]byte{}
	for i := range 7 {
		contents[fmt.Sprintf("t/dt=%d/f", i)] = []byte("x")
	}
	files := staged(t, p, contents)
	files = append(files, staged(t, p, contents)...) // two uploads a name
	p.fake.Store("elsewhere", nil)
	p.fake.Store("a/lake2/f", nil)
	p.fake.Store("a/lake/t/", nil)
	left, err := p.Leftovers(t.Context(), "")
	if err != nil || len(left) != 14 {
		t.Fatalf("%d uploads, %v", len(left), err)
	}
	if err := p.Publish(t.Context(), files[:7]); err != nil {
		t.Fatal(err)
	}
	if err := p.Discard(t.Context(), left...); err != nil || p.fake.Staged() > 0 {
		t.Errorf("%d are left, %v", p.fake.Staged(), err)
	}
	for folder, want := range map[string]int{"": 7, "t": 7, "t/dt=3": 1, "t/dt": 0, "none": 0} {
		if all, err := p.Walk(t.Context(), folder); err != nil || len(all) != want || !slices.IsSortedFunc(all, func(a, b blob.Info) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%q: %v, %v", folder, all, err)
		}
	}
}

func TestS3Encrypts(t *testing.T) {
	t.Parallel()
	const key = "arn:aws:kms:eu-west-1:123456789012:key/1"
	for sse, want := range map[string][2]string{"": {}, "s3": {"AES256"}, "kms": {"aws:kms"}, key: {"aws:kms", key}} {
		p := faked(t)
		p.settings.SSE, p.settings.Owner = sse, blobtest.Account
		b := p.again(t)
		if err := b.Publish(t.Context(), staged(t, b, map[string][]byte{"t/a": []byte("x")})); err != nil {
			t.Fatal(err)
		}
		if err := b.Update(t.Context(), "n", add); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a/lake/t/a", "a/lake/n"} {
			if o := p.fake.Object(name); o.SSE != want[0] || o.Key != want[1] {
				t.Errorf("%q: %s is encrypted with %q, %q", sse, name, o.SSE, o.Key)
			}
		}
	}
	for field, s := range map[string]blob.S3Settings{"sse": {SSE: "des"}, "owner": {Owner: "12"}} {
		if got, err := s.Validate(); got != field || err == nil {
			t.Errorf("%+v: %s, %v", s, got, err)
		}
	}
}
