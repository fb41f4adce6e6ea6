#!/usr/bin/env python3
"""Writes the goldens of chat templates with jinja2, or with --check compares them: conversations.json, rendered.jsonl and
expressions.jsonl. The C++ test reads these files; tests/integration/chat_template_test.py compares all combinations live."""
import json
import os
import sys

import jinja_oracle as oracle
from conversations import CONVERSATIONS

# Without a generation prompt, only these are committed (the live comparison does them all).
WITHOUT_PROMPT = {"user", "system and turns", "ends with assistant", "tool call", "parts"}


def line(value):
    return json.dumps(value, ensure_ascii=False)


def rendered():
    for name, source in oracle.templates().items():
        for conversation, (messages, extra) in CONVERSATIONS.items():
            for prompt in (True, False):
                if prompt or conversation in WITHOUT_PROMPT:
                    kind, text = oracle.render(source, oracle.chat_variables(messages, extra, prompt))
                    yield {"template": name, "conversation": conversation, "prompt": prompt,
                           kind: text if kind != "failed" else text.split(":")[0]}


def expressions():
    for source in oracle.expressions():
        kind, text = oracle.render(source, oracle.EXPRESSION_VARIABLES)
        yield {"source": source, kind: text if kind != "failed" else text.split(":")[0]}


def contents():
    yield "conversations.json", line({"variables": oracle.EXPRESSION_VARIABLES, "now": oracle.NOW, "bos": oracle.BOS,
                                      "eos": oracle.EOS,
                                      "conversations": {name: {"messages": messages, "extra": extra} for name, (messages, extra)
                                                        in CONVERSATIONS.items()}}) + "\n"
    yield "rendered.jsonl", "".join(line(case) + "\n" for case in rendered())
    yield "expressions.jsonl", "".join(line(case) + "\n" for case in expressions())


def main():
    stale = []
    for name, text in contents():
        path = os.path.join(oracle.HERE, name)
        if "--check" not in sys.argv:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        elif not os.path.exists(path) or oracle.read(path) != text:
            stale.append(name)
    if stale:
        sys.exit("not what jinja2 makes of the templates now: " + ", ".join(stale))


if __name__ == "__main__":
    main()
