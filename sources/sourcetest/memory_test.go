package sourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// kind is what sort of source the memory plays.
type kind int

const (
	stream kind = iota // waits for more; can be read again
	file               // ends; can be read again
	asker              // who puts a record waits until it is settled, and it is gone then
)

// memory is a right source over rows held in memory, small but whole. Its wrong switch breaks one promise.
type memory struct {
	kind   kind
	wrong  string
	schema *record.Schema

	mu      sync.Mutex
	lanes   [2][]*stored
	settled [2]int
	changed chan struct{} // closed and replaced with each change
	calls   int
	shared  int // a position that all lanes share, of "lanes share a position"
}

// stored is one record.
type stored struct {
	doc     []byte
	op      record.Op
	version record.Version
	event   string
	at      int64
	answer  chan error // asker: holds one
}

type settings struct{ Name string }

func newSchema(name string) *record.Schema {
	s, err := record.NewSchema(
		name, []string{"id", "part"},
		record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "part", Kind: record.Int64},
		record.Field{Name: "count", Kind: record.Int64, Nullable: true},
		record.Field{Name: "note", Kind: record.String, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 38, Scale: 2},
		record.Field{Name: "small", Kind: record.Decimal, Precision: 18, Scale: 9, Nullable: true},
		record.Field{Name: "seen", Kind: record.Timestamp},
		record.Field{Name: "day", Kind: record.Date, Nullable: true},
		record.Field{Name: "weight", Kind: record.Float64},
		record.Field{Name: "raw", Kind: record.Bytes},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String, Nullable: true}}},
		record.Field{Name: "at", Kind: record.Struct, Fields: []record.Field{{Name: "x", Kind: record.Float32}, {Name: "ok", Kind: record.Bool, Nullable: true}}},
		record.Field{Name: "was", Kind: record.VersionText},
	)
	if err != nil {
		panic(err)
	}
	return s
}

func harness(k kind, wrong string) sourcetest.Harness {
	shared := &settings{}
	schema := newSchema("suite.rows")
	h := sourcetest.Harness{
		Plugin: sources.Plugin{
			Type: map[bool]string{true: "Bad Name", false: "memory"}[wrong == "bad type"],
			Doc:  map[bool]string{true: "no sentence", false: "Rows held in memory."}[wrong == "no doc"],
			Config: func() any {
				if wrong == "shares its settings" {
					return shared
				}
				return &settings{Name: "x"}
			},
			New: func(_ context.Context, config any, _ sources.Host) (sources.Source, error) {
				if _, ok := config.(*settings); !ok && wrong != "takes any settings" {
					return nil, fmt.Errorf("settings are a %T", config)
				}
				return &memory{}, nil
			},
		},
		Schema:        schema,
		Replayable:    k != asker,
		Bounded:       k == file,
		InsertOnly:    k == asker,
		KeepsVersions: true,
		New: func(context.Context) (*sourcetest.Place, error) {
			m := &memory{kind: k, wrong: wrong, schema: schema, changed: make(chan struct{})}
			return &sourcetest.Place{Source: m.fresh, Put: m.put}, nil
		},
		Secret: "hunter2",
		Unreachable: func(context.Context) (sources.Source, error) {
			if wrong == "shows the secret" {
				return nil, errors.New("connect to memory://user:hunter2@nowhere: refused")
			}
			return nil, errors.New("connect to memory://user:***@nowhere: refused")
		},
	}
	return h
}

func (m *memory) fresh(context.Context) (sources.Source, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m, nil
}

