#!/usr/bin/env bash
# Refuses paths and package hosts of a machine that the project was written on: a clone works anywhere or nowhere.
# The brackets keep the patterns from finding themselves.
set -euo pipefail
cd "$(dirname "$0")/.."

pattern='/wor[k]/|/far[m]/|\.librar[y]|/roo[t]/|/hom[e]/[a-z]|prox[y]\.golang|registr[y]\.npmjs|de[b]\.debian|pyp[i]\.org|file[s]\.pythonhosted|rep[o]1?\.maven|stati[c]\.crates'
if git grep -nIE "$pattern" -- . ':!go.sum'; then
    echo 'the lines above name a path or a package host of one machine' >&2
    exit 1
fi
