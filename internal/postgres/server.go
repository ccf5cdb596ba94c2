package postgres

import (
	"context"
)

// Server is what the server says of itself and of the role that asks.
type Server struct {
	Version      int    // such as 150018
	System       string // system_identifier: another one is another server
	Timeline     int
	Database     string
	User         string
	WALLevel     string
	Encoding     string // server_encoding
	Standby      bool
	ReadAllStats bool // the role sees the transactions of others
	Replication  bool // the role may replicate
	Superuser    bool
	MaxPrepared  int // max_prepared_transactions
	MaxSlots     int // max_replication_slots
	MaxSenders   int // max_wal_senders
	SlotKeepMB   int // max_slot_wal_keep_size in megabytes; -1: without limit
}

// Inspect asks the server. A server that was promoted tells its timeline by the names of its WAL files at once, and by its control file
// when its first checkpoint is done.
func Inspect(ctx context.Context, c *Conn) (Server, error) {
	var s Server
	err := c.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int, current_database()::text, current_user::text, current_setting('wal_level'),
			current_setting('server_encoding'), pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
			r.rolreplication OR r.rolsuper, r.rolsuper, current_setting('max_prepared_transactions')::int,
			current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int,
			(SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
			(SELECT system_identifier::text FROM pg_control_system()), CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
				ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
		FROM pg_roles r WHERE r.rolname = current_user`).Scan(
		&s.Version, &s.Database, &s.User, &s.WALLevel, &s.Encoding, &s.Standby, &s.ReadAllStats, &s.Replication, &s.Superuser,
		&s.MaxPrepared, &s.MaxSlots, &s.MaxSenders, &s.SlotKeepMB, &s.System, &s.Timeline)
	return s, Explain(err, "ask the server for its settings", c.Config().Host)
}
