package postgres

import (
	"database/sql"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// idleTransaction is how long a transaction of a pool may wait for its next statement.
const idleTransaction = 4 * time.Second

// Pool gives connections for small statements, whose names are those of a schema first. place names the server and the database, for
// errors. Nothing is connected to yet.
func Pool(o Options, schema string, most int) (db *sql.DB, place string, err error) {
	cfg, err := configure(o)
	if err != nil {
		return nil, "", err
	}
	cfg.RuntimeParams["search_path"] = schema
	// A process that was frozen in a transaction must not keep its locks: others go on with its work.
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idleTransaction.Milliseconds(), 10)
	db = stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most / 2)
	return db, cfg.Host + "/" + cfg.Database, nil
}
