package mongodb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/fault"
)

// Explain classifies an error of the server or of the connection: class, code ACQ-MG-0xx, place and remedy. doing is what was tried,
// such as "read documents"; place is the stream or the database. A cancelled context and what is explained already stay as they are.
func Explain(err error, doing, place string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, done := errors.AsType[*fault.Error](err); done {
		return err
	}
	e := &fault.Error{Class: fault.Fatal, Code: codeServer, Place: place, Err: fmt.Errorf("%s: %w", doing, err)}
	command, fromServer := errors.AsType[mongo.CommandError](err)
	switch {
	case isLogin(err):
		e.Code, e.Remedy = codeLogin, "look at user and password of the uri, and at its authSource"
	case isTLS(err):
		e.Code, e.Remedy = codeTLS, "look at tls and tlsCAFile of the uri, and at the server's certificate"
	case fromServer && !mongo.IsNetworkError(err):
		explainServer(e, command)
	case isConnection(err):
		e.Class, e.Code, e.Remedy = fault.Retryable, codeConnection, "it is tried again; look whether the server runs and listens there"
	}
	return e
}

func isLogin(err error) bool {
	command, ok := errors.AsType[mongo.CommandError](err)
	return ok && command.HasErrorCode(codeAuthenticationFailed) || strings.Contains(err.Error(), "auth error")
}

// isTLS says whether the two ends do not agree on encryption.
func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, header := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	return verification || header || alert || authority || strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ")
}

// isConnection says whether the connection failed, which another may not.
func isConnection(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || mongo.IsNetworkError(err) || mongo.IsTimeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, mongo.ErrClientDisconnected) || strings.Contains(err.Error(), "server selection error")
}

// Codes of the server, see https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml.
const (
	codeUnauthorized          = 13
	codeAuthenticationFailed  = 18
	codeCursorNotFound        = 43
	codeMaxTimeMSExpired      = 50
	codeCommandNotFound       = 59
	codeWriteConflict         = 112
	codeCappedPositionLost    = 136
	codeQueryPlanKilled       = 175
	codeInvalidResumeToken    = 260
	codeChangeStreamFatal     = 280
	codeHistoryLost           = 286
	codeNotImplemented        = 238
	codeSnapshotUnavailable   = 246
	codeSnapshotTooOld        = 239
	codeInvalidOptions        = 72
	codeNoLongerPrimary       = 10107
	codeShutdown              = 91
	codeInterrupted           = 11601
	codeInterruptedAtShutdown = 11600
)

func explainServer(e *fault.Error, c mongo.CommandError) {
	switch c.Code {
	case codeUnauthorized:
		e.Code, e.Remedy = codeRights, "grant the role read on the database to the user: db.grantRolesToUser(USER, [{role: \"read\", db: DATABASE}])"
	case codeSnapshotTooOld:
		e.Code, e.Remedy = codeMoment, "let the server keep moments for as long as reading takes, in seconds: db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600})"
	case codeMaxTimeMSExpired:
		e.Class, e.Code, e.Remedy = fault.Retryable, codeTimeout, "it is tried again"
	case codeCursorNotFound, codeWriteConflict, codeCappedPositionLost, codeQueryPlanKilled, codeSnapshotUnavailable, codeNoLongerPrimary, codeShutdown,
		codeInterrupted, codeInterruptedAtShutdown:
		e.Class, e.Remedy = fault.Retryable, "it is tried again"
	default:
		if c.HasErrorLabel("RetryableWriteError") || c.HasErrorLabel("ResumableChangeStreamError") || c.HasErrorLabel("TransientTransactionError") {
			e.Class, e.Remedy = fault.Retryable, "it is tried again"
		}
	}
}

// Lost says whether a change stream cannot go on where it was: the log does not go back so far, or the place is of another server.
func Lost(err error) bool {
	c, ok := errors.AsType[mongo.CommandError](err)
	return ok && (c.HasErrorCode(codeHistoryLost) || c.HasErrorCode(codeChangeStreamFatal) || c.HasErrorCode(codeInvalidResumeToken))
}

// Unknown says whether the server does not know what it was asked for.
func Unknown(err error) bool {
	c, ok := errors.AsType[mongo.CommandError](err)
	return ok && (c.HasErrorCode(codeCommandNotFound) || c.HasErrorCode(codeNotImplemented) || c.HasErrorCode(40324))
}

// NoSnapshots says whether the server shows moments in transactions alone.
func NoSnapshots(err error) bool {
	c, ok := errors.AsType[mongo.CommandError](err)
	return ok && (c.HasErrorCode(codeInvalidOptions) || c.HasErrorCode(codeNotImplemented))
}

// There says whether what was to be made is there already.
func There(err error) bool {
	const namespaceExists, duplicateKey = 48, 11000
	c, ok := errors.AsType[mongo.CommandError](err)
	return ok && c.HasErrorCode(namespaceExists) || mongo.IsDuplicateKeyError(err) || ok && c.HasErrorCode(duplicateKey)
}

// Gone says whether what was asked for is not there.
func Gone(err error) bool {
	const namespaceNotFound = 26
	c, ok := errors.AsType[mongo.CommandError](err)
	return ok && c.HasErrorCode(namespaceNotFound)
}

// None says whether there is no document that was asked for.
func None(err error) bool { return errors.Is(err, mongo.ErrNoDocuments) }
