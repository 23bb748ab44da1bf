#!/usr/bin/env bash
# Installs what is missing, builds in Release, runs the benchmarks on clusters and proxies of their own, and leaves
# tables, results.json and plots in build/benchmarks/results.
#
#   benchmarks/run.sh [--only NAME]... [--update-readme]
#   benchmarks/run.sh --list
#
# --update-readme also copies the plot that README.md shows to benchmarks/scale.svg. Exits with 0 where goals are
# missed (the tables say which), and with 1 where something could not be measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A about=(
  [decision]="one routing decision per policy, without I/O"
  [read]="one prepared point select, against libpq and libpqxx by hand"
  [write]="one row updated, with and without token, fsync off and on"
  [peers]="the same reads through Pgpool-II, PgBouncer and HAProxy"
  [scale]="capacity-bound reads on 1 to 8 replicas, with writes running"
  [policies]="slow, lagging and flapping replicas under each policy"
  [failover]="a hung replica, a killed one, a promotion, under load"
  [threads]="1 to 64 threads on one router"
  [sessions]="a million sessions"
  [compile]="a file that includes the umbrella, against <pqxx/pqxx>"
  [instructions]="what the router adds to a read and a write, counted by callgrind"
)
names=(decision read write peers scale policies failover threads sessions compile instructions)

die() { printf 'benchmarks: %s\n' "$*" >&2; exit 1; }

chosen=()
update_readme=no
while [ $# -gt 0 ]; do
  case "$1" in
    --list)
      for name in "${names[@]}"; do printf '%-13s %s\n' "$name" "${about[$name]}"; done
      exit ;;
    --only)
      [ -n "${2:-}" ] && [ -n "${about[$2]:-}" ] || die "--only takes one of: ${names[*]} (not '${2:-}')"
      chosen+=("$2")
      shift ;;
    --update-readme) update_readme=yes ;;
    *) die "unknown argument '$1' (there are --only NAME, --list and --update-readme)" ;;
  esac
  shift
done
[ ${#chosen[@]} -gt 0 ] || chosen=("${names[@]}")
[ $update_readme = no ] || [[ " ${chosen[*]} " = *" scale "* ]] || die "--update-readme needs the benchmark scale"

cmake/install_dependencies.sh --for benchmarks
eval "$(cmake/install_dependencies.sh --print-environment)"

build=build/benchmarks
results="$PWD/$build/results"
# Whoever wants to see figures must not be stopped by what a newer compiler warns of.
cmake --preset release -B "$build" -DREPLICA_ROUTER_BUILD_TESTS=OFF -DREPLICA_ROUTER_BUILD_EXAMPLES=OFF \
  -DREPLICA_ROUTER_BUILD_BENCHMARKS=ON -DCMAKE_COMPILE_WARNING_AS_ERROR=OFF
cmake --build "$build" --target "${chosen[@]/#/benchmark_}"
rm -rf "$results"
mkdir -p "$results"

# One child at a time, ended by this script's own end; it takes down its cluster and its proxies however it ends.
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true; exit 130' INT TERM HUP

cores="$(nproc) cores"
memory="$(awk '/^MemTotal/ { printf "%.0f GB of memory", $2 / 1e6 }' /proc/meminfo)"
server="$("$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin | tail -n 1)/postgres" --version)"
compiler="$(${CXX:-c++} --version | head -n 1)"
machine="$cores, $memory, Linux $(uname -r | cut -d. -f1,2), $server, $compiler, all servers on this machine"
printf '\nMachine: %s\nload average at the start: %s\n' "$machine" "$(cut -d' ' -f1-3 /proc/loadavg)"

started=$SECONDS
failed=()
for name in "${chosen[@]}"; do
  printf '\n===== %s: %s\n\n' "$name" "${about[$name]}"
  begin=$SECONDS
  "$build/benchmarks/benchmark_$name" "$results" &
  child=$!
  wait "$child" || failed+=("$name")
  child=
  printf '(%d s)\n' $((SECONDS - begin))
  if [[ " ${failed[*]-} " != *" $name "* ]] && [ -f "benchmarks/$name.gp" ]; then
    gnuplot -e "folder='$results'" "benchmarks/$name.gp" || failed+=("$name (its plot)")
  fi
done

{
  printf '{"machine": "%s",\n "command": "./benchmarks/run.sh",\n "seconds": %d,\n "benchmarks": [\n' \
    "${machine//\"/}" $((SECONDS - started))
  separator='  '
  for name in "${chosen[@]}"; do
    [ -f "$results/$name.json" ] || continue
    printf '%s' "$separator"
    cat "$results/$name.json"
    separator='  ,'
  done
  printf ']}\n'
} >"$results/results.json"

printf '\n===== %d s; %s/results.json' $((SECONDS - started)) "$build/results"
for plot in "$results"/*.svg; do [ ! -f "$plot" ] || printf ', %s' "${plot##*/}"; done
printf '\n'
[ ${#failed[@]} -eq 0 ] || die "could not measure: ${failed[*]}"
[ $update_readme = no ] || cp "$results/scale.svg" benchmarks/scale.svg
