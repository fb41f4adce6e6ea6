#!/usr/bin/env python3
"""Writes tests/golden/reference_answers.jsonl: 200 held-out questions and what the reference model answers greedily according
to the PyTorch oracle in float32, and in float64 wherever the best two logits came near each other (the two must give the same
tokens). A development script: needs torch and the `tokenizers` package (a virtual environment with --system-site-packages will
do).

One object per line: messages, expected (the generator's answer), prompt_tokens (chat template applied), answer_tokens (the
eos token last), answer (their text), right, smallest_gap (between the best two logits, over the answer).
"""
import argparse
import json
import multiprocessing
import os
import sys

import jinja2
import tokenizers
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = os.path.join(ROOT, "models/reference")
sys.path[:0] = [HERE, os.path.join(MODEL, "train")]

from oracle import Oracle  # noqa: E402
from textgen import question  # noqa: E402

SEED = 7
MIX = [("short", 155), ("medium", 35), ("long", 10)]  # length and number of questions
MOST_TOKENS = 40
NEAR = 1e-2  # between the best two logits; float32's error on this model is below 1e-4


def read_json(name):
    with open(os.path.join(MODEL, name)) as file:
        return json.load(file)


def chat_prompt(messages):
    settings = read_json("tokenizer_config.json")
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(settings["chat_template"])
    return template.render(messages=messages, bos_token=settings["bos_token"], add_generation_prompt=True)


@torch.no_grad()
def answer(model, prompt, eos, draft):
    """(greedy tokens, smallest gap between the best two logits). `draft`, a guess, only saves time: it is run at once, and
    stands as far as each of its tokens is the best one after those before it."""
    made, gap = [], float("inf")
    while True:
        x, _ = model.hidden(prompt + made + draft)
        best = model.head(x[len(prompt) + len(made) - 1:]).topk(2)
        for (token, _), (first, second) in zip(best.indices.tolist(), best.values.tolist()):
            guessed = draft[:1] == [token]
            made, draft, gap = made + [token], draft[1:], min(gap, first - second)
            if token in eos or len(made) == MOST_TOKENS:
                return made, gap
            if not guessed:
                draft = []
                break


class Asker:
    """One process's models; ask() answers question i of a length."""

    def __init__(self):
        torch.set_num_threads(1)
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
        self.eos = read_json("generation_config.json")["eos_token_id"]
        self.single, self.exact = Oracle(MODEL, dtype=torch.float32), Oracle(MODEL)

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def ask(self, length, i):
        messages, expected = question(SEED * 10_000 + i, length)
        prompt = self.encode(chat_prompt(messages))
        tokens, gap = answer(self.single, prompt, self.eos, self.encode(expected + "<|eot_id|>"))
        if gap < NEAR:
            exact, gap = answer(self.exact, prompt, self.eos, tokens)
            if exact != tokens:
                sys.exit(f"float32 and float64 disagree on {length} {i}, smallest gap {gap:.2e}: choose another seed")
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return {"messages": messages, "expected": expected, "prompt_tokens": prompt, "answer_tokens": tokens, "answer": text,
                "right": text == expected, "smallest_gap": round(gap, 4)}


def ask(task, asker=[]):  # noqa: B006: one Asker per process, made at its first question
    if not asker:
        asker.append(Asker())
    return asker[0].ask(*task)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(HERE, "reference_answers.jsonl"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rows = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for row in pool.imap(ask, [(length, i) for length, count in MIX for i in range(count)]):
            rows.append(row)
            if len(rows) % 10 == 0:
                print(f"{len(rows)} answered", flush=True)
    with open(options.out, "w") as out:
        for row in rows:
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
    sizes = [len(row["prompt_tokens"]) for row in rows]
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} right, prompts of {min(sizes)} to {max(sizes)} tokens, "
          f"smallest gap {min(row['smallest_gap'] for row in rows)}")


if __name__ == "__main__":
    main()
