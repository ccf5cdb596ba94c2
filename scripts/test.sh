#!/usr/bin/env bash
# Runs every test there is and ends with a line a suite. The events of the run are left in test-output/.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/needs.sh go gcc node npm chromium postgresql mariadb-server python3-venv
CGO_LDFLAGS=$(scripts/cgo.sh)
export CGO_LDFLAGS
scripts/tools.sh gotestsum ferretdb moto cfn-lint sqlglot
gotestsum="${XDG_CACHE_HOME:-$HOME/.cache}/acequia/bin/gotestsum"
mkdir -p test-output

pages=internal/browsertest
if [ ! -d $pages/node_modules/playwright-core ] || ! cmp -s $pages/package-lock.json test-output/package-lock.json; then
    npm ci --prefix $pages --silent --no-audit --no-fund
    cp $pages/package-lock.json test-output/
fi
export ACEQUIA_TEST_OUTPUT=$PWD/test-output/pages # screenshots

# Four tests of a package at the same time, also on two CPUs: the long ones mostly wait for programs to die and servers to answer.
run() { # name of the events' file, then go test's arguments
    "$gotestsum" --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary skipped \
        --jsonfile-timing-events "test-output/$1.json" -- -shuffle=on -count=1 -parallel 4 "${@:2}"
}
failed=0
# Everything, under the race detector; fuzz targets run their seeds and browser tests their pages.
# shellcheck disable=SC2046 # several arguments
CGO_ENABLED=1 run race $(scripts/race.sh) -timeout 30m ./... || failed=1
# A build without a C compiler has everything but SQL, and says so; what kills programs was run above.
CGO_ENABLED=0 run nocgo -timeout 10m -skip 'TestKilled|IsKilled|TestTeam' ./internal/query/... ./internal/web/... ./internal/cli/... || failed=1

awk -f scripts/summary.awk test-output/race.json test-output/nocgo.json || failed=1
exit $failed
