#!/usr/bin/env bash
# Prints go test's arguments for the race detector. SQLite is C that was translated to Go: what it does with its own memory is not
# watched, for that made tests of states and items three times as slow. Its driver and all of ours are.
set -euo pipefail
echo -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false
