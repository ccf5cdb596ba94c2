package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/jobs"
)

// report prints an error as what, where, why and what to do, and gives the exit code.
func report(w io.Writer, err error) int {
	return reportIn(w, err, func(text string) string { return text })
}

// reportIn is report in a language.
func reportIn(w io.Writer, err error, say func(text string) string) int {
	if err == nil {
		return exitOK
	}
	if told, ok := errors.AsType[toldError](err); ok {
		return told.exit
	}
	var code, place, remedy string
	reason := err
	for e, ok := errors.AsType[*fault.Error](err); ok; e, ok = errors.AsType[*fault.Error](e.Err) {
		if e.Code != "" {
			code, place, remedy, reason = e.Code, e.Place, e.Remedy, e.Err
			break
		}
	}
	if code == "" {
		_, _ = fmt.Fprintf(w, "acequia: %v\n", err)
		return exitFailed
	}
	_, _ = fmt.Fprintf(w, "✗ %s %s\n", code, place)
	if reason != nil {
		_, _ = fmt.Fprintf(w, "  %s\n", strings.Join(saidLines(reason.Error(), say), "\n  "))
	}
	if remedy != "" {
		_, _ = fmt.Fprintf(w, "  → %s\n", say(remedy))
	}
	return exitCodeOf(code)
}

// saidLines says the lines of a text one by one: each may be a mistake of its own.
func saidLines(text string, say func(text string) string) []string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = say(line)
	}
	return lines
}

// exitCodeOf tells by the family of the code: a user can mend a usage error in the command, an environment error
// outside of it. Of the lake's, those are the file system's, the scratch disk's and a damaged description; of a database's, what the
// server, the network and the role's rights say.
func exitCodeOf(code string) int {
	switch {
	case strings.HasPrefix(code, "ACQ-USE-"), strings.HasPrefix(code, "ACQ-CFG-"), slices.Contains(databaseUsage(), code),
		code == jobs.CodeNoTimed, code == jobs.ErrNoJob.Code,
		code == "ACQ-BACKUP-002", code == "ACQ-BACKUP-008":
		return exitUsage
	case strings.HasPrefix(code, "ACQ-ENV-"), strings.HasPrefix(code, "ACQ-AWS-"), code == "ACQ-SETUP-001", strings.HasPrefix(code, "ACQ-STATE-"), strings.HasPrefix(code, "ACQ-ITEMS-"),
		strings.HasPrefix(code, "ACQ-ATHENA-00"), strings.HasPrefix(code, "ACQ-LAKE-00"), strings.HasPrefix(code, "ACQ-LAKE-02"), code == "ACQ-LAKE-012",
		strings.HasPrefix(code, "ACQ-PG-00") && code != "ACQ-PG-001", code == "ACQ-PG-060",
		strings.HasPrefix(code, "ACQ-MY-00") && code != "ACQ-MY-001", strings.HasPrefix(code, "ACQ-MG-00") && code != "ACQ-MG-001" && code != "ACQ-MG-006", strings.HasPrefix(code, "ACQ-BACKUP-01"), code == "ACQ-BACKUP-004":
		return exitEnvironment
	}
	return exitFailed
}

// databaseUsage are the codes of what is wrong in the settings or in the flags of who reads a database.
func databaseUsage() []string {
	return []string{
		"ACQ-PG-011", "ACQ-PG-038", "ACQ-PG-039", "ACQ-PG-041", "ACQ-PG-042", "ACQ-PG-045", "ACQ-PG-070", "ACQ-PG-073",
		"ACQ-MY-011", "ACQ-MY-070", "ACQ-MY-073", "ACQ-MG-001", "ACQ-MG-039", "ACQ-MG-070", "ACQ-MG-073",
	}
}
