#!/usr/bin/env bash
# prepare.sh [DIR]: gathers what the engine needs besides a compiler and CUDA, from this Debian machine, so that the tree can
# be carried to a bare GPU machine: header-only libraries, xxHash's header, GoogleTest's sources. Default DIR: build/carried.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
to=${1:-$root/build/carried}
rm -rf "$to"
mkdir -p "$to/include"
need() { [[ -e $1 ]] || { echo "prepare: $1 is missing: apt-get install $2" >&2; exit 1; }; }
need /usr/include/tl/expected.hpp libexpected-dev
need /usr/include/nlohmann/json.hpp nlohmann-json3-dev
need /usr/include/xxhash.h libxxhash-dev
need /usr/src/googletest/CMakeLists.txt googletest
cp -r /usr/include/tl /usr/include/nlohmann "$to/include/"
cp /usr/include/xxhash.h "$to/include/"
if [[ -e /usr/include/xxh3.h ]]; then cp /usr/include/xxh3.h "$to/include/"; fi
mkdir "$to/googletest"
cp -r /usr/src/googletest/CMakeLists.txt /usr/src/googletest/googletest /usr/src/googletest/googlemock "$to/googletest/"
rm -rf "$to"/googletest/*/test "$to"/googletest/*/samples
echo "prepare: $(du -sh "$to" | cut -f1) in $to"
