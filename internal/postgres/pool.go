package postgres

import (
	"database/sql"

	"github.com/jackc/pgx/v5/stdlib"
)

// Pool gives connections for small statements, whose names are those of a schema first. place names the server and the database, for
// errors. Nothing is connected to yet.
func Pool(o Options, schema string, most int) (db *sql.DB, place string, err error) {
	cfg, err := configure(o)
	if err != nil {
		return nil, "", err
	}
	cfg.RuntimeParams["search_path"] = schema
	db = stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most / 2)
	return db, cfg.Host + "/" + cfg.Database, nil
}
