#!/usr/bin/env python3
"""Writes the goldens of chat templates with jinja2, or with --check compares them: conversations.json, rendered.jsonl and
expressions.jsonl. The C++ test reads these files; tests/integration/chat_template_test.py compares all combinations live."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../.ci"))
import jinja_oracle as oracle  # noqa: E402
from conversations import CONVERSATIONS  # noqa: E402
from generated_files import write_or_check  # noqa: E402

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
    return write_or_check({os.path.join(oracle.HERE, name): text for name, text in contents()},
                          "tests/golden/chat_templates/make_chat_templates.py")


if __name__ == "__main__":
    sys.exit(main())
