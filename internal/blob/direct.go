package blob

import "context"

// Begin opens a new file that counts only when something else names it, so that it need not be staged: in a directory it has its name from
// the start, in S3 it has it from End on.
func Begin(ctx context.Context, b Bucket, name string) (*File, error) {
	if d, ok := b.(*Dir); ok {
		f, err := d.Create(name)
		if err == nil {
			f.Final = name
		}
		return f, err
	}
	return b.Stage(ctx, name, name)
}

// End puts it there; the file must not be used any more. In a directory its name is durable after SyncFolder.
func End(ctx context.Context, b Bucket, f *File) error {
	if err := f.seal(ctx); err != nil {
		return err
	}
	if _, ok := b.(*Dir); ok {
		return nil
	}
	return b.Publish(ctx, []Publication{f.Publication()})
}
