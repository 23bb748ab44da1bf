#!/usr/bin/env bash
# Installs what building ReplicaRouter needs, on Debian 12 and later and Ubuntu 22.04 and later. Run it as often as you
# like: it does only what is missing.
#
#   cmake/install_dependencies.sh [--for examples] [--for tests] [--for benchmarks]
#   eval "$(cmake/install_dependencies.sh --print-environment)"    what CMake must know to find it all
#   cmake/install_dependencies.sh --print-prefix                   where the libraries built here live
#
# A library that the distribution has only in a too old version is built once, from the source package of a newer
# release of the same distribution, into a prefix in the user's cache; REPLICA_ROUTER_PREFIX names another place.
set -euo pipefail

prefix="${REPLICA_ROUTER_PREFIX:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/replica-router/prefix}"
log=/dev/null
asked_for=" "

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

by_hand="g++ 12 or clang++ 14, CMake 3.22, Ninja, pkg-config, libpq, libpqxx 7.10; for tests and examples also\
 the PostgreSQL server programs, fmt 9, Catch2 3, clang-format and clang-tidy (each in this version or a later one)"

# --- which system this is -------------------------------------------------------------------------------------------

compiler=g++
newer_releases=""
formatter=clang-format
. /etc/os-release 2>/dev/null || ID=unknown
case "${ID:-unknown}:${VERSION_ID:-}" in
  debian:12*) newer_releases="trixie" formatter=clang-format-16 ;;
  debian:[0-9] | debian:1[01]*) ID=too_old ;;
  debian:*) ;;
  ubuntu:22.04) compiler=g++-12 newer_releases="resolute questing plucky" ;;
  ubuntu:1* | ubuntu:20* | ubuntu:21*) ID=too_old ;;
  ubuntu:*) newer_releases="resolute questing plucky" ;;
  *) ID=unknown ;;
esac

while [ $# -gt 0 ]; do
  case "$1" in
    --print-prefix) printf '%s\n' "$prefix"; exit ;;
    --print-environment)
      printf 'export CMAKE_PREFIX_PATH=%q\n' "$prefix${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
      [ -n "${CXX:-}" ] || [ "$compiler" = g++ ] || printf 'export CXX=%q\n' "$compiler"
      exit ;;
    --for)
      case "${2:-}" in
        examples | tests | benchmarks) asked_for+="$2 " ;;
        *) die "--for takes examples, tests or benchmarks" ;;
      esac
      shift ;;
    *) die "unknown argument '$1' (there are --for, --print-environment and --print-prefix)" ;;
  esac
  shift
done

[ "$ID" = debian ] || [ "$ID" = ubuntu ] ||
  die "only Debian 12 and Ubuntu 22.04 and later are known here; install by hand: $by_hand"

# --- what is missing ------------------------------------------------------------------------------------------------

packages=()  # distribution packages to install
libraries=() # rows of the table below that are neither installed nor built

need_program() { command -v "$1" >/dev/null || packages+=("$2"); }

# package | first good version | first too new one | source package | options of its CMake build
libpqxx="libpqxx-dev|7.10|9|libpqxx|-DSKIP_BUILD_TEST=ON -DBUILD_TEST=OFF -DBUILD_DOC=OFF"
fmt="libfmt-dev|9|99|fmtlib|-DFMT_TEST=OFF -DFMT_DOC=OFF"
catch2="catch2|3|4|catch2|-DCATCH_INSTALL_DOCS=OFF"
build_options="-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O2 -DCMAKE_POSITION_INDEPENDENT_CODE=ON\
 -DBUILD_SHARED_LIBS=OFF -DCMAKE_INSTALL_LIBDIR=lib"

