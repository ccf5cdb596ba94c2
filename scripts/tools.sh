#!/usr/bin/env bash
# Installs the named development tools, each at its exact version, outside the clone.
set -euo pipefail

bin="${XDG_CACHE_HOME:-$HOME/.cache}/acequia/bin"

# python installs packages for a tool into a place of its own. What was asked for is kept beside them: a version or an extra that is new
# is installed over what is there, so that whoever runs the tool meanwhile is not disturbed.
python() { # tool, then pip's requirements
    local at="$bin/$1" asked="${*:2}"
    [ -x "$at/bin/pip" ] && [ "$(cat "$at/asked" 2>/dev/null || true)" = "$asked" ] && return
    echo "installing $1 ($asked)"
    python3 -m venv "$at"
    "$at/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
    echo "$asked" >"$at/asked"
}

for tool in "$@"; do
    case $tool in
    gotestsum) module=gotest.tools/gotestsum version=v1.13.0 path=$module ;;
    golangci-lint) module=github.com/golangci/golangci-lint/v2 version=v2.15.0 path=$module/cmd/golangci-lint ;;
    helm) module=helm.sh/helm/v4 version=v4.3.2 path=$module/cmd/helm ;;
    promtool) module=github.com/prometheus/prometheus version=v0.316.0 path=$module/cmd/promtool ;;
    ferretdb) # a module of its own: go install cannot build it, for what FerretDB retracts is not to be had everywhere
        source=internal/mongodb/mongodbtest/testdata/ferretdb
        version=$(awk '$2 == "github.com/FerretDB/FerretDB" {print $3}' "$source/go.mod")
        have=$(go version -m "$bin/$tool" 2>/dev/null | awk '$2 == "github.com/FerretDB/FerretDB" {print $3}' || true)
        [ "$have" = "$version" ] && continue
        echo "building $tool $version"
        (cd "$source" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o "$bin/$tool" .)
        continue
        ;;
    # Programs in Python: moto speaks the protocols of AWS, cfn-lint knows CloudFormation's templates and the actions of IAM, sqlglot the
    # grammars of Athena.
    moto) python moto "moto[s3,dynamodb,glue,athena,events]==5.2.5" flask==3.1.3 flask-cors==6.0.5; continue ;;
    cfn-lint) python cfn-lint cfn-lint==1.51.0; continue ;;
    sqlglot) python sqlglot sqlglot==30.30.0; continue ;;
    templ) module=github.com/a-h/templ path=$module/cmd/templ version=$(go list -m -f '{{.Version}}' "$module") ;;
    *) echo "tools.sh: unknown tool $tool" >&2; exit 2 ;;
    esac
    have=$(go version -m "$bin/$tool" 2>/dev/null | awk '$1 == "mod" {print $3}' || true)
    [ "$have" = "$version" ] && continue
    echo "installing $tool $version"
    GOBIN=$bin CGO_ENABLED=0 GOFLAGS= go install "$path@$version"
done
