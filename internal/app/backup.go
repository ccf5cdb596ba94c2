package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// BackupOptions say what is kept, and how.
type BackupOptions struct {
	Sources  []string           // none: those of the settings
	Tables   []string           // patterns; none: all that each source chooses
	Format   string             // "": that of the settings
	Log      *slog.Logger       // may be nil
	Progress *BackupProgress    // may be nil
	Probe    func(point string) // for tests; may be nil
}

// BackupResult is a database, and its backup or why there is none.
type BackupResult struct {
	Source   string         `json:"source"`
	Attempts int            `json:"attempts"` // how often it was connected to
	Backup   *backup.Backup `json:"backup,omitempty"`
	Error    string         `json:"error,omitempty"`
	Err      error          `json:"-"`
}

// Backups opens the folder of the backups. A key that the file names and that is not there is an error here, and nowhere else.
func (p *Project) Backups(ctx context.Context, o BackupOptions) (*backup.Store, error) {
	if err := p.Backup.Unset(); err != nil {
		return nil, err
	}
	recipients, identities, err := backup.Keys(string(p.Backup.Encrypt.Key), p.Backup.Encrypt.Recipients)
	if err != nil {
		return nil, err
	}
	p.boundHeap()
	format := p.Backup.Format
	if o.Format != "" {
		format = o.Format
	}
	return backup.Open(ctx, p.backups, backup.Options{
		Format: format, Recipients: recipients, Identities: identities, S3: p.Backup.S3(), Log: o.Log, Probe: o.Probe,
	})
}

// CreateBackups makes a backup of each database, side by side. One that fails, or is of a kind that cannot be backed up, does not keep the
// others from theirs: its result says why. One that cannot be reached is tried once more. The error is of what keeps all of them from
// being made.
func (p *Project) CreateBackups(ctx context.Context, o BackupOptions) ([]BackupResult, error) {
	store, err := p.Backups(ctx, o)
	if err != nil {
		return nil, err
	}
	parts, err := p.databases(ctx, o.Sources)
	if err != nil {
		return nil, err
	}
	out := make([]BackupResult, len(parts))
	var making sync.WaitGroup
	for i, part := range parts {
		out[i].Source = part.Name
		making.Go(func() {
			r := &out[i]
			r.Err = p.createBackup(ctx, store, part, o, backup.CreateOptions{Tables: o.Tables, Progress: o.Progress.of(part.Name)}, r)
			if r.Err != nil {
				r.Error = r.Err.Error()
			}
		})
	}
	making.Wait()
	if with := slices.DeleteFunc(slices.Clone(out), func(r BackupResult) bool { return errors.Is(r.Err, sources.ErrNoTables) }); len(o.Tables) > 0 && len(with) > 0 {
		return with, nil // a table is in one database, and nobody asked the others
	}
	return out, nil
}

// createBackup makes the backup of one database. What may pass, such as tables that were changed while they were locked, is tried once more.
func (p *Project) createBackup(ctx context.Context, store *backup.Store, part *SourcePart, o BackupOptions, how backup.CreateOptions, r *BackupResult) error {
	if part.Plugin.Items {
		return cannotBackUp(part)
	}
	return part.lend(ctx, p.hostOf(part, o.Log), func(s sources.Source) error {
		if _, can := s.(sources.Snapshotter); !can {
			return cannotBackUp(part)
		}
		if err := reach(ctx, s, func() { r.Attempts++ }); err != nil {
			return err
		}
		for tried := 0; ; tried++ {
			made, err := store.Create(ctx, backup.Database{Name: part.Name, Source: s}, how)
			if err == nil || tried > 0 || fault.Of(err) != fault.Retryable || ctx.Err() != nil {
				r.Backup = made
				return err
			}
		}
	})
}

func cannotBackUp(part *SourcePart) error {
	return &fault.Error{
		Code: "ACQ-BACKUP-008", Place: part.Name, Err: fmt.Errorf("a source of type %s cannot be backed up", part.Plugin.Type),
		Remedy: "back it up with the tools of its server, and name the sources that can be under backup.sources",
	}
}

// hostOf is what a source is lent that reads no lane.
func (p *Project) hostOf(part *SourcePart, log *slog.Logger) sources.Host {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return sources.Host{Pipeline: part.Name, Log: log.With(slog.String("source", part.Name))}
}

