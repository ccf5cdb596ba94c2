package config

import (
	"fmt"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// The kinds of state.
const (
	StateSQLite   = "sqlite"
	StatePostgres = "postgres"
	StateDynamoDB = "dynamodb"
)

// State says where what the pipelines know between runs is kept.
type State struct {
	Folder string             `yaml:"folder,scalar" doc:"Folder of the state, and of what is this process's alone; default .acequia beside the file. It may stand in place of the mapping."`
	Type   string             `yaml:"type" enum:"sqlite,postgres,dynamodb" doc:"sqlite (default): a file in the folder, which one process has; postgres: a database, and dynamodb: a table, by which several processes share the work (docs/REPLICAS.md)."`
	DSN    Secret             `yaml:"dsn" doc:"Of postgres: the database, postgres://user:password@host/database; its schema acequia_state is made at the first start."`
	Table  string             `yaml:"table" doc:"Of dynamodb: the table, which acequia setup apply makes; no other state may have it."`
	AWS    awsconfig.Settings `yaml:"aws" doc:"Of dynamodb: where it is."`
}

// state checks what is said of the state.
func (l *linter) state(s *State) {
	key, n, ok := l.file.root.find(nil, []string{"state"})
	if !ok || n.broken || n.kind != mapping {
		return
	}
	for _, of := range []struct{ kind, key, example string }{
		{StatePostgres, "dsn", "write dsn: ${env:ACEQUIA_STATE_DSN}"},
		{StateDynamoDB, "table", "write table: acequia-state"},
		{StateDynamoDB, "aws", ""},
	} {
		_, at, has := n.find(n, []string{of.key})
		switch {
		case s.Type == of.kind && !has && of.example != "":
			l.problem(key, CodeMissing, of.example, "a state of type %s has no %s", of.kind, of.key)
		case s.Type != of.kind && has:
			l.problem(at, CodeWrong, fmt.Sprintf("write type: %s, or leave %s out", of.kind, of.key), "a state of another type has no %s", of.key)
		}
	}
}
