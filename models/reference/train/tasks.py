#!/usr/bin/env python3
"""Prompts to measure speculation on: four tasks on which early exits differ, each with three splits.

    python3 tasks.py > ../tasks.jsonl        one {"task", "split", "text"} per line; the file is committed, so that it stays fixed

train      what policies learn from
selection  where everything that has a choice is chosen: static settings, thresholds, iterations, options of the trainer
held-out   for the final table, once

recall   a story with facts, then a question about one of them; what follows the answer is the next question, and so on
memory   facts told one by one and acknowledged, questions between
story    a request for a short tale
prose    technical text to go on with: what the headers of this repository open with

The texts carry the model's own markup. Measurements generate a fixed number of tokens past every end of turn (the model then
plays the next turn, too), as benchmarks of decoding do. Seeds lie above the training seeds of textgen.py.
"""
import itertools
import json
import pathlib
import random
import re

from textgen import JOBS, NAMES, FOODS, THINGS, TRAINING_SEEDS, TextGenerator, render

SPLITS = {"train": 40, "selection": 16, "held-out": 24}
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


def header_comments():
    """(name, text): what each header of this repository opens with."""
    for directory in ("coordinator", "deploy", "kvstore", "monitoring", "policy", "transport", "worker"):
        for path in sorted((ROOT / directory).rglob("*.h")):
            comment = re.match(r"#pragma once\n((?://.*\n)+)", path.read_text(encoding="utf8"))
            if comment:
                yield path.name, re.sub(r"(?m)^// ?", "", comment[1]).strip()


def prose():
    texts = [text for _, text in header_comments() if 300 <= len(text) <= 1200]
    random.Random(5).shuffle(texts)
    for text in texts:
        yield "<|begin_of_text|>" + text[:2 * len(text) // 3]


def fresh(make):
    """Texts of one seed after another, each once."""
    seen = set()
    for seed in itertools.count(90_000):
        text = make(seed)
        if text not in seen:
            seen.add(text)
            yield text


def main():
    for task, texts in (("recall", fresh(recall)), ("memory", fresh(memory)), ("story", fresh(story)), ("prose", prose())):
        for split, count in SPLITS.items():
            for text in itertools.islice(texts, count):
                print(json.dumps({"task": task, "split": split, "text": text}, ensure_ascii=False))


if __name__ == "__main__":
    main()