is_between() { dpkg --compare-versions "${1:-0}" ge "$2" && dpkg --compare-versions "$1" lt "$3~"; }
installed_version() { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p'; }
available_version() { LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \((none)\)\?//p'; }
stamp_of() { printf '%s/.built/%s' "$prefix" "$1"; }

need_library() {
  local package from below source options
  IFS='|' read -r package from below source options <<<"$1"
  is_between "$(installed_version "$package")" "$from" "$below" ||
    [ "$(cat "$(stamp_of "$source")" 2>/dev/null)" = "$build_options $options" ] || libraries+=("$1")
}

has_server_programs() {
  local folder
  for folder in "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/pg_basebackup" ]; then return 0; fi
  done
  return 1
}

services=() # of the packages to install, those that would start one of their own
need_server() {
  PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null || { packages+=("$2") services+=("$2"); }
}

need_program "${CXX:-$compiler}" "$compiler"
need_program cmake cmake
need_program ninja ninja-build
need_program pkg-config pkg-config
need_program dpkg-source dpkg-dev
[ -n "$(installed_version libpq-dev)" ] || packages+=(libpq-dev)
need_library "$libpqxx"
[ "$asked_for" = " " ] || need_library "$fmt"
case "$asked_for" in
  *" tests "*)
    need_program clang++ clang
    need_program clang-tidy clang-tidy
    need_program "$formatter" "$formatter"
    # libFuzzer, which Debian only recommends with clang; Ubuntu 22.04 has it in clang's own package.
    [ "$ID:$VERSION_ID" = ubuntu:22.04 ] || [ -n "$(installed_version libclang-rt-dev)" ] || packages+=(libclang-rt-dev)
    need_library "$catch2" ;;
esac
case "$asked_for" in
  *" benchmarks "*)
    need_program clang++ clang
    need_program gnuplot gnuplot-nox
    need_program valgrind valgrind
    need_server pgpool pgpool2
    need_server pgbouncer pgbouncer
    need_server haproxy haproxy ;;
esac
[ "$asked_for" = " " ] || has_server_programs || packages+=(postgresql)

