#!/usr/bin/env python3
"""Fails on headers that do not compile alone, or that do not begin with `#pragma once` and a comment that says what they are.

A header is compiled again only when it, a file of ours that it includes, or the compiler changed (build/header_cache).
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys

import source_tree

HEAD_LINES = (1, 30)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)
FRAGMENT = "// fragment:"  # a header made to be included in the middle of another file says so with this mark


def head_error(text):
    lines = text.splitlines()
    if not lines or lines[0] != "#pragma once":
        return "does not begin with #pragma once"
    count = 0
    while count + 1 < len(lines) and lines[count + 1].startswith("//"):
        count += 1
    low, high = HEAD_LINES
    if not low <= count <= high:
        return f"its head comment has {count} lines, {low} to {high} are asked for"
    return None


def digest(root, path, seen):
    """Of the header and every file of ours that it includes, so far as they exist in the tree."""
    if path in seen or not os.path.exists(os.path.join(root, path)):
        return b""
    seen.add(path)
    text = source_tree.read(root, path)
    parts = [path.encode(), text.encode()]
    parts += [digest(root, target, seen) for target in INCLUDE.findall(text)]
    return hashlib.sha256(b"\0".join(parts)).digest()


KERNEL_HEADER = re.compile(r"worker/backend/cpu/(vector_avx512|vector_amx|attention_tiles|attention_stream|bf16_tiles|int8_tiles|tiled_linear|bf16_dots)")
KERNEL_FLAGS = ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512bf16",
                "-mamx-tile", "-mamx-int8", "-mamx-bf16"]
EIGEN_FLAGS = ["-isystem", "/usr/include/eigen3"]  # where Debian's libeigen3-dev puts it


def compile_alone(root, path, flags, cache):
    key = hashlib.sha256(digest(root, path, set()) + repr(flags).encode()).hexdigest()
    stamp = os.path.join(cache, key)
    if os.path.exists(stamp):
        return None
    source = f'#include "{path}"\n#include "{path}"\n'
    result = subprocess.run([*flags, "-fsyntax-only", "-x", "c++", "-"], input=source, capture_output=True, text=True)
    if result.returncode != 0:
        first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:300])
        return f"{path}: does not compile alone: {first}"
    with open(stamp, "w") as file:
        file.write(path + "\n")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=source_tree.ROOT)
    parser.add_argument("--build", default="build/release", help="for generated headers")
    options = parser.parse_args()
    root, build = options.root, os.path.join(options.root, options.build)
    compiler = os.environ.get("CXX", "g++")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    mpi = subprocess.run(["mpicxx", "--showme:compile"], capture_output=True, text=True)
    flags = [compiler, "-std=c++20", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-pragma-once-outside-header",
             f"-I{root}", f"-I{build}/generated", f"-I{build}", *(mpi.stdout.split() if mpi.returncode == 0 else [])]
    # A header of one instruction set is read as its kernel file reads it: the widest set, since each includes the narrower ones.
    flags_of = lambda path: [*flags, *(KERNEL_FLAGS if KERNEL_HEADER.match(path) else []),
                             *(EIGEN_FLAGS if path.startswith("policy/trainer/") else []), f"-DID={len(version)}"]
    cache = os.path.join(root, "build/header_cache")
    os.makedirs(cache, exist_ok=True)
    errors, alone = [], []
    for path in source_tree.list_files(root, (".h",)):
        text = source_tree.read(root, path)
        if text.startswith(FRAGMENT):
            continue
        problem = head_error(text)
        if problem:
            errors.append(f"{path}: {problem}")
        alone.append(path)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors += [e for e in pool.map(lambda p: compile_alone(root, p, flags_of(p), cache), alone) if e]
    print("\n".join(errors) if errors else f"headers: {len(alone)} compile alone")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
