package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/acequia-io/acequia/fault"
)

// Explain classifies an error of the server or of the connection: class, code ACQ-PG-0xx, place and remedy. doing is what was
// tried, such as "read rows"; place is the table, database or host. A cancelled context and what is explained already stay as they are.
func Explain(err error, doing, place string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, done := errors.AsType[*fault.Error](err); done {
		return err
	}
	e := &fault.Error{Class: fault.Fatal, Code: codeServer, Place: place, Err: fmt.Errorf("%s: %w", doing, err)}
	pg, fromServer := errors.AsType[*pgconn.PgError](err)
	switch {
	case fromServer:
		explainServer(e, pg, place)
	case isTLS(err):
		e.Code, e.Remedy = codeTLS, "look at sslmode and sslrootcert of the dsn, and at ssl of the server"
	case isConnection(err):
		e.Class, e.Code, e.Remedy = fault.Retryable, codeConnection, "it is tried again; look whether the server runs and listens there"
	}
	return e
}

// isTLS says whether the two ends do not agree on encryption.
func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, header := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return verification || header || alert || authority || strings.Contains(err.Error(), "server refused TLS connection")
}

// isConnection says whether the connection failed, which another may not.
func isConnection(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	return network || connect || pgconn.Timeout(err) || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// explanation is what a code of the server means here (https://www.postgresql.org/docs/15/errcodes-appendix.html).
type explanation struct {
	class  fault.Class
	code   string
	remedy string
}

// explanations are by SQLSTATE, or by its class, the first two characters.
var explanations = map[string]explanation{ //nolint:gochecknoglobals // a constant table
	"08":    {fault.Retryable, codeConnection, "it is tried again"},
	"08P01": {fault.Fatal, codeServer, "connect to the server itself: a pooler such as PgBouncer does not take the settings of the session"},
	"28":    {fault.Fatal, codeLogin, "look at user and password of the dsn (or PGPASSWORD, PGPASSFILE), and at pg_hba.conf of the server"},
	"3D000": {fault.Fatal, codeDatabase, "look at the database of the dsn"},
	"57P01": {fault.Retryable, codeConnection, "the server is shutting down; it is tried again"},
	"57P02": {fault.Retryable, codeConnection, "the server has crashed; it is tried again"},
	"57P03": {fault.Retryable, codeConnection, "the server is starting; it is tried again"},
	"57P04": {fault.Fatal, codeDatabase, "the database was dropped"},
	"57P05": {fault.Retryable, codeConnection, "it is tried again"},
	"25P03": {fault.Retryable, codeConnection, "it is tried again"},
	"53300": {fault.Retryable, codeConnections, "read with fewer connections (parallel), or raise max_connections of the server or CONNECTION LIMIT of the role"},
	"53":    {fault.Retryable, codeServer, "the server is short of memory, disk or another resource; it is tried again"},
	"57014": {fault.Retryable, codeTimeout, "raise statement_timeout of the source, or read in smaller pieces"},
	"55P03": {fault.Retryable, codeLock, "another session holds the lock, such as an ALTER TABLE; it is tried again"},
	"72":    {fault.Retryable, codeServer, "a snapshot became older than the server's old_snapshot_threshold; it is tried again"},
	"40":    {fault.Retryable, codeServer, "it is tried again"},
	"58":    {fault.Retryable, codeServer, "the server could not read its files; it is tried again"},
	"42P01": {fault.Retryable, codeGone, "the table was dropped or renamed; the tables are looked up anew"},
	"42703": {fault.Retryable, codeGone, "the column was dropped or renamed; the table is looked up anew"},
	"3F000": {fault.Retryable, codeGone, "the schema was dropped or renamed; the tables are looked up anew"},
	"0A000": {fault.Fatal, codeServer, ""},
	"55000": {fault.Fatal, codeServer, "a materialized view that was never filled needs REFRESH MATERIALIZED VIEW"},
	"25006": {fault.Fatal, codeServer, "this is a standby or a read-only session: connect to the primary"},
}

func explainServer(e *fault.Error, pg *pgconn.PgError, place string) {
	x, ok := explanations[pg.Code]
	if !ok && len(pg.Code) == 5 {
		x, ok = explanations[pg.Code[:2]]
	}
	switch {
	case pg.Code == "42501":
		e.Code, e.Remedy = codeRights, grant(pg.Message, place)
	case pg.Code == "08P01" && !strings.Contains(pg.Message, "startup parameter"):
		e.Class, e.Code = fault.Retryable, codeConnection
	case pg.Code == "57014" && !strings.Contains(pg.Message, "timeout"):
		e.Class, e.Code, e.Remedy = fault.Retryable, codeTimeout, "somebody cancelled the statement; it is tried again"
	case pg.Code == "28000" && strings.Contains(pg.Message, "pg_hba.conf"):
		e.Code, e.Remedy = codeLogin, "let this host in with a line of pg_hba.conf, and reload the server"
	case ok:
		e.Class, e.Code, e.Remedy = x.class, x.code, x.remedy
	}
}

// denied reads what the server says of a right that is missing.
var denied = regexp.MustCompile(`(?i)^permission denied for (\w+(?: \w+)*?) ("?[^ ]+"?)$`)

// grant names the statement that gives the missing right.
func grant(message, place string) string {
	const role = " TO the role of the dsn"
	lower := strings.ToLower(message)
	switch {
	case strings.Contains(lower, "row-level security"):
		return "ALTER ROLE the role of the dsn BYPASSRLS: a policy would hide rows, and nothing would say so"
	case strings.Contains(lower, "replication"):
		return "ALTER ROLE the role of the dsn REPLICATION (on RDS: GRANT rds_replication" + role + ")"
	}
	m := denied.FindStringSubmatch(message)
	if m == nil {
		return "ask the owner for the right that the message names"
	}
	object := m[2]
	switch strings.ToLower(m[1]) {
	case "table", "view", "materialized view", "foreign table", "relation":
		if strings.HasPrefix(place, `"`) {
			object = place // with its schema
		}
		return "GRANT SELECT ON " + object + role
	case "schema":
		return "GRANT USAGE ON SCHEMA " + object + role
	case "database":
		return "GRANT CONNECT ON DATABASE " + object + role
	case "function":
		return "GRANT EXECUTE ON FUNCTION " + object + role
	case "sequence":
		return "GRANT SELECT ON SEQUENCE " + object + role
	}
	return "ask the owner for the right that the message names"
}

// explainDSN names the part of a dsn that cannot be read, and shows nothing of it: what surrounds a mistake may be the password.
func explainDSN(err error) error {
	reason := errors.New("it is neither postgres://user:password@host:port/database nor key=value pairs as libpq takes them")
	text := err.Error()
	for _, part := range []string{"sslmode", "port", "sslrootcert", "CA file", "sslcert", "service", "connect_timeout", "target_session_attrs", "channel_binding"} {
		if strings.Contains(text, "invalid "+part) || strings.Contains(text, part+" is invalid") || strings.Contains(text, "unable to read "+part) {
			reason = fmt.Errorf("its %s cannot be used", part)
		}
	}
	return &fault.Error{
		Class: fault.Fatal, Code: codeDSN, Place: "dsn", Err: reason,
		Remedy: "characters such as @ : / in a password of a URL are written %40 %3A %2F",
	}
}

// Forbidden is the error of rights that are missing; the grants are the statements that give them.
func Forbidden(place string, err error, grants []string) error {
	return &fault.Error{Class: fault.Fatal, Code: codeRights, Place: place, Err: err, Remedy: strings.Join(grants, "; ")}
}
