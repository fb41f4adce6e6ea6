#!/usr/bin/env python3
"""Writes the goldens of tests/golden/families/: for every family in families.py the oracle's logits over a prompt (float64,
stored as float32) and its 64 greedy tokens. A development script: needs torch."""
import array
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from families import FAMILIES, prompt_of, write_checkpoint  # noqa: E402
from oracle import Oracle  # noqa: E402

GREEDY_TOKENS = 64
# The reference model: an own prompt, and the logits of these rows only (its vocabulary is large).
REFERENCE_ROWS = [0, 1, 7, 31, 63, 95]


def golden_of(directory, prompt, rows=None):
    """({prompt, rows, greedy, smallest_gap}, logits as an array of float32)."""
    model = Oracle(directory)
    logits = model.logits(prompt)
    greedy = model.greedy(prompt, GREEDY_TOKENS)
    chosen = model.logits(prompt + greedy[:-1])[len(prompt) - 1:]
    best = chosen.topk(2, -1).values
    rows = list(range(len(prompt))) if rows is None else rows
    facts = {"prompt": prompt, "rows": rows, "greedy": greedy, "smallest_gap": float((best[:, 0] - best[:, 1]).min())}
    return facts, array.array("f", logits[rows].flatten().tolist())


def write(name, facts, logits, out):
    with open(os.path.join(out, name + ".json"), "w") as file:
        json.dump(facts, file)
    with open(os.path.join(out, name + ".logits.f32"), "wb") as file:
        logits.tofile(file)
    print(f"{name}: smallest gap {facts['smallest_gap']:.4f}, {len(set(facts['greedy']))} different tokens")


def main():
    out = os.path.join(HERE, "families")
    os.makedirs(out, exist_ok=True)
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as directory:
            write_checkpoint(family, directory)
            write(family.name, *golden_of(directory, prompt_of(family)), out)
    reference = os.path.join(HERE, "../../models/reference")
    prompt = [4088] + [(i * 7919) % 4000 for i in range(1, REFERENCE_ROWS[-1] + 1)]
    write("reference", *golden_of(reference, prompt, REFERENCE_ROWS), out)


if __name__ == "__main__":
    main()
