#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests.
#
#   tests/run.sh [--preset dev|release|asan|tsan|clang|fuzz] [arguments of ctest, such as -L unit or -R pool]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=dev
if [ "${1:-}" = --preset ]; then
  preset="${2:?which preset?}"
  shift 2
fi

cmake/install_dependencies.sh --for tests
eval "$(cmake/install_dependencies.sh --print-environment)"

cmake --preset "$preset"
cmake --build --preset "$preset"
ctest --preset "$preset" "$@"
