#!/usr/bin/env bash
# Runs every test there is and ends with a line a suite. The events of the run are left in test-output/.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/needs.sh go g++ node npm chromium
scripts/tools.sh gotestsum
gotestsum="${XDG_CACHE_HOME:-$HOME/.cache}/acequia/bin/gotestsum"
mkdir -p test-output

if [ -f internal/browsertest/package-lock.json ] && ! cmp -s internal/browsertest/package-lock.json test-output/package-lock.json; then
    (cd internal/browsertest && npm ci --silent --no-audit --no-fund)
    cp internal/browsertest/package-lock.json test-output/
fi

failed=0
# Everything, under the race detector; fuzz targets run their seeds and browser tests their pages.
CGO_ENABLED=1 "$gotestsum" --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile-timing-events test-output/race.json \
    -- -race -shuffle=on -count=1 -timeout 30m ./... || failed=1
# A build without a C compiler has everything but SQL, and says so.
CGO_ENABLED=0 go build ./cmd/... || failed=1
CGO_ENABLED=0 "$gotestsum" --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile-timing-events test-output/nocgo.json \
    -- -shuffle=on -count=1 -timeout 10m ./internal/query/... ./internal/web/... ./cmd/... || failed=1

awk -f scripts/summary.awk test-output/race.json test-output/nocgo.json || failed=1
exit $failed
