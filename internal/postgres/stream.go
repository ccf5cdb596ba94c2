package postgres

import (
	"context"
)

// StreamOptions say when StreamInto hands on.
type StreamOptions struct {
	Lead  int                         // the first expressions of the select list that are no columns
	Leads func(values [][]byte) error // given those of each row, valid for the call only
	Rows  int                         // Full is called at so many rows
	Bytes int                         // or at so many bytes
	Full  func() error                // takes the batches
}

// Stream runs one statement and hands the values of each row to row, in binary and in place: they are valid for the call only. Its
// arguments are text; the SQL casts them.
func (c *Conn) Stream(ctx context.Context, sql string, args []string, row func(values [][]byte) error) error {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := c.PgConn().ExecParams(ctx, sql, params, nil, nil, []int16{1})
	for result.NextRow() {
		if err := row(result.Values()); err != nil {
			_, _ = result.Close()
			return err
		}
	}
	_, err := result.Close()
	return Explain(err, "read rows", c.Config().Database)
}

// StreamInto is Stream into a decoder.
func (c *Conn) StreamInto(ctx context.Context, sql string, args []string, d *Decoder, o StreamOptions) error {
	return c.Stream(ctx, sql, args, func(values [][]byte) error {
		if o.Lead > 0 && o.Leads != nil {
			if err := o.Leads(values[:o.Lead]); err != nil {
				return err
			}
		}
		if err := d.Binary(values[o.Lead:]); err != nil {
			return err
		}
		if o.Full != nil && (o.Rows > 0 && d.Rows() >= o.Rows || o.Bytes > 0 && d.Bytes() >= o.Bytes) {
			return o.Full()
		}
		return nil
	})
}
