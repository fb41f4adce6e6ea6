#!/usr/bin/env bash
# run.sh [--out DIR] [--carried DIR] [--build-only]: on a machine with a GPU (or without: it says so): builds the engine alone, runs the
# laws of every backend found, the model's tests, compute-sanitizer on the small cases and the benchmarks, and writes DIR/report.json and
# DIR/report.md (default docs/gpu). Every part has its share of 9 minutes; what does not fit is reported as not run.
#
# The build goes in stages and may be cut off at any point: the next run goes on where it stopped, and the report says how far it came.
# --build-only stops after it, with 0 when everything is built: for the time before a GPU is lent, as often as it takes.
#   LEADLINE_GPU_BUILD    build directory (build/gpu)       LEADLINE_GPU_BUDGET   seconds in all (540)
#   LEADLINE_GPU_JOBS     compilers at once (all cores)     LEADLINE_CUDA         AUTO, ON or OFF (ON where a GPU is visible)
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
out=docs/gpu carried=build/carried build=${LEADLINE_GPU_BUILD:-build/gpu} build_only=
while (($#)); do
  case $1 in
    --out) out=${2:?--out DIR}; shift 2 ;;
    --carried) carried=${2:?--carried DIR}; shift 2 ;;
    --build-only) build_only=1; shift ;;
    *) echo "run.sh: unknown option $1"; exit 2 ;;
  esac
done
started=$SECONDS budget=${LEADLINE_GPU_BUDGET:-540} jobs=${LEADLINE_GPU_JOBS:-$(nproc)}
parts=$(mktemp -d) && trap 'rm -rf "$parts"' EXIT
mkdir -p "$out"
gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null | head -1)
if [[ -n $gpu ]]; then cuda=ON; else cuda=AUTO; echo "run.sh: no GPU here: the device part is not run"; fi
cuda=${LEADLINE_CUDA:-$cuda}

# part NAME SECONDS COMMAND...: its output to $parts/NAME.log, its status and seconds to $parts/NAME.status
part() {
  local name=$1 limit=$2 status=0 from=$SECONDS; shift 2
  local left=$((budget - (SECONDS - started)))
  if ((left < 5)); then printf 'not run: no time left\n' >"$parts/$name.status"; echo "run.sh: $name: not run: no time left"; return 1; fi
  ((limit > left)) && limit=$left
  timeout "$limit" "$@" >"$parts/$name.log" 2>&1 || status=$?
  printf '%s %s\n' "$status" "$((SECONDS - from))" >"$parts/$name.status"
  echo "run.sh: $name: exit $status after $((SECONDS - from)) s"
  return "$status"
}
skip() { printf 'not run: %s\n' "$2" >"$parts/$1.status"; echo "run.sh: $1: not run: $2"; }

generator=(); command -v ninja >/dev/null && generator=(-G Ninja)
launcher=(); command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
given=(); [[ -d $carried ]] && given=(-DLEADLINE_CARRIED="$root/$carried")
compile() { cmake --build "$build" --parallel "$jobs" --target "$@"; }

# The stages of the build, what takes longest first: a cut-off loses at most the files at hand.
built=1
part configure 240 cmake -S . -B "$build" "${generator[@]}" "${launcher[@]}" "${given[@]}" -DLEADLINE_PARTS=engine -DLEADLINE_TESTS=ON -DLEADLINE_CUDA="$cuda" || built=0
has_device=0; cmake --build "$build" --target help 2>/dev/null | grep -q '^\(\.\.\. \)\?leadline_cuda\b' && has_device=1
export -f compile; export build jobs
most=400; [[ -n $build_only ]] && most=$budget  # of one stage
stage() { if ((built)); then part "$1" "$2" bash -c "compile $3" || built=0; else skip "$1" "an earlier stage of the build did not end"; fi; }
if ((has_device)); then stage build_device "$most" "leadline_cuda"; else skip build_device "no CUDA toolkit (LEADLINE_CUDA=$cuda)"; fi
stage build_engine "$most" "leadline_model leadline_cuda_emulator"
stage build_tests "$most" "backend_conformance_test cuda_host_test model_test$( ((has_device)) && echo ' gpu_bench')"

# run NAME SECONDS COMMAND...: a part of the finished build
run() { if ((built)); then part "$@" || true; else skip "$1" "the build did not end: run again, it goes on"; fi; }
# What needs the GPU comes first and has 390 s in all; what any machine can run has what is left.
laws="$build/tests/backend_conformance_test"
if [[ -n $build_only ]]; then
  for name in device_laws device_model bench memcheck racecheck conformance host_logic model; do skip $name "--build-only"; done
else
  if [[ -n $gpu ]]; then
    run device_laws 90 "$laws" '--gtest_filter=*/cuda'
    run device_model 60 env LEADLINE_DEVICE=cuda "$build/tests/cuda_host_test" --gtest_filter='CudaModel.*:CudaChoice.*'
    run bench 120 "$build/bin/gpu_bench"
    small='Device/*Awkward*/cuda:Device/*RmsNorm*/cuda:Device/*EveryHeadSize*/cuda:Device/*Splits*/cuda'
    if command -v compute-sanitizer >/dev/null; then
      run memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "$laws" "--gtest_filter=$small"
      run racecheck 60 compute-sanitizer --tool racecheck --error-exitcode 9 "$laws" "--gtest_filter=$small"
    else
      skip memcheck "no compute-sanitizer"; skip racecheck "no compute-sanitizer"
    fi
  else
    for name in device_laws device_model bench memcheck racecheck; do skip $name "no GPU"; done
  fi
  run conformance 240 "$laws" '--gtest_filter=-*/cuda'
  run host_logic 240 "$build/tests/cuda_host_test"
  run model 240 "$build/tests/model_test"
fi
python3 tests/gpu/report.py --parts "$parts" --out "$out" --gpu "${gpu:-none}" --seconds $((SECONDS - started))
