#!/usr/bin/env bash
# Installs what is missing, builds the demonstration, and runs it: a throw-away PostgreSQL primary and three replicas on
# this machine share the work of a small photo service. It takes photo_feed's arguments, such as --short.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cmake/install_dependencies.sh --for examples
eval "$(cmake/install_dependencies.sh --print-environment)"

# Whoever wants to see it run must not be stopped by what a newer compiler warns of.
cmake --preset release -B build/examples -DREPLICA_ROUTER_BUILD_TESTS=OFF -DCMAKE_COMPILE_WARNING_AS_ERROR=OFF
cmake --build build/examples --target photo_feed

exec build/examples/examples/photo_feed "$@"
