#!/usr/bin/env python3
"""Fails on C++ files that clang-format 14 would change. `--fix` changes them."""
import argparse
import os
import re
import shutil
import subprocess
import sys

import source_tree

MAJOR = 14  # pinned: other versions format differently


def find_formatter():
    for name in (f"clang-format-{MAJOR}", "clang-format"):
        path = shutil.which(name)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if re.search(rf"version {MAJOR}\.", version):
                return path
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=source_tree.ROOT)
    parser.add_argument("--fix", action="store_true")
    options = parser.parse_args()
    formatter = find_formatter()
    if formatter is None:
        print(f"format: clang-format {MAJOR} is not installed (package clang-format-{MAJOR})")
        return 1
    paths = [os.path.join(options.root, p) for p in source_tree.list_files(options.root, source_tree.CPP)]
    if not paths:
        return 0
    mode = ["-i"] if options.fix else ["--dry-run", "--Werror"]
    result = subprocess.run([formatter, "--style=file", *mode, *paths], capture_output=True, text=True)
    bad = sorted({os.path.relpath(line.split(":")[0], options.root)
                  for line in result.stderr.splitlines() if "clang-format-violations" in line})
    print("\n".join(f"{p}: not as clang-format {MAJOR} writes it" for p in bad) if bad
          else f"format: {len(paths)} files")
    return 1 if bad or result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
