package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// LaneStand is where a lane stands.
type LaneStand struct {
	Pipeline string    `json:"pipeline"`
	Lane     string    `json:"lane"`
	Stream   string    `json:"stream"` // what stands before the @ of a table's lane; else the lane
	Epoch    int64     `json:"epoch"`
	Group    int64     `json:"group"` // the last that is visible
	Rows     int64     `json:"rows"`  // visible since the lane began
	Ended    bool      `json:"ended"`
	Pending  bool      `json:"pending"`  // a group has its intent, and not yet its checkpoint
	Position string    `json:"position"` // as the source writes it; quoted where it is no text
	Saved    time.Time `json:"saved,omitzero"`
}

// Lanes tells where the lanes of the named pipeline stand, or those of all for "". A process that runs them is not disturbed.
func (p *Project) Lanes(ctx context.Context, pipeline string) (out []LaneStand, err error) {
	chosen, err := p.chosen(pipeline)
	if err != nil {
		return nil, err
	}
	store, err := p.StatePlace().OpenToRead(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, d := range chosen {
		lanes, err := store.Lanes(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		for _, l := range lanes {
			stand := LaneStand{
				Pipeline: d.Name, Lane: l.ID, Stream: l.ID, Epoch: l.Epoch, Group: l.Group, Rows: l.Rows, Ended: l.Ended, Pending: l.Pending != nil,
				Position: string(l.Position), Saved: l.SavedAt,
			}
			if at := strings.LastIndexByte(l.ID, '@'); at > 0 {
				stand.Stream = l.ID[:at]
			}
			if !utf8.ValidString(stand.Position) {
				stand.Position = fmt.Sprintf("%q", stand.Position)
			}
			out = append(out, stand)
		}
	}
	return out, nil
}
