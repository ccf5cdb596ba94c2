package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/internal/obs"
)

// screen is a terminal with lines at its end that are drawn again in place. What is written goes above them. It may be used by
// several goroutines.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	lines []string
}

// onScreen gives a screen for a terminal, and what else there is as it is.
func onScreen(w io.Writer) io.Writer {
	if _, ok := w.(*screen); ok || !obs.Terminal(w) {
		return w
	}
	return &screen{out: w}
}

// Terminal says that it stands before one.
func (*screen) Terminal() bool { return true }

// Write writes above the lines.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return s.out.Write(text)
	}
	_, err := fmt.Fprintf(s.out, "%s%s%s", s.erased(), text, s.shown())
	return len(text), err
}

// draw puts other lines in the place of those at the end.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.erased()
	s.lines = lines
	_, _ = io.WriteString(s.out, before+s.shown())
}

// erased takes the lines away: up to the first of them, and all from there on.
func (s *screen) erased() string {
	if len(s.lines) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(s.lines))
}

func (s *screen) shown() string {
	if len(s.lines) == 0 {
		return ""
	}
	return strings.Join(s.lines, "\n") + "\n"
}
