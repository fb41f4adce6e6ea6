#!/usr/bin/env python3
"""Writes tests/golden/reference_answers.jsonl: 200 held-out questions and what the reference model answers greedily according
to the PyTorch oracle, computed in float64 and again in float32 (the two must give the same tokens). A development script:
needs torch and the `tokenizers` package (a virtual environment with --system-site-packages will do).

One object per line: messages, expected (the generator's answer), prompt_tokens (chat template applied), answer_tokens (the
eos token last), answer (their text), right, smallest_gap (between the best two logits, over the answer).
"""
import argparse
import json
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(HERE, "reference_answers.jsonl"))
    options = parser.parse_args()
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    eos = read_json("generation_config.json")["eos_token_id"]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    exact, single = Oracle(MODEL), Oracle(MODEL, dtype=torch.float32)
    rows = []
    for length, count in MIX:
        for i in range(count):
            messages, expected = question(SEED * 10_000 + i, length)
            prompt = tokenizer.encode(chat_prompt(messages), add_special_tokens=False).ids
            draft = tokenizer.encode(expected + "<|eot_id|>", add_special_tokens=False).ids
            tokens, gap = answer(exact, prompt, eos, draft)
            if answer(single, prompt, eos, tokens)[0] != tokens:
                sys.exit(f"float32 and float64 disagree on {length} {i}, smallest gap {gap:.2e}: choose another seed")
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            rows.append({"messages": messages, "expected": expected, "prompt_tokens": prompt, "answer_tokens": tokens,
                         "answer": text, "right": text == expected, "smallest_gap": round(gap, 5)})
        print(f"{length}: {sum(row['right'] for row in rows[-count:])} of {count} right", flush=True)
    with open(options.out, "w") as out:
        for row in rows:
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} right, prompts of {min(len(r['prompt_tokens']) for r in rows)} "
          f"to {max(len(r['prompt_tokens']) for r in rows)} tokens, smallest gap {min(r['smallest_gap'] for r in rows)}")


if __name__ == "__main__":
    main()
