#!/usr/bin/env bash
# Makes dist/: an archive a platform, each with an inventory of what is in the program (SBOM), and SHA256SUMS. linux/amd64 has SQL by DuckDB, which
# needs cgo; the others ask by Athena alone, and say so. The same commit gives the same bytes.
#   scripts/release.sh [PLATFORM...]      default: linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(git describe --tags --always --dirty)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
platforms=("$@")
[ $# -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)
mkdir -p dist
rm -f dist/SHA256SUMS
for platform in "${platforms[@]}"; do
    os=${platform%/*} arch=${platform#*/} cgo=0 flags=
    name=acequia_${version}_${os}_${arch}
    if [ "$platform" = linux/amd64 ]; then
        [ "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" = linux/amd64 ] || { echo "release: $platform has SQL, and is built on such a machine" >&2; exit 1; }
        cgo=1 flags=$(scripts/cgo.sh)
    fi
    echo "building $name"
    rm -rf "dist/$name"
    mkdir -p "dist/$name"
    GOOS=$os GOARCH=$arch CGO_ENABLED=$cgo CGO_LDFLAGS=$flags go build -trimpath \
        -ldflags "-s -w -X github.com/acequia-io/acequia/internal/cli.release=$version" -o "dist/$name/acequia" ./cmd/acequia
    go version -m "dist/$name/acequia" | awk -v version="$version" -f scripts/sbom.awk >"dist/$name.cdx.json"
    cp LICENSE README.md README.es.md CHANGELOG.md "dist/$name/"
    cp "dist/$name.cdx.json" "dist/$name/sbom.cdx.json"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "dist/$name" -cf - . | gzip -n9 >"dist/$name.tar.gz"
    rm -rf "dist/$name"
done
(cd dist && sha256sum ./*.tar.gz ./*.cdx.json | sed 's| \./| |' >SHA256SUMS)
cat dist/SHA256SUMS
