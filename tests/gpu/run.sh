#!/usr/bin/env bash
# run.sh [--out DIR] [--carried DIR]: on a machine with a GPU (or without: it says so): builds the engine alone, runs the laws of
# every backend found, the model's tests, compute-sanitizer on the small cases and the benchmarks, and writes DIR/report.json and
# DIR/report.md (default docs/gpu). Every part has its share of 9 minutes; what does not fit is reported as not run.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
out=docs/gpu carried=build/carried build=${LEADLINE_GPU_BUILD:-build/gpu}
while (($#)); do
  case $1 in
    --out) out=$2; shift 2 ;;
    --carried) carried=$2; shift 2 ;;
    *) echo "run.sh: unknown option $1"; exit 2 ;;
  esac
done
started=$SECONDS budget=540
parts=$(mktemp -d) && trap 'rm -rf "$parts"' EXIT
mkdir -p "$out"
gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null | head -1)
[[ -n $gpu ]] && cuda=ON || { cuda=AUTO; echo "run.sh: no GPU here: the device part is not run"; }

# part NAME SECONDS COMMAND...: its output to $parts/NAME.log, its status and seconds to $parts/NAME.status
part() {
  local name=$1 limit=$2 status=0 from=$SECONDS; shift 2
  local left=$((budget - (SECONDS - started)))
  if ((left < 5)); then printf 'not run: no time left\n' >"$parts/$name.status"; return; fi
  ((limit > left)) && limit=$left
  timeout "$limit" "$@" >"$parts/$name.log" 2>&1 || status=$?
  printf '%s %s\n' "$status" "$((SECONDS - from))" >"$parts/$name.status"
  echo "run.sh: $name: exit $status after $((SECONDS - from)) s"
}
skip() { printf 'not run: %s\n' "$2" >"$parts/$1.status"; echo "run.sh: $1: not run: $2"; }

generator=(); command -v ninja >/dev/null && generator=(-G Ninja)
launcher=(); command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
given=(); [[ -d $carried ]] && given=(-DLEADLINE_CARRIED="$root/$carried")
part configure 60 cmake -S . -B "$build" "${generator[@]}" "${launcher[@]}" "${given[@]}" -DLEADLINE_PARTS=engine -DLEADLINE_TESTS=ON -DLEADLINE_CUDA=$cuda
part build 260 cmake --build "$build" --parallel "$(nproc)"
part conformance 120 "$build/tests/backend_conformance_test"
part host_logic 60 "$build/tests/cuda_host_test"
part model 60 "$build/tests/model_test"
if [[ -n $gpu ]]; then
  part device_model 60 env LEADLINE_DEVICE=cuda "$build/tests/cuda_host_test" --gtest_filter='CudaModel.*'
  small='Device/*Awkward*/cuda:Device/*RmsNorm*/cuda:Device/*EveryHeadSize*/cuda:Device/*Splits*/cuda'
  if command -v compute-sanitizer >/dev/null; then
    part memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "$build/tests/backend_conformance_test" "--gtest_filter=$small"
    part racecheck 60 compute-sanitizer --tool racecheck --error-exitcode 9 "$build/tests/backend_conformance_test" "--gtest_filter=$small"
  else
    skip memcheck "no compute-sanitizer"; skip racecheck "no compute-sanitizer"
  fi
  part bench 120 "$build/bin/gpu_bench"
else
  for name in device_model memcheck racecheck bench; do skip $name "no GPU"; done
fi
python3 tests/gpu/report.py --parts "$parts" --out "$out" --gpu "${gpu:-none}" --seconds $((SECONDS - started))
