#!/usr/bin/env python3
"""Makes values.schema.json and README.md of the chart from the comments of values.yaml. --check: fails where they differ.

`# -- text` describes the next key (further comment lines continue it), `# @ {…}` is its schema beyond the type of the default.
In a schema `open: true` allows any keys. Every other object refuses keys that the values file does not have.
"""
import json
import os
import re
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), ".ci"))
from generated_files import write_or_check  # noqa: E402

CHART = os.path.join(HERE, "leadline")
KEY = re.compile(r"^( *)([A-Za-z0-9]+):")


def comments_of(text):
    """{path: (description, schema)} of the keys that have a comment."""
    found, stack, words, schema = {}, [], [], None
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            words = [stripped[5:]]
        elif stripped.startswith("# @ "):
            schema = yaml.safe_load(stripped[4:])
        elif stripped.startswith("#"):
            if words:
                words.append(stripped[2:])
        elif KEY.match(line):
            indent, key = KEY.match(line).groups()
            depth = len(indent) // 2
            stack = stack[:depth] + [key]
            if words:
                found[".".join(stack)] = (" ".join(words), schema or {})
            words, schema = [], None
        elif not stripped:
            words, schema = [], None
    return found


def type_of(value):
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    raise ValueError(f"no schema for {value!r}")


def schema_of(value, path, comments):
    description, more = comments.get(path, ("", {}))
    more = dict(more)
    is_open = more.pop("open", False)
    schema = {"type": type_of(value)}
    if description:
        schema["description"] = description
    schema.update(more)
    if isinstance(value, dict) and not is_open:
        schema["additionalProperties"] = False
        schema["properties"] = {key: schema_of(entry, f"{path}.{key}".lstrip("."), comments) for key, entry in value.items()}
    return schema


# What one value demands of another.
RULES = [
    {"if": {"properties": {"worker": {"properties": {"nodes": {"minimum": 2}}, "required": ["nodes"]}}, "required": ["worker"]},
     "then": {"properties": {"worker": {"properties": {"mode": {"const": "leaderworkerset"}}, "required": ["mode"]}}}},
    {"if": {"properties": {"worker": {"properties": {"mode": {"const": "leaderworkerset"}}, "required": ["mode"]}}, "required": ["worker"]},
     "then": {"properties": {"worker": {"properties": {"device": {"const": "cuda"}}, "required": ["device"]}}}},
    {"if": {"properties": {"worker": {"properties": {"device": {"const": "cuda"}}, "required": ["device"]}}, "required": ["worker"]},
     "then": {"properties": {"worker": {"properties": {"gpus": {"minimum": 1}}, "required": ["gpus"]}}}},
    {"if": {"properties": {"model": {"properties": {"source": {"const": "existingClaim"}}, "required": ["source"]}}, "required": ["model"]},
     "then": {"properties": {"model": {"properties": {"existingClaim": {"minLength": 1}}}}}},
    {"if": {"properties": {"model": {"properties": {"source": {"const": "hostPath"}}, "required": ["source"]}}, "required": ["model"]},
     "then": {"properties": {"model": {"properties": {"hostPath": {"minLength": 1}}}}}},
    {"if": {"properties": {"model": {"properties": {"source": {"const": "emptyDir"}}, "required": ["source"]}}, "required": ["model"]},
     "then": {"properties": {"model": {"properties": {"fetch": {"properties": {"enabled": {"const": True}}}}}}}},
    {"if": {"properties": {"model": {"properties": {"fetch": {"properties": {"enabled": {"const": True}}, "required": ["enabled"]}},
                                     "required": ["fetch"]}}, "required": ["model"]},
     "then": {"properties": {"model": {"properties": {"fetch": {"properties": {
         "image": {"pattern": "(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", "not": {"pattern": ":latest$"}}, "command": {"minLength": 1}}}}}}}},
]


def make_schema(values, comments):
    schema = schema_of(values, "", comments)
    schema["properties"]["global"] = {"type": "object"}
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the leadline chart", **schema,
                       "allOf": RULES}, indent=1) + "\n"


def rows_of(values, comments, path=""):
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if here in comments:
            shown = json.dumps(value).replace("|", "\\|")
            yield f"| `{here}` | `{shown}` | {comments[here][0].replace('|', chr(92) + '|')} |"
        elif isinstance(value, dict):
            yield from rows_of(value, comments, here)


def make_readme(values, comments):
    with open(os.path.join(CHART, "README.md.in")) as file:
        return file.read() + "| value | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows_of(values, comments)) + "\n"


def main():
    with open(os.path.join(CHART, "values.yaml")) as file:
        text = file.read()
    values, comments = yaml.safe_load(text), comments_of(text)
    made = {"values.schema.json": make_schema(values, comments), "README.md": make_readme(values, comments)}
    return write_or_check({os.path.join(CHART, name): text for name, text in made.items()}, "deploy/helm/make_chart_files.py")


if __name__ == "__main__":
    sys.exit(main())