func (m *memory) put(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var waiting []chan error
	for row := range b.Rows {
		s := &stored{
			doc: b.AppendJSON(nil, row), op: b.System.Op(row), version: b.System.Versions.At(row), at: b.System.EventTime(row),
			answer: make(chan error, 1),
		}
		h := fnv.New32a()
		for _, k := range b.Schema.Key {
			h.Write(b.AppendValueJSON(nil, k, row))
		}
		lane := int(h.Sum32()>>7&1) * map[bool]int{true: 0, false: 1}[m.kind == asker]
		s.event = fmt.Sprintf("%d:%d", lane, len(m.lanes[lane]))
		m.lanes[lane] = append(m.lanes[lane], s)
		waiting = append(waiting, s.answer)
	}
	if m.wrong != "sleeps through changes" {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	if m.kind != asker {
		return nil, nil
	}
	return func(ctx context.Context) (heard []error, err error) {
		for _, answer := range waiting {
			select {
			case err := <-answer:
				heard = append(heard, err)
			case <-ctx.Done():
				return heard, ctx.Err()
			}
		}
		return heard, nil
	}, nil
}

func (m *memory) Lanes(context.Context) ([]sources.Lane, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lanes := []sources.Lane{
		{ID: "even", Streams: []string{m.schema.Stream}, Replayable: m.kind != asker},
		{ID: "odd", Streams: []string{m.schema.Stream}, Replayable: m.kind != asker},
	}
	switch m.wrong {
	case "lane names change":
		lanes[1].ID = "odd" + strconv.Itoa(m.calls)
	case "a lane twice":
		lanes[1].ID = "even"
	case "hides that it can be replayed":
		lanes[1].Replayable = !lanes[1].Replayable
	case "no lanes":
		return nil, nil
	case "forgets a lane":
		return lanes[:1], nil
	}
	return lanes, nil
}

func (m *memory) Check(context.Context) error {
	if m.wrong == "cannot be checked" {
		return errors.New("no rights")
	}
	return nil
}

func (m *memory) Describe(context.Context) ([]*record.Schema, error) {
	if m.wrong == "describes another stream" {
		return []*record.Schema{newSchema("other.rows")}, nil
	}
	if m.wrong == "describes another shape" {
		s, err := record.NewSchema(m.schema.Stream, nil, m.schema.Fields[1:]...)
		return []*record.Schema{s}, err
	}
	return []*record.Schema{m.schema}, nil
}

func (m *memory) Lag(context.Context) (sources.Lag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.lanes[0]) - m.settled[0] + len(m.lanes[1]) - m.settled[1]
	switch m.wrong {
	case "the lag is always nothing":
		n = 0
	case "the lag never goes":
		n = len(m.lanes[0]) + len(m.lanes[1])
	}
	return sources.Lag{Records: int64(n)}, nil
}

func (m *memory) Open(_ context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	at := 0
	if from != "" {
		n, err := strconv.Atoi(string(from))
		if err != nil && m.wrong != "takes any position" {
			return nil, fmt.Errorf("position %q: %w", from, err)
		}
		at = n
		switch m.wrong {
		case "resumes one too late":
			at++
		case "resumes one too early":
			at--
		}
	}
	r := &reader{m: m, at: at, closed: make(chan struct{})}
	if lane.ID != "even" {
		r.lane = 1
	}
	if m.kind == asker {
		r.at = m.settled[r.lane]
	}
	if m.wrong == "leaks a goroutine" {
		go func() { <-make(chan struct{}) }()
	}
	return r, nil
}

type reader struct {
	m      *memory
	lane   int
	at     int
	ended  int
	closed chan struct{}
	last   *record.Batch // of "lends its memory again"
}

func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	for {
		if err := r.ctxError(ctx); err != nil {
			return record.Chunk{}, err
		}
		rows, changed := r.next()
		if len(rows) > 0 {
			if r.m.wrong == "drops what an ended read had" && ctx.Err() != nil {
				return record.Chunk{}, ctx.Err()
			}
			return r.chunk(rows)
		}
		switch {
		case r.m.wrong == "an empty place is an error":
			return record.Chunk{}, errors.New("nothing there")
		case r.m.kind == file:
			if r.ended++; r.ended > 1 && r.m.wrong == "ends once" {
				return record.Chunk{}, nil
			}
			return record.Chunk{}, io.EOF
		}
		if err := r.wait(ctx, changed); err != nil {
			return record.Chunk{}, err
		}
	}
}

func (r *reader) ctxError(ctx context.Context) error {
	switch {
	case r.m.wrong == "ignores the context" || r.m.wrong == "drops what an ended read had":
		return nil
	case r.m.wrong == "hides the context's error" && ctx.Err() != nil:
		return errors.New("stopped")
	}
	return ctx.Err()
}

func (r *reader) wait(ctx context.Context, changed <-chan struct{}) error {
	done, closed := ctx.Done(), r.closed
	if r.m.wrong == "ignores the context" {
		done = nil
	}
	if r.m.wrong == "a read outlives its reader" {
		closed = nil
	}
	select {
	case <-changed:
	case <-done:
		if r.m.wrong == "hides the context's error" {
			return errors.New("stopped")
		}
		return ctx.Err()
	case <-closed:
		if r.m.wrong == "closing is the end" {
			return io.EOF
		}
		return errors.New("closed")
	}
	return nil
}

