#!/usr/bin/env python3
"""kernel_resources.py [--write]: compiles every kernel and tables its registers, shared memory and spills per chip, from
ptxas. --write puts the table into docs/gpu/kernel_resources.md; without it the committed table is compared and spills that
are not in it fail. Needs nvcc, no GPU."""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/gpu/kernel_resources.md"
CHIPS = ["80", "90"]


def compile_reports():
    rows = {}
    for half in ("row_kernels", "kv_kernels", "prefill_kernels"):
        for chip in CHIPS:
            with tempfile.NamedTemporaryFile(suffix=".cubin") as out:
                done = subprocess.run(
                    ["nvcc", "-std=c++17", "-O2", "--fmad=false", f"-I{ROOT}", "-cubin", f"-arch=sm_{chip}", "-Xptxas", "-v",
                     str(ROOT / f"worker/backend/cuda/{half}.cu"), "-o", out.name], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(done.stderr)
            found = re.findall(r"Compiling entry function '(\w+)'.*?\n.*?\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
                               r"(\d+) bytes spill loads\n.*?Used (\d+) registers", done.stderr)
            for mangled, stack, stores, loads, registers in found:
                name = re.search(r"(?:_cu_[0-9a-f]{8}\d*?)(\d\d?)([a-z]\w+?)_kernelE", mangled)
                rows.setdefault(name.group(2) if name else mangled, {})[chip] = (int(registers), int(stack), int(stores) + int(loads))
    return rows


def table_of(rows):
    lines = ["# Registers, stack and spills of every kernel", "",
             "Made by `tests/gpu/kernel_resources.py --write` from ptxas's report; per chip: registers per thread, bytes of stack frame,",
             "bytes of spills (stores and loads). 65,536 registers a multiprocessor: 128 threads of 128 registers are 4 blocks.", "",
             "| kernel | " + " | ".join(f"sm_{c}: registers | stack | spills" for c in CHIPS) + " |",
             "| --- |" + " --- | --- | --- |" * len(CHIPS)]
    for name in sorted(rows):
        cells = [str(n) for chip in CHIPS for n in rows[name].get(chip, ("", "", ""))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    rows = compile_reports()
    text = table_of(rows)
    spills = sorted(f"{name} sm_{chip}: {r[2]} bytes" for name, chips in rows.items() for chip, r in chips.items() if r[2])
    print(f"{len(rows)} kernels, spills: {', '.join(spills) or 'none'}")
    if "--write" in sys.argv:
        TABLE.write_text(text)
        return
    known = TABLE.read_text() if TABLE.exists() else ""
    if text != known:
        print("docs/gpu/kernel_resources.md is not what this tree compiles to: run with --write and look at the difference")
    if spills and text != known:
        sys.exit(1)


if __name__ == "__main__":
    main()
