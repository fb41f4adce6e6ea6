#!/usr/bin/env python3
"""Quality of compressed KV on the reference model: every method and budget on the same prompts, beside the full cache and
slots drawn by lot. Questions are made by models/reference/train/textgen.py; a prompt is computed once and forked.

    quality.py run --out DIR [--items 200] [--cells long-agnostic,...] [--budgets 0.5,0.35,0.2,0.12] [--methods ...]
    quality.py report DIR > table.md

run is resumable: it does what DIR lacks, in rounds over all cells, so that every cell grows alike. An answer is right if all
its tokens are the expected ones, greedily. report: share of right answers, bytes reached, and the difference to random with a
paired bootstrap interval (95 %, 2,000 draws over items).
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "models/reference/train"))
import bpe       # noqa: E402
import textgen   # noqa: E402

METHODS = "random streaming h2o snapkv pyramidkv keydiff semanticache windowkv".split()
BUDGETS = (0.5, 0.35, 0.2, 0.12)
DELIMITERS = set(b".,?!;: \t\n")
SEED = 40_000  # of held-out questions; textgen moves it above the training seeds

# name -> (length of textgen, questions asked, does the prompt hold the first question)
CELLS = {
    "medium-aware": ("medium", 1, True), "medium-agnostic": ("medium", 1, False),
    "long-aware": ("long", 1, True), "long-agnostic": ("long", 1, False),
    "far-aware": ("far", 1, True), "far-agnostic": ("far", 1, False),
    "memory-agnostic": ("memory", 1, False),   # facts told turn by turn, then one question
    "turns-long": ("long", 6, True),           # compressed with question 1; 2 to 6 asked behind it
    "prose": ("prose", 0, False),              # loss of 256 tokens behind 1,024 of held-out prose
}


def delimiter_flags(tokenizer):
    flags = []
    for piece in tokenizer._pieces:
        raw = bytes(bpe.BYTES[symbol] for symbol in piece)
        flags.append(1 if all(byte in DELIMITERS for byte in raw) else 0)
    return flags + [0] * len(bpe.SPECIAL)


def header(role):
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def story_item(tokenizer, seed, length, questions, aware):
    generator = textgen.TextGenerator(textgen.TRAINING_SEEDS + seed)
    (fewest, most), (least, filled) = textgen.LENGTHS[length]
    turns = generator.story_questions(generator.random.randint(fewest, most), generator.random.randint(least, filled),
                                      questions)
    first = turns[0][1]
    story, question = first[:first.rindex("\n\n") + 2], first[first.rindex("\n\n") + 2:]
    before = tokenizer.encode("<|begin_of_text|>" + header("user") + story)
    ask = tokenizer.encode(question + "<|eot_id|>" + header("assistant"))
    asked = [{"tokens": [] if aware else ask, "answer": tokenizer.encode(turns[1][1] + "<|eot_id|>")}]
    for (_, text), (_, answer) in zip(turns[2::2], turns[3::2]):
        asked.append({"tokens": tokenizer.encode(header("user") + text + "<|eot_id|>" + header("assistant")),
                      "answer": tokenizer.encode(answer + "<|eot_id|>")})
    return {"prompt": before + ask if aware else before, "aware": aware, "questions": asked}


def memory_item(tokenizer, seed):
    generator = textgen.TextGenerator(textgen.TRAINING_SEEDS + seed)
    turns = generator.memory(generator.random.randint(14, 30))
    while not turns[-2][1].endswith("?"):
        turns = turns[:-2] if len(turns) > 2 else generator.memory(20)
    text = "<|begin_of_text|>" + "".join(header(role) + said + "<|eot_id|>" for role, said in turns[:-2])
    ask = header("user") + turns[-2][1] + "<|eot_id|>" + header("assistant")
    return {"prompt": tokenizer.encode(text),
            "questions": [{"tokens": tokenizer.encode(ask), "answer": tokenizer.encode(turns[-1][1] + "<|eot_id|>")}]}


def prose_items(tokenizer, count):
    """This repository's own pages: written after the model was trained."""
    text = "\n\n".join(path.read_text() for path in sorted(ROOT.glob("docs/**/*.md")))
    tokens = tokenizer.encode(text)
    step = max(1, (len(tokens) - 1280) // count)
    for start in range(0, len(tokens) - 1280, step):
        yield {"prompt": tokens[start:start + 1024], "continued": tokens[start + 1024:start + 1280]}


def write_items(cell, path, count):
    tokenizer = bpe.Tokenizer.load(ROOT / "models/reference/tokenizer.json")
    flags = delimiter_flags(tokenizer)
    length, questions, aware = CELLS[cell]
    with open(path, "w", encoding="utf8") as out:
        prose = list(prose_items(tokenizer, count))[:count] if length == "prose" else []
        for i in range(len(prose) or count):
            if length == "prose":
                item = prose[i]
            elif length == "memory":
                item = memory_item(tokenizer, SEED + i)
            else:
                item = story_item(tokenizer, SEED + i, length, questions, aware)
            item["id"] = f"{cell}/{i}"
            item["delimiters"] = [flags[token] for token in item["prompt"]]
            out.write(json.dumps(item) + "\n")


def variants(methods, budgets):
    return [{"name": "full", "method": "full"}] + [
        {"name": f"{method}@{budget}", "method": method, "ratio": budget} for method in methods for budget in budgets]


def run(options):
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    program = pathlib.Path(options.build) / "bin/compression_quality"
    cells = options.cells.split(",")
    wanted = (json.loads(pathlib.Path(options.variants).read_text()) if options.variants else
              variants(options.methods.split(","), [float(b) for b in options.budgets.split(",")]))
    done = 0
    while done < options.items:
        done = min(options.items, done + options.round)
        for cell in cells:
            items = out / f"{cell}.items"
            write_items(cell, items, done)
            subprocess.run([program, "--model", ROOT / "models/reference", "--items", items, "--variants",
                            json.dumps(wanted), "--out", out / f"{cell}.jsonl"], check=True)


def value(row):
    if "loss" in row:
        return row["loss"]
    later = row["right"][1:] if len(row["right"]) > 1 else row["right"]  # of several turns: those behind the first
    return 100 * sum(later) / len(later)


def interval(differences):
    draw = random.Random(1)
    means = sorted(sum(draw.choices(differences, k=len(differences))) / len(differences) for _ in range(2000))
    return means[50], means[1949]


def report(options):
    for path in sorted(pathlib.Path(options.out).glob("*.jsonl")):
        rows = {}
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows.setdefault(row["variant"], {})[row["id"]] = row
        prompts = {json.loads(line)["id"]: len(json.loads(line)["prompt"])
                   for line in path.with_suffix(".items").read_text().splitlines()}
        tokens = sorted(prompts[item] for item in rows["full"])
        what = "loss, nats" if any("loss" in row for row in rows["full"].values()) else "right, %"
        print(f"\n### {path.stem}: {len(rows['full'])} prompts of {tokens[0]} to {tokens[-1]} tokens\n")
        print(f"| variant | {what} | slots | bytes | against random | items |\n| --- | --- | --- | --- | --- | --- |")
        for variant, items in rows.items():
            values = [value(row) for row in items.values()]
            rival = rows.get("random@" + variant.partition("@")[2], {}) if "@" in variant else {}
            both = [value(items[i]) - value(rival[i]) for i in items if i in rival]
            text = "-"
            if both and not variant.startswith("random"):
                low, high = interval(both)
                text = f"{sum(both) / len(both):+.1f} [{low:+.1f}, {high:+.1f}]"
            share = [sum(row[key] for row in items.values()) / len(items) for key in ("slots", "bytes")]
            digits = 3 if "loss" in next(iter(items.values())) else 1
            print(f"| {variant} | {sum(values) / len(values):.{digits}f} | {share[0]:.3f} | {share[1]:.3f} | {text} | {len(values)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--out", required=True)
    runs.add_argument("--items", type=int, default=200, help="per cell")
    runs.add_argument("--round", type=int, default=20)
    runs.add_argument("--cells", default=",".join(CELLS))
    runs.add_argument("--methods", default=",".join(METHODS))
    runs.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    runs.add_argument("--variants", help="JSON file with a list of variants, instead of methods and budgets")
    runs.add_argument("--build", default=ROOT / "build/release")
    reports = commands.add_parser("report")
    reports.add_argument("out")
    options = parser.parse_args()
    run(options) if options.command == "run" else report(options)


if __name__ == "__main__":
    main()
