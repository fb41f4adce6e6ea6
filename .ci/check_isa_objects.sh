#!/usr/bin/env bash
# check_isa_objects.sh BUILD_DIR: kernel objects built for one ISA level must not define weak (inline, template) symbols, which
# the linker could choose for the whole program, and must export nothing but their table. Fails with the symbols' names.
set -euo pipefail
build=${1:-build/release}
mapfile -t objects < <(find "$build" \( -name 'kernels_avx*.o' -o -name 'kernels_amx*.o' \) -not -name '*_test*' | sort)
[ "${#objects[@]}" -gt 0 ] || { echo "check_isa_objects: no kernels_avx*.o or kernels_amx*.o under $build: build leadline_backend first"; exit 1; }
bad=0
for object in "${objects[@]}"; do
  weak=$(nm -C "$object" | grep -E '^[0-9a-f]* +[WVu] ' || true)
  exported=$(nm -C --defined-only -g "$object" | grep -vE ' [RD] leadline::worker::cpu::k[A-Za-z0-9]+Kernels$' || true)
  if [ -n "$weak$exported" ]; then
    printf '%s: library or inline code in a kernel object:\n%s\n%s\n' "$object" "$weak" "$exported"
    bad=1
  fi
done
[ "$bad" = 0 ] && echo "check_isa_objects: ${#objects[@]} objects, no weak symbols"
exit "$bad"
