#!/usr/bin/env python3
"""Fails on files over 600 lines, functions over 70 lines, more than 6 parameters, a median file over 150 lines.

Waivers, each with its reason, are in size_waivers.toml; a waiver that nothing needs any more fails too.
C++ functions are found by their braces, Python ones by the parser.
"""
import argparse
import ast
import os
import re
import statistics
import sys
import tomllib

import source_tree

FILE_LINES, FUNCTION_LINES, PARAMETERS, MEDIAN_LINES = 600, 70, 6, 150
MIN_FILES_FOR_MEDIAN = 10
TYPE_HEAD = re.compile(r"(?:^|[;}\s>])(class|struct|union)\b[^()=]*$")


def drop_templates(head):
    """Without a leading template<...> and requires(...): they hold parentheses and commas of their own."""
    head = head.strip()
    while head.startswith("template"):
        depth = 0
        for i, c in enumerate(head):
            depth += (c == "<") - (c == ">")
            if c == ">" and depth == 0:
                head = head[i + 1:].strip()
                break
        else:
            return head
    return re.sub(r"^requires\s*\([^()]*(\([^()]*\)[^()]*)*\)", "", head).strip()


def parameters_of(head):
    """(name, number of parameters) of a function's head, or None."""
    match = re.search(r"(operator\s*\(\s*\)|operator\s*[^\s(]+|[~\w:]+)\s*\(", drop_templates(head))
    if not match:
        return None
    text = drop_templates(head)[match.end():]
    depth, angle, count, seen = 1, 0, 1, ""
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth == 0:
            break
        angle = max(0, angle + (c == "<") - (c == ">"))
        if c == "," and depth == 1 and angle == 0:
            count += 1
        seen += c
    return match.group(1).strip(), count if seen.strip() not in ("", "void") else 0


def brace_kind(head):
    bare = drop_templates(head)
    if re.search(r"\bnamespace\b", bare) or re.match(r'extern\s*""', bare):
        return "namespace"
    if re.match(r"(typedef\s+)?enum\b", bare):
        return "other"
    if TYPE_HEAD.search(bare):
        return "type"
    if ")" in bare and not re.search(r"=\s*$", bare):
        initialisers = re.search(r"\)[^()]*:\s*(?!:)", bare)
        if initialisers and re.search(r"[\w>]\s*$", bare) and not re.search(r"\b(const|noexcept|override|final)\s*$", bare):
            return "member"  # a_{1} in a constructor's list: the head goes on after it
        return "function"
    return "other"


def cpp_functions(text):
    """Yields (name, first line, lines, parameters); declarations have 1 line."""
    text = source_tree.strip_noise(text)
    stack, head, head_line, line, parens = [], "", 1, 1, 0
    function = None
    for c in text:
        if c == "\n":
            line += 1
        if function is None:
            if not head.strip():
                head_line = line
            parens = max(0, parens + (c == "(") - (c == ")"))
        if c == "{" and (function or not parens):
            kind = "inner" if function or (stack and stack[-1] == "member") else brace_kind(head)
            if kind == "function":
                function = (head, head_line, len(stack))
            stack.append(kind)
            if kind not in ("member", "inner"):
                head = ""
            elif not function:
                head += c
        elif c == "}" and stack and (function or not parens):
            kind = stack.pop()
            if function and len(stack) == function[2]:
                name, count = parameters_of(function[0]) or ("?", 0)
                yield name, function[1], line - function[1] + 1, count
                function = None
                head = ""
            elif kind in ("namespace", "type", "other"):
                head = ""
            elif not function:
                head += c
        elif c == ";" and function is None and not parens:
            found = parameters_of(head) if stack[-1:] in ([], ["namespace"], ["type"]) else None
            if found and "=" not in head.split("(")[0]:
                yield found[0], head_line, 1, found[1]
            head = ""
        elif function is None:
            head += c
            if head.strip() in ("public:", "private:", "protected:"):
                head = ""


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [a.arg for a in [*node.args.args, *node.args.kwonlyargs]]
            count = len([name for name in names if name not in ("self", "cls")])
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1, count


class Waivers:
    def __init__(self, root):
        path = os.path.join(root, ".ci/size_waivers.toml")
        self.entries = []
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.entries = tomllib.load(file).get("waiver", [])
        self.used = set()

    def limit(self, path, function, what, default, value):
        """The limit for this thing; a waiver counts as used only where the default is exceeded."""
        for i, entry in enumerate(self.entries):
            if entry["path"] == path and entry.get("function") == function and what in entry and value > default:
                self.used.add(i)
                return entry[what]
        return default

    def errors(self):
        for i, entry in enumerate(self.entries):
            if not entry.get("reason"):
                yield f"size_waivers.toml: {entry['path']}: a waiver has a reason"
            elif i not in self.used:
                yield f"size_waivers.toml: {entry['path']} {entry.get('function', '')}: not needed any more"


def check_file(root, path, waivers, errors):
    text = source_tree.read(root, path)
    lines = text.count("\n")
    if lines > waivers.limit(path, None, "lines", FILE_LINES, lines):
        errors.append(f"{path}: {lines} lines, at most {FILE_LINES}")
    functions = python_functions if path.endswith(".py") else cpp_functions
    for name, line, length, count in functions(text):
        if length > waivers.limit(path, name, "lines", FUNCTION_LINES, length):
            errors.append(f"{path}:{line}: {name} has {length} lines, at most {FUNCTION_LINES}")
        if count > waivers.limit(path, name, "parameters", PARAMETERS, count):
            errors.append(f"{path}:{line}: {name} has {count} parameters, at most {PARAMETERS}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=source_tree.ROOT)
    root = parser.parse_args().root
    waivers, errors = Waivers(root), []
    sizes = [check_file(root, path, waivers, errors)
             for path in source_tree.list_files(root, source_tree.CPP + (".py",))]
    errors.extend(waivers.errors())
    median = statistics.median(sizes) if sizes else 0
    if len(sizes) >= MIN_FILES_FOR_MEDIAN and median > MEDIAN_LINES:
        errors.append(f"the median file has {median} lines, at most {MEDIAN_LINES}")
    print("\n".join(errors) if errors else f"sizes: {len(sizes)} files, median {median:.0f} lines, longest {max(sizes)}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
