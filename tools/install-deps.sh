#!/usr/bin/env bash
# Installs what building, demonstrating and testing Écluse needs on Debian 12, and only what is missing.
# usage: tools/install-deps.sh [demo|test|bench]   (default: test)
#   demo   the compiler, the libraries and PostgreSQL
#   test   the same, and the clients that the end-to-end tests speak with
#   bench  the same, and what the benchmarks measure beside
set -euo pipefail
cd "$(dirname "$0")/.."

demo_packages=(
  ccache clang-19 cmake libclang-rt-19-dev lld-19 ninja-build pkg-config
  libboost-json1.81-dev libboost-url1.81-dev libboost1.81-dev libcli11-dev libfmt-dev libgtest-dev libicu-dev
  libp11-kit-dev libpg-query-dev libpq-dev libprotobuf-dev librocksdb-dev libspdlog-dev libssl-dev libyaml-cpp-dev
  protobuf-compiler postgresql-15 postgresql-client-15 procps
)
test_packages=(
  ca-certificates default-jdk-headless golang-go golang-golang-x-mod-dev libpostgresql-jdbc-java nodejs npm
  pgbouncer python3 python3-cryptography python3-django python3-psycopg python3-psycopg2 python3-pytest
  python3-pytest-timeout python3-sqlalchemy softhsm2 util-linux
)
bench_packages=(postgresql-15-pgaudit)

case "${1:-test}" in
  demo) wanted=("${demo_packages[@]}") ;;
  test) wanted=("${demo_packages[@]}" "${test_packages[@]}") ;;
  bench) wanted=("${demo_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
  *) echo "tools/install-deps.sh: '$1' is not a set of packages; it takes demo, test or bench" >&2; exit 2 ;;
esac

present() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]; }

missing=()
if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system. Install the counterparts of these Debian 12 packages, then run make again:" >&2
  printf '  %s\n' "${wanted[@]}" >&2
  exit 2
fi
for package in "${wanted[@]}"; do
  # Node.js from elsewhere than Debian brings its own npm, and Debian's cannot be installed beside it.
  if { [ "$package" = npm ] || [ "$package" = nodejs ]; } && command -v "${package/nodejs/node}" >/dev/null; then continue; fi
  present "$package" || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  . /etc/os-release
  if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
    echo "Made and tested on Debian 12; this is ${PRETTY_NAME:-an unknown system}. Trying its packages all the same." >&2
  fi
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Packages are missing, and neither root nor sudo is here. As root, run:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 2
    fi
    as_root=(sudo)
  fi
  echo "Installing ${#missing[@]} packages: ${missing[*]}" >&2
  # Neither a PostgreSQL cluster nor PgBouncer's service of Debian's own is wanted: the demonstration and the tests start
  # private ones, and PgBouncer would take the gate's usual port.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
  "${apt[@]}" update >/dev/null || echo "apt-get update failed; going on with the package lists that are here." >&2
  if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >/tmp/ecluse-install.$$ 2>&1; then
    tail -40 /tmp/ecluse-install.$$ >&2
    rm -f /tmp/ecluse-install.$$
    echo "apt-get could not install what is missing; see above. On Debian 12 all of it is in the main archive." >&2
    exit 1
  fi
  rm -f /tmp/ecluse-install.$$
  if [[ " ${missing[*]} " == *" pgbouncer "* ]] && [ -d /run/systemd/system ]; then
    "${as_root[@]}" systemctl disable --now pgbouncer >/dev/null 2>&1 || true
  fi
fi

# The driver the tests use from Node.js, at the versions of its lock file.
if [ "${1:-test}" != demo ] && [ -e tests/node/package-lock.json ] &&
   [ ! tests/node/node_modules/.package-lock.json -nt tests/node/package-lock.json ]; then
  (cd tests/node && npm ci --no-audit --no-fund --silent) || {
    echo "npm could not install tests/node; check that the npm registry can be reached, then run make again." >&2
    exit 1
  }
fi
