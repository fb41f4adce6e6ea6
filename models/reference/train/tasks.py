#!/usr/bin/env python3
"""Prompts to measure speculation on: four tasks on which early exits differ, each with training and held-out prompts.

    python3 tasks.py > ../tasks.jsonl        one {"task", "split", "text"} per line; the file is committed, so that it stays fixed

recall   a story with facts, then a question about one of them; what follows the answer is the next question, and so on
memory   facts told one by one and acknowledged, questions between
story    a request for a short tale
prose    technical text to go on with: pages of this repository

The texts carry the model's own markup. Measurements generate a fixed number of tokens past every end of turn (the model then
plays the next turn, too), as benchmarks of decoding do. Seeds lie above the training seeds of textgen.py.
"""
import json
import pathlib
import random
import re

from textgen import JOBS, NAMES, FOODS, THINGS, TRAINING_SEEDS, TextGenerator, render

TRAIN, HELD_OUT = 16, 12
ROOT = pathlib.Path(__file__).resolve().parents[3]
ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"


def recall(seed):
    generator = TextGenerator(TRAINING_SEEDS + seed)
    turns = generator.story_questions(generator.random.randint(6, 16), generator.random.randint(8, 30), 1)
    return render(turns[:-1]) + ASSISTANT


def memory(seed):
    generator = TextGenerator(TRAINING_SEEDS + seed)
    turns = generator.memory(generator.random.randint(5, 14))
    return render(turns[:-1]) + ASSISTANT


def story(seed):
    source = random.Random(TRAINING_SEEDS + seed)
    name, job, thing, food = (source.choice(pool) for pool in (NAMES, JOBS, THINGS, FOODS))
    asked = source.choice([f"Tell me a story about a {job} and a {thing}.",
                           f"Write a short story about {name}, a {thing} and {food}."])
    return render([("user", asked)]) + ASSISTANT


def prose_paragraphs():
    texts = [path.read_text(encoding="utf8") for path in
             sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("worker/*/README.md")])]
    pieces = [piece.strip() for text in texts for piece in re.split(r"\n\s*\n", text)]
    return [piece for piece in pieces if 300 <= len(piece) <= 900 and "|" not in piece]


def main():
    pieces = prose_paragraphs()
    random.Random(5).shuffle(pieces)
    for task, make in (("recall", recall), ("memory", memory), ("story", story)):
        for i in range(TRAIN + HELD_OUT):
            print(json.dumps({"task": task, "split": "train" if i < TRAIN else "held-out", "text": make(90_000 + i)}))
    for i, piece in enumerate(pieces[:TRAIN + HELD_OUT]):
        cut = piece[:max(200, 2 * len(piece) // 3)]
        print(json.dumps({"task": "prose", "split": "train" if i < TRAIN else "held-out",
                          "text": "<|begin_of_text|>" + cut}, ensure_ascii=False))


if __name__ == "__main__":
    main()
