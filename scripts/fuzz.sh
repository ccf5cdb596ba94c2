#!/usr/bin/env bash
# Runs every fuzz target of the project for FUZZTIME each (a duration, default 10s).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/needs.sh go gcc postgresql mariadb-server
CGO_LDFLAGS=$(scripts/cgo.sh)
export CGO_LDFLAGS

binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
found=$(go env GOCACHE)/fuzz

git ls-files -co --exclude-standard '*_test.go' | xargs grep -lE '^func Fuzz' | xargs -n1 dirname | sort -u | while read -r dir; do
    go test -c -fuzz . -o "$binary" "./$dir"
    for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //'); do
        echo "$dir $target"
        # An interrupt ends it: Go's own end of a time may be a failure, "context deadline exceeded" (go.dev/issue/75804, until Go 1.27).
        # Inputs that are only interesting are not made smaller: that would take all of the time.
        (cd "$dir" && timeout --foreground --preserve-status --signal INT "${FUZZTIME:-10s}" \
            "$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzzminimizetime 1x -test.fuzzcachedir "$found/$(go list .)")
    done
done
