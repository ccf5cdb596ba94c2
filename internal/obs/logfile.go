package obs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/DeRuina/timberjack"

	"github.com/acequia-io/acequia/fault"
)

// A log file is begun anew at this size; this many older ones are kept, compressed.
const (
	logMegabytes = 10
	logBackups   = 5
)

// LogFile is a log beside that on stderr, of lines for people and for what reads the logs of other services: moment in UTC, logger,
// level and message, between dashes.
type LogFile struct {
	to *timberjack.Logger
}

// OpenLogFile opens a log file, or makes it. ACQ-ENV-011: it cannot be written.
func OpenLogFile(path string) (*LogFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640) //nolint:gosec // the user's own file, for the group that reads logs
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, &fault.Error{Code: "ACQ-ENV-011", Place: path, Err: err, Remedy: "set LOG_FILE to a file that this user may write, or to nothing"}
	}
	return &LogFile{&timberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logBackups, Compression: "gzip"}}, nil
}

// Close closes the file, after what is being compressed.
func (f *LogFile) Close() error { return f.to.Close() }

// With gives a logger that logs to another and to the file. What the file cannot take, such as on a full disk, is still in the other.
func (f *LogFile) With(log *slog.Logger, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewMultiHandler(log.Handler(), newLineHandler(f.to, level)))
}

// lineHandler writes a record as a line. The attributes are written by slog's own text handler.
type lineHandler struct {
	shared *lineBuffer
	attrs  slog.Handler // writes into shared
	logger string
	nested bool // in a group
}

type lineBuffer struct {
	mu   sync.Mutex
	out  io.Writer
	text bytes.Buffer
}

func newLineHandler(out io.Writer, level slog.Leveler) *lineHandler {
	shared := &lineBuffer{out: out}
	return &lineHandler{shared: shared, logger: "acequia", attrs: slog.NewTextHandler(&shared.text, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (h *lineHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

// Handle writes one line, whatever the message holds.
func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	text := &h.shared.text
	text.Reset()
	message := r.Message
	if strings.ContainsFunc(message, func(c rune) bool { return c < ' ' }) {
		message = strconv.Quote(message)
	}
	fmt.Fprintf(text, "%s - %s - %s - %s ", r.Time.UTC().Format("2006-01-02 15:04:05,000"), h.logger, levelName(r.Level), message)
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.shared.out.Write(append(bytes.TrimRight(text.Bytes(), " \n"), '\n'))
	return err
}

// WithAttrs names the logger after the pipeline.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	rest := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key == "pipeline" && !h.nested {
			next.logger = "acequia." + a.Value.String()
			continue
		}
		rest = append(rest, a)
	}
	next.attrs = h.attrs.WithAttrs(rest)
	return &next
}

// WithGroup nests what follows.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.attrs, next.nested = h.attrs.WithGroup(name), true
	return &next
}

// levelName is the name that logs of other services have for a level.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// LevelOf reads the name of a level, as logs of other services have it; "" is another. ACQ-CFG-014: it is none.
func LevelOf(name string, other slog.Level) (slog.Level, error) {
	switch strings.ToUpper(name) {
	case "":
		return other, nil
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARNING", "WARN":
		return slog.LevelWarn, nil
	case "ERROR", "CRITICAL":
		return slog.LevelError, nil
	}
	return 0, &fault.Error{Code: "ACQ-CFG-014", Place: "LOG_LEVEL", Err: fmt.Errorf("%q is no level", name), Remedy: "set it to DEBUG, INFO, WARNING or ERROR"}
}
