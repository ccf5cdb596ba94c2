#!/usr/bin/env bash
# Installs the named development tools, each at its exact version, outside the clone.
set -euo pipefail

bin="${XDG_CACHE_HOME:-$HOME/.cache}/acequia/bin"
for tool in "$@"; do
    case $tool in
    gotestsum) module=gotest.tools/gotestsum version=v1.13.0 path=$module ;;
    golangci-lint) module=github.com/golangci/golangci-lint/v2 version=v2.15.0 path=$module/cmd/golangci-lint ;;
    ferretdb) # a module of its own: go install cannot build it, for what FerretDB retracts is not to be had everywhere
        source=internal/mongodb/mongodbtest/testdata/ferretdb
        version=$(awk '$2 == "github.com/FerretDB/FerretDB" {print $3}' "$source/go.mod")
        have=$(go version -m "$bin/$tool" 2>/dev/null | awk '$2 == "github.com/FerretDB/FerretDB" {print $3}' || true)
        [ "$have" = "$version" ] && continue
        echo "building $tool $version"
        (cd "$source" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o "$bin/$tool" .)
        continue
        ;;
    moto) # a Python program: it speaks the protocols of AWS
        version=5.2.5
        [ "$("$bin/moto/bin/pip" list --format freeze 2>/dev/null | sed -n 's/^moto==//p' || true)" = "$version" ] && continue
        echo "installing moto $version"
        rm -rf "$bin/moto"
        python3 -m venv "$bin/moto"
        "$bin/moto/bin/pip" install --quiet --disable-pip-version-check "moto[s3,dynamodb]==$version" flask==3.1.3 flask-cors==6.0.5
        continue
        ;;
    cfn-lint) # a Python program: it knows CloudFormation's templates, and the actions of IAM
        version=1.51.0
        [ "$("$bin/cfn-lint/bin/pip" list --format freeze 2>/dev/null | sed -n 's/^cfn-lint==//p' || true)" = "$version" ] && continue
        echo "installing cfn-lint $version"
        rm -rf "$bin/cfn-lint"
        python3 -m venv "$bin/cfn-lint"
        "$bin/cfn-lint/bin/pip" install --quiet --disable-pip-version-check "cfn-lint==$version"
        continue
        ;;
    templ) module=github.com/a-h/templ path=$module/cmd/templ version=$(go list -m -f '{{.Version}}' "$module") ;;
    *) echo "tools.sh: unknown tool $tool" >&2; exit 2 ;;
    esac
    have=$(go version -m "$bin/$tool" 2>/dev/null | awk '$1 == "mod" {print $3}' || true)
    [ "$have" = "$version" ] && continue
    echo "installing $tool $version"
    GOBIN=$bin CGO_ENABLED=0 GOFLAGS= go install "$path@$version"
done
