#!/usr/bin/env bash
# Prints the CGO_LDFLAGS that a machine with gcc alone needs: DuckDB is linked with libstdc++, which such a machine has, but
# the name under which the linker looks for it comes with g++.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=$(go env CGO_LDFLAGS)
if [ "$(uname -s)" = Linux ]; then
    # DuckDB's symbols are nobody else's: out of the dynamic table they spare 7 MB of the program and 6 MiB of memory.
    flags="$flags -Wl,--exclude-libs,ALL"
fi
compiler=$(go env CC)
library=$("$compiler" -print-file-name=libstdc++.so.6)
if [ "$("$compiler" -print-file-name=libstdc++.so)" = libstdc++.so ] && [ -e "$library" ]; then
    mkdir -p bin/lib
    ln -sf "$library" bin/lib/libstdc++.so
    flags="$flags -L$PWD/bin/lib"
fi
echo "$flags"
