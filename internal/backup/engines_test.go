package backup_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/backup"
)

// engine is a kind of database, with one of it that is filled.
type engine struct {
	from  func(t *testing.T) backup.Database
	want  []string // all that it holds, as its server tells it
	empty func(t *testing.T) (into backup.Database, holds func() []string)
}

// engines fills a database of each kind. Their keys are those of backups.
func engines(t *testing.T) map[string]engine {
	t.Helper()
	people, rooms, movies := shop(t), maria.Database(t, cinemaSQL(t)...), films(t)
	return map[string]engine{
		"postgresql": {
			from: func(t *testing.T) backup.Database { t.Helper(); return database(t, people) }, want: contents(t, people),
			empty: func(t *testing.T) (backup.Database, func() []string) {
				t.Helper()
				to := server.Database(t)
				return database(t, to), func() []string { return contents(t, to) }
			},
		},
		"mysql": {
			from: func(t *testing.T) backup.Database { t.Helper(); return onMaria(t, rooms) }, want: standsIn(t, rooms),
			empty: func(t *testing.T) (backup.Database, func() []string) {
				t.Helper()
				to := maria.Database(t)
				return onMaria(t, to), func() []string { return renamed(standsIn(t, to), to, rooms) }
			},
		},
		"mongodb": {
			from: func(t *testing.T) backup.Database { t.Helper(); return onMongo(t, movies.Name()) }, want: stored(t, movies),
			empty: func(t *testing.T) (backup.Database, func() []string) {
				t.Helper()
				to := mongo.Database(t)
				return onMongo(t, to.Name()), func() []string { return stored(t, to) }
			},
		},
	}
}

// renamed gives what a database of MariaDB holds as if it were another: a sequence is of its own database.
func renamed(lines []string, name, other string) []string {
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(line, "nextval(`"+name+"`.", "nextval(`"+other+"`.")
	}
	return lines
}
