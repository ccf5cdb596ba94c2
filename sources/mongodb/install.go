package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Installer = (*Source)(nil)

// indexName is the index on the field of times that capture install makes.
func (s *Source) indexName() string { return "acequia_" + s.config.Capture.Column }

// A statement is a command of the database as mongosh takes it.
const (
	commandBegins = "db.runCommand("
	commandEnds   = ")"
)

// installing writes a statement.
func installing(c *collection, why string, doc bson.D) (sources.Statement, error) {
	text, err := bson.MarshalExtJSON(doc, false, false)
	return sources.Statement{SQL: commandBegins + string(text) + commandEnds, Why: why, Table: c.Name}, err
}

// Install gives the commands that are still to be run for a strategy: time has an index on its field, and log keeps what documents were, so
// that a delete tells it.
func (s *Source) Install(ctx context.Context, r sources.InstallRequest) (all []sources.Statement, err error) {
	if r.Strategy != byTime && r.Strategy != byLog {
		return nil, &fault.Error{Code: "ACQ-MG-041", Err: fmt.Errorf("there is nothing to install for strategy %q", r.Strategy), Remedy: "say time or log"}
	}
	err = s.ofCollections(ctx, r.Tables, func(c *collection, m means) error {
		var one sources.Statement
		var err error
		switch {
		case r.Strategy == byLog && !m.logged:
			lack := s.lacks(m, byLog)
			return &fault.Error{Class: fault.Fatal, Code: unfitCode, Place: c.Name, Err: fmt.Errorf("strategy %s cannot be had: %s", byLog, lack.Reason), Remedy: lack.Remedy}
		case r.Strategy == byLog && !c.Past:
			one, err = installing(c, "a delete tells what the document was; the server keeps that for as long as its log", bson.D{
				{Key: "collMod", Value: c.Name}, {Key: "changeStreamPreAndPostImages", Value: bson.D{{Key: "enabled", Value: true}}},
			})
		case r.Strategy == byTime && !m.indexed:
			one, err = installing(c, "polls find what was changed without reading all", bson.D{{Key: "createIndexes", Value: c.Name}, {Key: "indexes", Value: bson.A{bson.D{
				{Key: "key", Value: bson.D{{Key: s.config.Capture.Column, Value: 1}, {Key: "_id", Value: 1}}}, {Key: "name", Value: s.indexName()},
			}}}})
		default:
			return nil
		}
		all = append(all, one)
		return err
	})
	return all, err
}

// Uninstall gives the commands that take the index away that Install makes. That documents are kept as they were is left: others may
// read it.
func (s *Source) Uninstall(ctx context.Context, r sources.InstallRequest) (all []sources.Statement, err error) {
	if r.Strategy != byTime && r.Strategy != "" {
		return nil, &fault.Error{Code: "ACQ-MG-041", Err: fmt.Errorf("there is nothing to uninstall for strategy %q", r.Strategy), Remedy: "say time"}
	}
	err = s.ofCollections(ctx, r.Tables, func(c *collection, m means) error {
		if !m.ours {
			return nil
		}
		one, err := installing(c, "polls do not need it any more", bson.D{{Key: "dropIndexes", Value: c.Name}, {Key: "index", Value: s.indexName()}})
		all = append(all, one)
		return err
	})
	return all, err
}

// Apply runs commands.
func (s *Source) Apply(ctx context.Context, statements []sources.Statement, done func(sources.Statement)) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	for _, one := range statements {
		text, begins := strings.CutPrefix(one.SQL, commandBegins)
		text, ends := strings.CutSuffix(text, commandEnds)
		var doc bson.D
		if err := bson.UnmarshalExtJSON([]byte(text), false, &doc); err != nil || !begins || !ends {
			return fault.Stop(fmt.Errorf("mongodb: %q is no command that Install gave", one.SQL))
		}
		if err := db.RunCommand(ctx, doc).Err(); err != nil {
			return mongodb.Explain(err, one.SQL, one.Table)
		}
		if done != nil {
			done(one)
		}
	}
	return nil
}

// Installed says how each collection can be followed, and is.
func (s *Source) Installed(ctx context.Context) (all []sources.Installed, err error) {
	err = s.ofCollections(ctx, nil, func(c *collection, m means) error {
		known, err := s.load(ctx, c)
		if err != nil {
			return err
		}
		one := sources.Installed{Table: c.Name, Stream: c.Name}
		for _, strategy := range ranking {
			if missing := s.lacks(m, strategy); missing != nil {
				one.Missing = append(one.Missing, *missing)
			} else {
				one.Ready = append(one.Ready, strategy)
			}
		}
		if known {
			c.indexed, one.Strategy = m.indexed, c.note.Strategy
			one.Risks = s.risks(c, m.logged)
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// ofCollections does something with the collections that patterns choose among those of the settings; none: all of them.
func (s *Source) ofCollections(ctx context.Context, patterns []string, do func(*collection, means) error) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	server, err := db.Inspect(ctx)
	if err != nil {
		return err
	}
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return err
	}
	chosen := 0
	for _, f := range found {
		if len(patterns) > 0 {
			in, err := mongodb.Matches(patterns, f.Name)
			if err != nil {
				return err
			}
			if !in {
				continue
			}
		}
		chosen++
		c := &collection{Collection: f}
		m, err := s.means(ctx, db, server, c)
		if err == nil {
			err = do(c, m)
		}
		if err != nil {
			return err
		}
	}
	if chosen == 0 && len(patterns) > 0 {
		return &fault.Error{Code: "ACQ-MG-042", Place: s.config.Database, Err: errors.New("no collection is chosen"), Remedy: "look at collections, and at --tables"}
	}
	return nil
}
