package config

// The kinds of state.
const (
	StateSQLite   = "sqlite"
	StatePostgres = "postgres"
)

// State says where what the pipelines know between runs is kept.
type State struct {
	Folder string `yaml:"folder,scalar" doc:"Folder of the state, and of what is this process's alone; default .acequia beside the file. It may stand in place of the mapping."`
	Type   string `yaml:"type" enum:"sqlite,postgres" doc:"sqlite (default): a file in the folder, which one process has; postgres: a database, by which several processes share the work (docs/REPLICAS.md)."`
	DSN    Secret `yaml:"dsn" doc:"Of postgres: the database, postgres://user:password@host/database; its schema acequia_state is made at the first start."`
}

// state checks what is said of the state.
func (l *linter) state(s *State) {
	key, n, ok := l.file.root.find(nil, []string{"state"})
	if !ok || n.broken || n.kind != mapping {
		return
	}
	_, dsn, has := n.find(n, []string{"dsn"})
	switch {
	case s.Type == StatePostgres && !has:
		l.problem(key, CodeMissing, "write dsn: ${env:ACEQUIA_STATE_DSN}", "a state of type postgres has no dsn")
	case s.Type != StatePostgres && has:
		l.problem(dsn, CodeWrong, "write type: postgres, or leave the dsn out", "a state file has no dsn")
	}
}
