#!/usr/bin/env bash
# Prints the CGO_LDFLAGS that a machine with gcc alone needs: DuckDB is linked with libstdc++, which such a machine has, but
# the name under which the linker looks for it comes with g++.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler=$(go env CC)
library=$("$compiler" -print-file-name=libstdc++.so.6)
if [ "$("$compiler" -print-file-name=libstdc++.so)" = libstdc++.so ] && [ -e "$library" ]; then
    mkdir -p bin/lib
    ln -sf "$library" bin/lib/libstdc++.so
    echo "$(go env CGO_LDFLAGS) -L$PWD/bin/lib"
else
    go env CGO_LDFLAGS
fi
