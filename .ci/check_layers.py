#!/usr/bin/env python3
"""Fails when an include breaks the table in layers.toml. Says file, line and the edge that is not allowed."""
import argparse
import os
import re
import sys
import tomllib

import source_tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
BEAST = re.compile(r"boost/(beast(/|\.hpp)|asio/(awaitable|co_spawn|experimental/awaitable_operators)\.hpp|asio\.hpp)")
FORBIDDEN = {"sentencepiece_processor.h": "Debian's libsentencepiece crashes beside libprotobuf"}


def component_of(path, components):
    """The longest component that is the path, a folder above it, or its path without suffix."""
    stem = os.path.splitext(path)[0]
    best = None
    for name in components:
        if path == name or stem == name or path.startswith(name + "/"):
            if best is None or len(name) > len(best):
                best = name
    return best


def allowed(source, target, components):
    """A component that may be included whole includes the single files that are components within it."""
    may = components[source]
    if "*" in may or source == target or target in may:
        return True
    inner_file = target.endswith(".h") and any(target.startswith(name + "/") for name in [*may, source])
    return inner_file


def check_file(root, path, components, table, errors):
    text = source_tree.read(root, path)
    source = component_of(path, components)
    uses_beast = False
    if source is None:
        errors.append(f"{path}: belongs to no component of layers.toml")
        return False
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        quoted, target = match.group(1) == '"', match.group(2)
        uses_beast |= bool(BEAST.match(target))
        if target in FORBIDDEN:
            errors.append(f"{path}:{line}: {target} is not to be included: {FORBIDDEN[target]}")
        top = target.split("/")[0]
        if top not in table["top_level"]:
            if quoted and not os.path.exists(os.path.join(root, target)):
                errors.append(f'{path}:{line}: "{target}" is not a path from the root of the repository')
            continue
        to = component_of(target, components)
        if to is None or not allowed(source, to, components):
            errors.append(f"{path}:{line}: {source} may not include {target} ({to})")
    return uses_beast


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=source_tree.ROOT)
    root = parser.parse_args().root
    with open(os.path.join(root, ".ci/layers.toml"), "rb") as file:
        table = tomllib.load(file)
    components = table["component"]
    errors, beast = [], []
    for path in source_tree.list_files(root, source_tree.CPP):
        if path.split("/")[0] not in table["top_level"]:
            errors.append(f"{path}: not in a top-level directory of layers.toml")
        elif check_file(root, path, components, table, errors) and not path.startswith("tests/"):
            beast.append(path)
    if len(beast) > table["beast_files_max"]:
        errors.append(f"{len(beast)} files include Beast or coroutines, at most {table['beast_files_max']}: {beast}")
    print("\n".join(errors) if errors else f"layers: whole ({len(beast)} files include Beast or coroutines)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