// databases gives the sources that are backed up: those that are named, those of the settings, or every database that pipelines read, also
// one of a kind that cannot be backed up: nobody may take it for kept.
func (p *Project) databases(ctx context.Context, named []string) ([]*SourcePart, error) {
	explicit := named
	if len(explicit) == 0 {
		explicit = p.Backup.Sources
	}
	var out []*SourcePart
	for _, name := range explicit {
		part, err := p.source(name)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	if len(explicit) > 0 {
		return out, nil
	}
	for _, d := range p.Pipelines {
		if d.Source == nil || slices.Contains(out, d.Source) {
			continue
		}
		is, err := p.isDatabase(ctx, d.Source)
		if err != nil {
			return nil, err
		}
		if is {
			out = append(out, d.Source)
		}
	}
	if len(out) == 0 {
		return nil, &fault.Error{
			Code: "ACQ-BACKUP-008", Place: "sources", Err: errors.New("no pipeline here reads a database that can be backed up"), Remedy: "name a file whose pipelines do",
		}
	}
	return out, nil
}

// isDatabase says whether a source is one: its plugin says so, or it can be backed up.
func (p *Project) isDatabase(ctx context.Context, part *SourcePart) (is bool, err error) {
	if part.Plugin.Server != "" || part.Plugin.Items {
		return part.Plugin.Server != "", nil
	}
	err = part.lend(ctx, p.hostOf(part, nil), func(s sources.Source) error {
		_, is = s.(sources.Snapshotter)
		return nil
	})
	return is, err
}

// source finds a declared source.
func (p *Project) source(name string) (*SourcePart, error) {
	known := make([]string, len(p.sources))
	for i, part := range p.sources {
		if part.Name == name {
			return part, nil
		}
		known[i] = part.Name
	}
	return nil, &fault.Error{
		Code: "ACQ-USE-067", Place: name, Err: errors.New("there is no source of this name"), Remedy: "use one of: " + strings.Join(known, ", "),
	}
}

// RestoreOptions say what is made again, and where.
type RestoreOptions struct {
	BackupOptions
	ID   string        // backup.Latest is the newest
	Into string        // the name of a source; "": the one that the backup is of
	DSN  config.Secret // another database than that source's; "": its own
	// Choose says which tables; nil: all.
	Choose func(table string) (bool, error)
}

// Restore makes a backup again in a database that has none of its tables.
func (p *Project) Restore(ctx context.Context, f backup.Filter, o RestoreOptions) (out *backup.Restored, err error) {
	store, err := p.Backups(ctx, o.BackupOptions)
	if err != nil {
		return nil, err
	}
	into := o.Into
	if into == "" {
		b, err := store.Get(ctx, o.ID, f)
		if err != nil {
			return nil, err
		}
		into = b.Source
	}
	part, err := p.source(into)
	if err != nil {
		return nil, err
	}
	if part, err = part.elsewhere(o.DSN); err != nil {
		return nil, err
	}
	err = part.lend(ctx, p.hostOf(part, o.Log), func(s sources.Source) (err error) {
		out, err = store.Restore(ctx, o.ID, f, backup.Database{Name: part.Name, Source: s}, backup.RestoreOptions{Choose: o.Choose, Progress: o.Progress.of(part.Name)})
		return err
	})
	return out, err
}

// elsewhere gives the source with another database; "" is its own.
func (s *SourcePart) elsewhere(dsn config.Secret) (*SourcePart, error) {
	if dsn == "" {
		return s, nil
	}
	e, ok := s.Settings.(interface{ Elsewhere(dsn config.Secret) any })
	if !ok {
		return nil, &fault.Error{
			Code: "ACQ-BACKUP-008", Place: s.Name, Err: fmt.Errorf("a source of type %s cannot be sent to another database", s.Plugin.Type), Remedy: "name a source that is a database",
		}
	}
	other := *s
	other.Settings = e.Elsewhere(dsn)
	return &other, nil
}

// VerifyBackup reads all of a backup, and compares it with the database that it is of if that is asked for.
func (p *Project) VerifyBackup(ctx context.Context, id string, f backup.Filter, against bool, o BackupOptions) (out *backup.Verified, err error) {
	store, err := p.Backups(ctx, o)
	if err != nil {
		return nil, err
	}
	b, err := store.Get(ctx, id, f)
	if err != nil {
		return nil, err
	}
	verify := backup.VerifyOptions{Progress: o.Progress.of(b.Source)}
	if !against {
		return store.Verify(ctx, b.ID, f, verify)
	}
	part, err := p.source(b.Source)
	if err != nil {
		return nil, err
	}
	err = part.lend(ctx, p.hostOf(part, o.Log), func(s sources.Source) (err error) {
		verify.Against = &backup.Database{Name: part.Name, Source: s}
		out, err = store.Verify(ctx, b.ID, f, verify)
		return err
	})
	return out, err
}

// PruneBackups removes what the rules do not keep.
func (p *Project) PruneBackups(ctx context.Context, dry bool, o BackupOptions) (*backup.Pruned, error) {
	store, err := p.Backups(ctx, o)
	if err != nil {
		return nil, err
	}
	k := p.Backup.Keep
	return store.Prune(ctx, backup.PruneOptions{Keep: backup.Keep{Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly}, Dry: dry})
}

// BackupProgress is how far the databases of a run are. It may be asked while they are read.
type BackupProgress struct {
	mu    sync.Mutex
	names []string
	by    map[string]*backup.Progress
}

// of gives that of a source; none where nobody asks.
func (p *BackupProgress) of(source string) *backup.Progress {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[string]*backup.Progress{}
	}
	if p.by[source] == nil {
		p.by[source] = &backup.Progress{}
		p.names = append(p.names, source)
	}
	return p.by[source]
}

// Status tells it as that of pipelines: a source is one, and a table a lane.
func (p *BackupProgress) Status() []routers.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]routers.Status, len(p.names))
	for i, name := range p.names {
		s := routers.Status{Pipeline: name, State: routers.Running}
		for _, t := range p.by[name].Tables() {
			lane := routers.LaneStatus{ID: t.Table, Streams: []string{t.Table}, State: routers.Running, Progress: routers.Progress{RowsRead: t.Rows, BytesRead: t.Bytes}}
			switch {
			case t.Parts <= 0:
				lane.State = routers.Ended
			case !t.Begun:
				lane.State = routers.Waiting
			}
			s.RowsRead, s.BytesRead = s.RowsRead+t.Rows, s.BytesRead+t.Bytes
			s.Lanes = append(s.Lanes, lane)
		}
		out[i] = s
	}
	return out
}

// Expected gives the rows that tables are estimated to have.
func (p *BackupProgress) Expected() Expected {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := Expected{}
	for name, of := range p.by {
		out[name] = map[string]int64{}
		for _, t := range of.Tables() {
			if t.Expected >= 0 {
				out[name][t.Table] = t.Expected
			}
		}
	}
	return out
}
