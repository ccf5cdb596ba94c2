package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/acequia-io/acequia/fault"
)

// Explain classifies an error of the server or of the connection: class, code ACQ-MY-0xx, place and remedy. doing is what was
// tried, such as "read rows"; place is the table, database or host. A cancelled context and what is explained already stay as they are.
func Explain(err error, doing, place string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, done := errors.AsType[*fault.Error](err); done {
		return err
	}
	e := &fault.Error{Class: fault.Fatal, Code: codeServer, Place: place, Err: fmt.Errorf("%s: %w", doing, err)}
	said, fromServer := errors.AsType[*mysql.MyError](err)
	switch {
	case fromServer:
		if x, ok := explanations[said.Code]; ok {
			e.Class, e.Code, e.Remedy = x.class, x.code, x.remedy
		}
	case isTLS(err):
		e.Code, e.Remedy = codeTLS, "look at tls and ca of the dsn, and at ssl_cert of the server"
	case isConnection(err):
		e.Class, e.Code, e.Remedy = fault.Retryable, codeConnection, "it is tried again; look whether the server runs and listens there"
	}
	return e
}

// Said gives the number of an error of the server; 0: it is none.
func Said(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MyError](err); ok {
		return e.Code
	}
	return 0
}

// isTLS says whether the two ends do not agree on encryption.
func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, header := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return verification || header || alert || authority || noTLS(err)
}

// noTLS says whether the server has no encryption.
func noTLS(err error) bool {
	return strings.Contains(err.Error(), "the MySQL Server does not support TLS")
}

// isConnection says whether the connection failed, which another may not.
func isConnection(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, mysql.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), mysql.ErrBadConn.Error())
}

// explanation is what an error of the server means here (https://mariadb.com/kb/en/mariadb-error-code-reference/).
type explanation struct {
	class  fault.Class
	code   string
	remedy string
}

const again = "it is tried again"

// explanations are by the number of the error.
var explanations = map[uint16]explanation{ //nolint:gochecknoglobals // a constant table
	1040: {fault.Retryable, codeConnections, "read with fewer connections (parallel), or raise max_connections of the server"},
	1203: {fault.Retryable, codeConnections, "read with fewer connections (parallel), or raise MAX_USER_CONNECTIONS of the user"},
	1226: {fault.Retryable, codeConnections, "raise the limits of the user (MAX_USER_CONNECTIONS and so on)"},
	1045: {fault.Fatal, codeLogin, "look at user and password of the dsn, and at the hosts that the user may come from"},
	1130: {fault.Fatal, codeLogin, "the server lets no user of this host in: CREATE USER ... @'host'"},
	1698: {fault.Fatal, codeLogin, "the user is identified by the system's user, not by a password: make another one"},
	1251: {fault.Fatal, codeLogin, "the server wants another way to log in"},
	1820: {fault.Fatal, codeLogin, "the password of the user has expired"},
	1862: {fault.Fatal, codeLogin, "the password of the user has expired"},
	1044: {fault.Fatal, codeRights, "GRANT SELECT ON the database TO the user of the dsn"},
	1142: {fault.Fatal, codeRights, "GRANT the right that the message names, on the table, TO the user of the dsn"},
	1143: {fault.Fatal, codeRights, "GRANT the right that the message names, on the whole table, TO the user of the dsn"},
	1227: {fault.Fatal, codeRights, "GRANT the right that the message names ON *.* TO the user of the dsn"},
	1370: {fault.Fatal, codeRights, "GRANT EXECUTE TO the user of the dsn"},
	1419: {fault.Fatal, codeRights, "GRANT SUPER, or set log_bin_trust_function_creators = 1: else no trigger can be made while the server has a log"},
	1356: {fault.Fatal, codeRights, "the view names what is not there, or what its definer may not read"},
	1049: {fault.Fatal, codeDatabase, "look at the database of the dsn"},
	1205: {fault.Retryable, codeLock, "another session holds the lock, such as an ALTER TABLE; it is tried again"},
	1213: {fault.Retryable, codeLock, again},
	1412: {fault.Retryable, codeGone, "the table was altered; it is looked up anew"},
	1146: {fault.Retryable, codeGone, "the table was dropped or renamed; the tables are looked up anew"},
	1054: {fault.Retryable, codeGone, "the column was dropped or renamed; the table is looked up anew"},
	1317: {fault.Retryable, codeTimeout, "somebody cancelled the statement; it is tried again"},
	1969: {fault.Retryable, codeTimeout, "raise max_statement_time of the user"},
	3024: {fault.Retryable, codeTimeout, "raise max_execution_time of the user"},
	1053: {fault.Retryable, codeConnection, "the server is shutting down; it is tried again"},
	1077: {fault.Retryable, codeConnection, "the server is shutting down; it is tried again"},
	1927: {fault.Retryable, codeConnection, "somebody ended the connection; it is tried again"},
	1152: {fault.Retryable, codeConnection, again}, 1158: {fault.Retryable, codeConnection, again}, 1159: {fault.Retryable, codeConnection, again},
	1160: {fault.Retryable, codeConnection, again}, 1161: {fault.Retryable, codeConnection, again}, 4031: {fault.Retryable, codeConnection, again},
	1021: {fault.Retryable, codeServer, "the disk of the server is full; it is tried again"},
	1037: {fault.Retryable, codeServer, "the server is short of memory; it is tried again"},
	1041: {fault.Retryable, codeServer, "the server is short of memory; it is tried again"},
	1114: {fault.Retryable, codeServer, "the disk of the server is full; it is tried again"},
	1290: {fault.Fatal, codeServer, "the server is read-only, as a replica is: connect to the primary"},
	1836: {fault.Fatal, codeServer, "the server is read-only, as a replica is: connect to the primary"},
	1792: {fault.Fatal, codeServer, "the session may only read"},
}
