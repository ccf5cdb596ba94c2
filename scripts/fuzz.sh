#!/usr/bin/env bash
# Runs every fuzz target of the project for FUZZTIME (default 10s) each.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/needs.sh go gcc postgresql mariadb-server
CGO_LDFLAGS=$(scripts/cgo.sh)
export CGO_LDFLAGS

git ls-files -co --exclude-standard '*_test.go' | xargs grep -lE '^func Fuzz' | xargs -n1 dirname | sort -u | while read -r dir; do
    # Inputs that are only interesting are not made smaller: that would take all of the time.
    for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //'); do
        echo "$dir $target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 1x "./$dir"
    done
done