// next takes up to 50 records, and the channel to wait on when there are none.
func (r *reader) next() ([]*stored, <-chan struct{}) {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	at := &r.at
	if m.wrong == "lanes share a position" {
		at = &m.shared
	}
	all := m.lanes[r.lane]
	*at = max(0, min(*at, len(all)))
	rows := slices.Clone(all[*at:min(*at+50, len(all))])
	*at += len(rows)
	switch {
	case len(rows) < 3:
	case m.wrong == "loses a record":
		rows = slices.Delete(rows, 1, 2)
	case m.wrong == "gives a record twice":
		rows = append(rows, rows[2])
	case m.wrong == "mixes the order up":
		byDoc := func(a, b *stored) int { return strings.Compare(string(a.doc), string(b.doc)) }
		slices.SortFunc(rows, byDoc)
		slices.Reverse(rows)
	case m.wrong == "forgets what it read":
		for _, s := range rows {
			s.doc = []byte(`{}`)
		}
		rows = slices.Clone(rows)
		m.lanes[r.lane] = slices.Delete(m.lanes[r.lane], *at-len(rows), *at)
	}
	return rows, m.changed
}

func (r *reader) chunk(rows []*stored) (record.Chunk, error) {
	b := record.NewBuilder(r.m.schema, len(rows))
	sys := b.System()
	sys.Source, sys.IngestTime = "memory", time.Now().UnixMicro()
	r.breakSystem(sys)
	for _, s := range rows {
		if r.m.wrong == "forgets deletes" && s.op == record.Delete {
			continue
		}
		if err := b.AppendJSON(r.doc(s)); err != nil {
			return record.Chunk{}, err
		}
		op, version, event, at := s.op, s.version, s.event, s.at
		switch r.m.wrong {
		case "updates as inserts":
			op = record.Insert
		case "one version for all":
			version = record.Version{Lo: 1}
		case "versions of its own":
			version.Lo += 1000
		case "one event id for all":
			event = "0:0"
		case "new event ids each time":
			r.m.mu.Lock()
			r.m.calls++
			event += "-" + strconv.Itoa(r.m.calls)
			r.m.mu.Unlock()
		case "no event times":
			at = 0
		}
		sys.Ops = append(sys.Ops, op)
		sys.Versions.Epoch = version.Epoch
		sys.Versions.Hi, sys.Versions.Lo = append(sys.Versions.Hi, version.Hi), append(sys.Versions.Lo, version.Lo)
		sys.Versions.Index = append(sys.Versions.Index, version.Index)
		sys.EventIDs.AppendText([]byte(event))
		sys.EventTimes = append(sys.EventTimes, at)
	}
	to := record.Position(strconv.Itoa(r.at))
	if r.m.wrong == "the position stands still" {
		to = "50"
	}
	batch := b.Batch(nil)
	if r.m.wrong == "lends its memory again" && r.last != nil {
		copy(r.last.Columns[0].Bytes, "##########")
	}
	r.last = batch
	return record.Chunk{Batches: []*record.Batch{batch}, To: to, ReadAt: time.Now()}, nil
}

func (r *reader) breakSystem(sys *record.System) {
	switch r.m.wrong {
	case "does not say where from":
		sys.Source = ""
	case "no ingest time":
		sys.IngestTime = 0
	}
}

// doc gives the record's values, spoilt where a fault wants it.
func (r *reader) doc(s *stored) []byte {
	doc := string(s.doc)
	switch r.m.wrong {
	case "integers pass through floats":
		doc = strings.ReplaceAll(doc, "9223372036854775807", "9223372036854775800")
	case "null becomes empty":
		doc = strings.ReplaceAll(doc, `"note":null`, `"note":""`)
	case "texts are ASCII":
		doc = strings.Map(func(c rune) rune { return min(c, 'z'+5) }, doc)
	case "cuts long texts":
		if len(doc) > 100_000 {
			doc = strings.Replace(doc, strings.Repeat("á", 70_000), strings.Repeat("á", 65_000), 1)
		}
	}
	return []byte(doc)
}

func (r *reader) Settle(_ context.Context, upTo record.Position, refused error) error {
	n, err := strconv.Atoi(string(upTo))
	if err != nil {
		return err
	}
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.kind == asker:
		for i, s := range m.lanes[r.lane][m.settled[r.lane]:n] {
			told := refused
			if m.wrong == "tells all that it is safe" {
				told = nil
			}
			if m.wrong == "never answers one" && i == 0 {
				continue
			}
			s.answer <- told
		}
	case refused != nil && m.wrong == "takes a refusal for success":
		m.lanes[r.lane] = m.lanes[r.lane][n:]
	case m.wrong == "settling skips a record":
		r.at = n + 1
	}
	if refused == nil || m.kind == asker {
		m.settled[r.lane] = max(m.settled[r.lane], n)
	}
	return nil
}

func (r *reader) Close() error {
	close(r.closed)
	return nil
}
