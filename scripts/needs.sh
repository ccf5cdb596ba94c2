#!/usr/bin/env bash
# Makes sure that the named commands are there: installs Debian's packages when it may, else says what is missing.
set -euo pipefail

missing=()
for command in "$@"; do
    [ "$command" = postgresql ] && compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && continue
    [ "$command" = mariadb-server ] && [ -x /usr/sbin/mariadbd ] && continue
    [ "$command" = python3-venv ] && python3 -c 'import ensurepip' 2>/dev/null && continue
    command -v "$command" >/dev/null && continue
    case $command in
    go) echo "missing: Go $(awk '$1 == "go" {print $2}' go.mod) or newer, see https://go.dev/doc/install" >&2; exit 1 ;;
    node) missing+=(nodejs) ;;
    gcc) missing+=(gcc libc6-dev) ;;
    *) missing+=("$command") ;;
    esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (Debian's package names). Install them, for example with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Debian's PostgreSQL would start a server when it is installed; the tests start their own.
if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
# MariaDB's would, too, unless the system's policy is that nothing starts.
if [[ " ${missing[*]} " == *" mariadb-server "* ]] && [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