if [ ${#packages[@]} -eq 0 ] && [ ${#libraries[@]} -eq 0 ]; then
  say "nothing is missing (prefix: $prefix)"
  exit
fi

# --- distribution packages ------------------------------------------------------------------------------------------

work="$(mktemp -d)"
log="$work/log"
cluster_policy=/etc/postgresql-common/createcluster.d/replica-router.conf
start_policy=/usr/sbin/policy-rc.d
made_start_policy=no
clean_up() {
  rm -rf "$work"
  [ ! -e "$cluster_policy" ] || as_root rm -f "$cluster_policy"
  [ $made_start_policy = no ] || as_root rm -f "$start_policy"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$work" # apt downloads as a user of its own

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# Runs a command; of its output only every fifth of the way is shown, and the end of it when it fails.
step() {
  local title="$1" line last="" percent
  shift
  say "$title"
  : >"$log"
  "$@" 2>&1 </dev/null | while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    if [[ "$line" =~ ^(\[ *|dlstatus:.*:|pmstatus:.*:)([0-9]+)[%.] ]]; then
      percent=$((BASH_REMATCH[2] / 20 * 20))
      [ "$percent" = "$last" ] || printf 'install:   [%3d%%]\n' "$percent"
      last="$percent"
    fi
  done || { tail -n 40 "$log" >&2; die "this failed: $title"; }
}

[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
  die "root or sudo is needed to install packages: ${packages[*]} $(printf '%s ' "${libraries[@]%%|*}")"

step "reading the package lists" as_root apt-get update -q -o APT::Status-Fd=1
to_build=()
for row in "${libraries[@]}"; do
  IFS='|' read -r package from below _ <<<"$row"
  if is_between "$(available_version "$package")" "$from" "$below"; then packages+=("$package"); else to_build+=("$row"); fi
done

if [ ${#packages[@]} -gt 0 ]; then
  case " ${packages[*]} " in
    *" postgresql "*) # the server programs are wanted, a running system cluster is not
      as_root mkdir -p "${cluster_policy%/*}"
      echo 'create_main_cluster = false' | as_root tee "$cluster_policy" >/dev/null ;;
  esac
  # The programs are wanted, running services are not: 101 forbids Debian's packages to start one, now; what would start
  # at the next boot is disabled after the installation. A machine that has such a policy already keeps it.
  if [ ${#services[@]} -gt 0 ] && [ ! -e "$start_policy" ]; then
    made_start_policy=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$start_policy" >/dev/null
    as_root chmod 755 "$start_policy"
  fi
  step "installing ${packages[*]}" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
    --no-install-recommends -o APT::Status-Fd=1 -o DPkg::Lock::Timeout=300 "${packages[@]}"
  for service in "${services[@]}"; do
    step "keeping the service $service off" as_root update-rc.d "$service" disable
  done
fi

# --- libraries that the distribution has only in an older version ---------------------------------------------------

# apt with a state folder of its own, that knows only the source packages of one other release of this distribution.
# It asks the mirror that this machine is set up with and trusts the keys that this machine trusts.
private_apt() {
  local program="$1" state="$work/apt-$2"
  shift 2
  "$program" -q -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" \
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::trusted="/usr/share/keyrings/$ID-archive-keyring.gpg" "$@"
}

prepare_private_apt() {
  local release="$1" mirror components=main
  [ ! -e "$work/apt-$release/ready" ] || return 0
  mirror="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    sed -n "s/ ${VERSION_CODENAME:-none}\$//p" | head -n 1)"
  [ -n "$mirror" ] || die "found no mirror of ${VERSION_CODENAME:-this release} in apt's source lists"
  mkdir -p "$work/apt-$release/lists/partial" "$work/apt-$release/cache/archives/partial"
  [ "$ID" = debian ] || components="main universe"
  echo "deb-src $mirror $release $components" >"$work/apt-$release/sources.list"
  private_apt apt-get "$release" update -o APT::Update::Error-Mode=any >>"$log" 2>&1 || return 1
  touch "$work/apt-$release/ready"
}

# Leaves the sources in $work/$source, from the first newer release that has a version in the wanted range; that version
# is in $fetched.
fetch_source() {
  local source="$1" from="$2" below="$3" release found
  for release in $newer_releases; do
    prepare_private_apt "$release" || continue
    found="$(private_apt apt-cache "$release" showsrc --only-source "$source" 2>/dev/null | sed -n 's/^Version: //p' | sort -V | tail -n 1)"
    is_between "$found" "$from" "$below" || continue
    say "fetching the sources of $source $found from $release"
    (cd "$work" && private_apt apt-get "$release" source --only-source --download-only "$source=$found" &&
      dpkg-source --no-check -x "${source}_${found#*:}.dsc" "$source") >>"$log" 2>&1 && fetched="$found" && return
    tail -n 20 "$log" >&2
  done
  die "no source package of $source $from or later can be had here (tried: ${newer_releases:-no other release}); install by hand: $by_hand"
}

build_library() {
  local package from below source options standard=20
  IFS='|' read -r package from below source options <<<"$1"
  if [ "$source" = libpqxx ] && [ "$("${CXX:-$compiler}" -dumpversion | cut -d. -f1)" -lt 13 ]; then
    below=8 # libpqxx 8 needs <format>
  fi
  fetch_source "$source" "$from" "$below"
  # libpqxx 7 settles when it is built which features its headers use. As C++17, like Debian's own package, it serves
  # every compiler; what g++ makes of it as C++20 uses std::source_location, which clang++ 14 lacks.
  [ "$source" != libpqxx ] || dpkg --compare-versions "$fetched" ge 8 || standard=17
  rm -f "$(stamp_of "$source")"
  # shellcheck disable=SC2086 # the options are words
  step "configuring $source" env CXX="${CXX:-$compiler}" cmake -S "$work/$source" -B "$work/$source-build" -G Ninja \
    -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_CXX_STANDARD="$standard" $build_options $options
  step "building $source" env NINJA_STATUS='[%p] ' cmake --build "$work/$source-build"
  step "installing $source into $prefix" cmake --install "$work/$source-build"
  printf '%s\n' "$build_options $options" >"$(stamp_of "$source")"
}

if [ ${#to_build[@]} -gt 0 ]; then
  mkdir -p "$prefix/.built"
  exec 9>"$prefix/.built/lock"
  flock 9 # two clones may share the prefix
  for row in "${to_build[@]}"; do build_library "$row"; done
fi
say "ready (prefix: $prefix)"
