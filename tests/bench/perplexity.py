#!/usr/bin/env python3
"""Perplexity of a checkpoint under several weight formats and types of KV pages, by the engine itself, on text that it was not trained on.

The text: conversations of models/reference/train/textgen.py from held-out seeds, in the reference model's chat markup.
Needs the programs leadline-logits and tokenizer_tool of a test build, and numpy.

    tests/bench/perplexity.py --formats f32 bf16 int8 [--kv f32 bf16 int8] [--isa amxbf16] [--length medium] [--conversations 40]
"""
import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "models/reference/train"))
import textgen  # noqa: E402

BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))


def texts(count, seed, length):
    for i in range(count):
        messages, answer = textgen.question(seed * 10_000 + i, length, "story")
        turns = [(m["role"], m["content"]) for m in messages] + [("assistant", answer)]
        yield textgen.render(turns)


def tokenized(model, strings):
    lines = "".join(json.dumps({"encode": text, "special": True}) + "\n" for text in strings)
    out = subprocess.run([os.path.join(BUILD, "tests/tokenizer_tool"), model], input=lines, text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in out.splitlines()]


def losses(options, weights, kv, sequences, vocab):
    """Negative log-likelihood of every token but the first of its sequence, in f64."""
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in sequences)
    with tempfile.NamedTemporaryFile() as file:
        command = [os.path.join(BUILD, "bin/leadline-logits"), "--model", options.model, "--weights", weights,
                   "--kv", kv, "--chunk", "64"]
        if options.isa:
            command += ["--isa", options.isa]
        subprocess.run(command + ["logits", file.name], input=lines, text=True, check=True, stderr=subprocess.DEVNULL)
        logits = numpy.fromfile(file.name, dtype=numpy.float32).reshape(-1, vocab)
    out, row = [], 0
    for ids in sequences:
        part = logits[row:row + len(ids) - 1].astype(numpy.float64)
        row += len(ids)
        top = part.max(axis=1, keepdims=True)
        normal = top[:, 0] + numpy.log(numpy.exp(part - top).sum(axis=1))
        out.append(normal - part[numpy.arange(len(ids) - 1), ids[1:]])
    return numpy.concatenate(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=os.path.join(ROOT, "models/reference"))
    parser.add_argument("--formats", nargs="+", default=["f32", "bf16", "int8"], help="the first is what the others are held to")
    parser.add_argument("--kv", nargs="+", default=["f32"], help="each with every format")
    parser.add_argument("--isa", default="")
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=977)
    parser.add_argument("--length", choices=list(textgen.LENGTHS), default="medium")
    options = parser.parse_args()
    with open(os.path.join(options.model, "config.json"), encoding="utf-8") as file:
        vocab = json.load(file)["vocab_size"]
    sequences = tokenized(options.model, texts(options.conversations, options.seed, options.length))
    print(f"{len(sequences)} conversations, {sum(map(len, sequences))} tokens, isa {options.isa or 'best'}")
    first = None
    for weights, kv in itertools.product(options.formats, options.kv):
        loss = losses(options, weights, kv, sequences, vocab)
        first = loss if first is None else first
        rise = math.exp(loss.mean() - first.mean()) - 1
        # of the mean difference, tokens taken as independent
        deviation = (loss - first).std() / math.sqrt(len(loss))
        print(f"{weights:5} pages {kv:4} perplexity {math.exp(loss.mean()):.5f}, {100 * rise:+.4f} % (+- {100 * deviation:.4f})", flush=True)


if __name__ == "__main__":
    main()
