#!/usr/bin/env python3
"""Logits and greedy tokens of the engine against the PyTorch oracle's goldens, for random checkpoints of every family and for
the reference model. The checkpoints are made here from their seeds (tests/golden/families.py); only goldens are committed.

With --full (needs torch) the oracle runs again: on the committed seeds, whose goldens must not change, and on new ones.
"""
import array
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests/golden")
REFERENCE = os.path.join(ROOT, "models/reference")
TOOL = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "bin/leadline-logits")
sys.path.insert(0, GOLDEN)

from families import FAMILIES, VOCAB, prompt_of, write_checkpoint  # noqa: E402

FULL = "--full" in sys.argv
NEW_SEEDS = (1, 2, 3)
F32_BAR, BF16_BAR = 1e-5, 1e-2  # norm of the difference over norm of the logits
SHORT = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def run_tool(model, prompt, *arguments):
    result = subprocess.run([TOOL, "--model", model, *arguments], input=" ".join(map(str, prompt)), capture_output=True,
                            text=True, timeout=120)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


def engine_logits(model, prompt, vocab, **flags):
    """Rows of `vocab` floats, one per token."""
    with tempfile.NamedTemporaryFile() as out:
        run_tool(model, prompt, *[part for name, value in flags.items() for part in ("--" + name, str(value))], "logits",
                 out.name)
        flat = array.array("f")
        flat.frombytes(out.read())
    return [flat[at:at + vocab] for at in range(0, len(flat), vocab)]


def read_golden(name, vocab):
    with open(os.path.join(GOLDEN, "families", name + ".json")) as file:
        facts = json.load(file)
    flat = array.array("f")
    with open(os.path.join(GOLDEN, "families", name + ".logits.f32"), "rb") as file:
        flat.frombytes(file.read())
    return facts, [flat[at:at + vocab] for at in range(0, len(flat), vocab)]


def distance(ours, expected):
    difference = math.fsum((a - b) ** 2 for x, y in zip(ours, expected) for a, b in zip(x, y))
    return math.sqrt(difference / math.fsum(b * b for y in expected for b in y))


def disagreements(ours, expected):
    """Of the rows where the best token differs: how far the oracle puts our choice below its own."""
    gaps = []
    for x, y in zip(ours, expected):
        mine, theirs = max(range(len(x)), key=x.__getitem__), max(range(len(y)), key=y.__getitem__)
        if mine != theirs:
            gaps.append(y[theirs] - y[mine])
    return gaps


class Checkpoint(unittest.TestCase):
    """What every checkpoint is held to; `golden` is (facts, logits) from wherever."""

    def check_f32(self, model, golden, vocab):
        facts, expected = golden
        whole = engine_logits(model, facts["prompt"], vocab, weights="f32", kv="f32", chunk=64)
        ours = [whole[row] for row in facts["rows"]]
        far = distance(ours, expected)
        print(f"f32 {far:.1e}", end=" ", flush=True)
        self.assertLess(far, F32_BAR)
        self.assertEqual(disagreements(ours, expected), [])
        for ranks, chunk in ((2, 7), (4, 45)):
            self.assertEqual(whole, engine_logits(model, facts["prompt"], vocab, weights="f32", kv="f32", ranks=ranks,
                                                  chunk=chunk), f"{ranks} ranks, chunks of {chunk}")
        tokens = run_tool(model, facts["prompt"], "--weights", "f32", "--ranks", "2", "greedy", str(len(facts["greedy"])))
        self.assertEqual([int(token) for token in tokens.split()], facts["greedy"])

    def check_rounded(self, model, golden, vocab, kind):
        facts, expected = golden
        whole = engine_logits(model, facts["prompt"], vocab, weights="auto", kv=kind, chunk=16)
        ours = [whole[row] for row in facts["rows"]]
        far, gaps = distance(ours, expected), disagreements(ours, expected)
        print(f"{kind} {far:.1e}, {len(gaps)} of {len(ours)} best tokens differ", end=" ", flush=True)
        self.assertLess(far, BF16_BAR)
        # The bar says how far logits may be on average; a choice may flip only where the oracle's gap is of that size.
        size = math.sqrt(math.fsum(b * b for y in expected for b in y) / sum(map(len, expected)))
        for gap in gaps:
            self.assertLess(gap, 4 * BF16_BAR * size)


class Families(Checkpoint):
    pass


def add_family_test(family):
    def test(self):
        with tempfile.TemporaryDirectory() as model:
            write_checkpoint(family, model)
            golden = read_golden(family.name, VOCAB)
            self.assertEqual(golden[0]["prompt"], prompt_of(family))
            self.check_f32(model, golden, VOCAB)
            if family.dtype != "float32":
                self.check_rounded(model, golden, VOCAB, SHORT[family.dtype])

    setattr(Families, "test_" + family.name, test)


for one in FAMILIES:
    add_family_test(one)


class Reference(Checkpoint):
    def test_f32(self):
        self.check_f32(REFERENCE, read_golden("reference", 4096), 4096)

    def test_bf16(self):
        self.check_rounded(REFERENCE, read_golden("reference", 4096), 4096, "bf16")


if FULL:
    class Regenerated(Checkpoint):
        def test_committed_goldens_are_what_the_oracle_says(self):
            from make_families import golden_of
            for family in FAMILIES:
                with self.subTest(family.name), tempfile.TemporaryDirectory() as model:
                    write_checkpoint(family, model)
                    facts, flat = golden_of(model, prompt_of(family))
                    committed, logits = read_golden(family.name, VOCAB)
                    self.assertEqual(facts["greedy"], committed["greedy"])
                    self.assertLess(distance([flat], [[x for row in logits for x in row]]), 1e-6)

        def test_new_seeds(self):
            from make_families import golden_of
            for seed in NEW_SEEDS:
                for family in FAMILIES:
                    with self.subTest(family.name, seed=seed), tempfile.TemporaryDirectory() as model:
                        write_checkpoint(family, model, seed)
                        facts, flat = golden_of(model, prompt_of(family, seed=seed))
                        logits = [flat[at:at + VOCAB] for at in range(0, len(flat), VOCAB)]
                        self.check_f32(model, (facts, logits), VOCAB)
                        if family.dtype != "float32":
                            self.check_rounded(model, (facts, logits), VOCAB, SHORT[family.dtype])


if __name__ == "__main__":
    unittest.main(argv=[argument for argument in sys.argv if argument != "--full"])
