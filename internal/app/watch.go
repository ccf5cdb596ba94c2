package app

import (
	"crypto/sha256"
	"maps"
	"os"
	"time"

	"github.com/acequia-io/acequia/internal/config"
)

// watchEvery is how often files that are watched are looked at: an edit is taken up within two looks.
const watchEvery = 500 * time.Millisecond

// sums are digests of files, by path. They are small, so that reading them costs less than to trust their times.
type sums map[string][sha256.Size]byte

// sumsOf looks at the files that paths name, also in folders, and at more of them.
func sumsOf(paths, more []string) sums {
	out := sums{}
	names, err := config.Files(paths)
	if err != nil {
		out[""] = sha256.Sum256([]byte(err.Error()))
	}
	for _, name := range append(names, more...) {
		text, err := os.ReadFile(name) //nolint:gosec // the user named it
		if err != nil {
			text = []byte(err.Error())
		}
		out[name] = sha256.Sum256(text)
	}
	return out
}

// fileWatch tells when files are others than they were when they were read.
type fileWatch struct{ read, last sums }

// before notes the files that are about to be read.
func (w *fileWatch) before(paths, more []string) { w.read = sumsOf(paths, more) }

// after keeps what was noted of the files that were read, which had more of them read, and looks at those.
func (w *fileWatch) after(paths, more []string) {
	now := sumsOf(paths, more)
	for name := range now {
		if sum, noted := w.read[name]; noted {
			now[name] = sum
		}
	}
	w.read = now
}

// changed says whether the files are others than were read, and rest: one that is being written differs from one look to
// the next.
func (w *fileWatch) changed(paths, more []string) bool {
	now := sumsOf(paths, more)
	rest := maps.Equal(now, w.last)
	w.last = now
	return rest && !maps.Equal(now, w.read)
}
