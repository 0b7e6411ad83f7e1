#!/usr/bin/env bash
# Installs the real components that tests and benchmarks use. Without apt or root it says what is missing and continues:
# the tests that need it are then skipped with that reason, or fail when PENSTOCK_REQUIRE names it.
set -euo pipefail

declare -A present=(
  [postgresql]='compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null'
  [bubblewrap]='command -v bwrap >/dev/null'
  [chromium]='command -v chromium >/dev/null'
  [git]='command -v git >/dev/null'
  [strace]='command -v strace >/dev/null'
  [haproxy]='command -v haproxy >/dev/null'
  [nginx-light]='command -v nginx >/dev/null'
)
# The benchmarks' load generator.
[ "${1:-}" = bench ] && present[wrk]='command -v wrk >/dev/null'
missing=()
for package in "${!present[@]}"; do
  eval "${present[$package]}" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "not here, and cannot be installed without root and apt-get: ${missing[*]}" >&2
  exit 0
fi
echo "installing from Debian's packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A cluster of Debian's own is not wanted: the tests start a private one.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
apt-get update -qq || true
for package in "${missing[@]}"; do
  apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "could not install $package" >&2
done
