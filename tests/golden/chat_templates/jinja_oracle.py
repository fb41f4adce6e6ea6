"""What jinja2 makes of a chat template, set up as transformers sets it up for apply_chat_template."""
import datetime
import functools
import json
import os

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = 1767237345  # 1 January 2026, 03:15:45 UTC
BOS, EOS = "<s>", "</s>"
EXPRESSION_VARIABLES = {
    "text": "Hello, Łódź", "numbers": [3, 1, 2, 1], "d": {"a": 1, "é": "ü", "n": None}, "items_key": {"items": 5},
    "people": [{"name": "Ada", "age": 36, "address": {"city": "London"}}, {"name": "Alan", "age": 41, "address": {"city": "Wilmslow"}}],
    "big": 9007199254740993, "negative": -7, "real": 0.30000000000000004,
}


class Raised(jinja2.exceptions.TemplateError):
    """The template's own raise_exception."""


class GenerationBlock(jinja2.ext.Extension):
    """{% generation %}: marks the model's turns for training; its text passes through, in its own scope."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise Raised(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)
    return made


ENVIRONMENT = environment()
compiled = functools.lru_cache(maxsize=64)(ENVIRONMENT.from_string)


def render(source, variables):
    """("text", rendered), ("raised", the template's words) or ("failed", why): no template, or it does not fit."""
    try:
        return "text", compiled(source).render(**variables)
    except Raised as error:
        return "raised", str(error.message)
    except Exception as error:  # noqa: BLE001 - whatever jinja2 or Python raises
        return "failed", f"{type(error).__name__}: {error}"


def chat_variables(messages, extra, add_generation_prompt):
    return {"bos_token": BOS, "eos_token": EOS, "tools": None, "documents": None, "messages": messages, **extra,
            "add_generation_prompt": add_generation_prompt}


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def templates():
    """name -> source, of the templates kept here."""
    folder = os.path.join(HERE, "templates")
    return {name.removesuffix(".jinja"): read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def expressions():
    with open(os.path.join(HERE, "expressions.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith("#")]
    return [line.replace("⏎", "\n").replace("␍", "\r") for line in lines]
