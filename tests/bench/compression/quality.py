#!/usr/bin/env python3
"""Quality of compressed KV on the reference model: every method and budget on the same prompts, beside the full cache and
slots drawn by lot. Texts and questions are made by models/reference/train/textgen.py, seeds that were not trained on.

    quality.py run --out DIR [--texts 40] [--cells long,...] [--budgets 0.5,0.35,0.2,0.12] [--methods ...]
    quality.py report DIR [--csv FILE] [--against streaming] > table.md
    quality.py table FILE.csv    the tables of docs/compression.md: a column per cell, the budgets in it from large to small
    quality.py pairs FILE.csv [--of semanticache,windowkv]    differences to each rival of the file, with their intervals

run is resumable: it does what DIR lacks, in rounds over all cells, so that all cells grow alike. A text has six questions:
  agnostic  the text is compressed without a question; single: each question behind it, on its own; turns: 2 to 6 of a
            conversation that asks all six
  aware     text and question are compressed together (five questions of the six); turns: the others asked behind the first
An answer is right if all its tokens are the expected ones, greedily. Budgets are bytes, in whole units of 16 slots, pins
within; the report gives the bytes reached. Differences to other methods (random, unless --against) are paired; their
95 % interval is from 2,000 bootstrap draws over texts.
"""
import argparse
import csv
import json
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "models/reference/train"))
import bpe       # noqa: E402
import textgen   # noqa: E402

METHODS = "random streaming h2o snapkv pyramidkv keydiff knorm semanticache windowkv".split()
BUDGETS = (0.5, 0.35, 0.2, 0.12)
DELIMITERS = set(b".,?!;: \t\n")
SEED = 40_000  # of held-out texts; textgen moves it above the training seeds
QUESTIONS, AWARE = 6, 5

# name -> (kind, facts or tokens, filler sentences, whether the budget of 12 % is asked too: from 1,000 tokens on)
CELLS = {
    "medium": ("story", (14, 22), (26, 38), False),
    "memory": ("memory", (30, 40), None, True),
    "long": ("story", (30, 40), (80, 100), True),
    "far": ("story", (40, 60), (140, 160), True),
    "whole": ("story", (60, 70), (245, 255), True),  # the model's whole context
    "prose": ("prose", 1024, None, True),            # loss of 256 tokens behind so many of held-out prose
    "prose-whole": ("prose", 3840, None, True),
}
COLUMNS = ("cell", "mode", "questions", "variant", "value", "slots", "bytes", "against", "difference", "low", "high", "texts",
           "asked", "seconds_per_prompt")


def delimiter_ids(tokenizer):
    """Ids by rule of worker/compression/delimiters.h, and none."""
    ids = {"only": [], "exact": [], "contains": [], "none": []}
    for token, piece in enumerate(tokenizer._pieces):
        raw = bytes(bpe.BYTES[symbol] for symbol in piece)
        inner = any(byte in DELIMITERS and not (at == 0 and byte == 32) for at, byte in enumerate(raw))
        only = all(byte in DELIMITERS for byte in raw)
        for rule, holds in (("only", only), ("exact", only and len(raw) == 1), ("contains", only or inner)):
            if holds:
                ids[rule].append(token)
    return ids


def header(role):
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def recall_item(tokenizer, seed, kind, facts, fillers):
    """A text with facts, and questions about six of them."""
    generator = textgen.TextGenerator(textgen.TRAINING_SEEDS + seed)
    known = generator.facts(generator.random.randint(*facts))
    if kind == "story":
        text = header("user") + generator.story(known, generator.random.randint(*fillers)) + "\n\n"
    else:
        text = "".join(header(role) + said + "<|eot_id|>" for role, said in generator.told(known))
    questions = []
    for fact in generator.random.sample(known, QUESTIONS):
        ask = fact.question + "<|eot_id|>" + header("assistant")
        again = header("user") + ask
        questions.append({"ask": tokenizer.encode(ask if kind == "story" else again), "again": tokenizer.encode(again),
                          "answer": tokenizer.encode(fact.answer + "<|eot_id|>")})
    return {"text": tokenizer.encode("<|begin_of_text|>" + text), "questions": questions}


def prose_tokens(tokenizer):
    """This repository's own pages: written after the model was trained."""
    return tokenizer.encode("\n\n".join(path.read_text() for path in sorted(ROOT.glob("docs/**/*.md"))))


def items_of(cell, first, count):
    tokenizer = bpe.Tokenizer.load(ROOT / "models/reference/tokenizer.json")
    kind, size, fillers, _ = CELLS[cell]
    prose = prose_tokens(tokenizer) if kind == "prose" else []
    for i in range(first, count):
        if kind == "prose":
            start = i * 5077 % (len(prose) - size - 256)
            item = {"text": prose[start:start + size], "continued": prose[start + size:start + size + 256]}
        else:
            item = recall_item(tokenizer, SEED + i, kind, size, fillers)
        item["id"] = f"{cell}/{i}"
        yield item


def grow_items(cell, path, count):
    lines = path.read_text().splitlines() if path.exists() else []
    with open(path, "a", encoding="utf8") as out:
        for item in items_of(cell, len(lines), count):
            out.write(json.dumps(item) + "\n")


def variants(methods, budgets):
    return [{"name": "full", "method": "full"}] + [
        {"name": f"{method}@{budget}", "method": method, "ratio": budget} for method in methods for budget in budgets]


def run(options):
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    rules = out / "delimiters.json"
    rules.write_text(json.dumps(delimiter_ids(bpe.Tokenizer.load(ROOT / "models/reference/tokenizer.json"))))
    budgets = [float(b) for b in options.budgets.split(",")]
    done = 0
    while done < options.texts:
        done = min(options.texts, done + options.round)
        for cell in options.cells.split(","):
            fitting = [b for b in budgets if b >= 0.2 or CELLS[cell][3]]
            wanted = (json.loads(pathlib.Path(options.variants).read_text()) if options.variants else
                      variants(options.methods.split(","), fitting))
            grow_items(cell, out / f"{cell}.items", done)
            subprocess.run([pathlib.Path(options.build) / "bin/compression_quality", "--model", ROOT / "models/reference",
                            "--items", out / f"{cell}.items", "--variants", json.dumps(wanted), "--delimiters", rules,
                            "--aware", str(options.aware), "--out", out / f"{cell}.jsonl"], check=True)


def value(row, questions):
    if "loss" in row:
        return row["loss"]
    bits = row[questions]
    if questions == "turns" and row["mode"] == "agnostic":
        bits = bits[1:]  # turns 2 to 6 in both modes
    return 100 * sum(bits) / len(bits)


def interval(differences):
    draw = random.Random(1)
    means = sorted(sum(draw.choices(differences, k=len(differences))) / len(differences) for _ in range(2000))
    return means[50], means[1949]


def cells_of(directory):
    """(cell, mode, questions) -> variant -> id -> row, and the tokens of each text."""
    cells, tokens = {}, {}
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.with_suffix(".items").read_text().splitlines():
            item = json.loads(line)
            tokens[item["id"]] = len(item["text"])
        for line in path.read_text().splitlines():
            row = json.loads(line)
            for questions in ["loss"] if "loss" in row else ["single", "turns"]:
                cell = cells.setdefault((path.stem, row["mode"], questions), {})
                cell.setdefault(row["variant"], {})[row["id"]] = row
    return cells, tokens


def asked(row, questions):
    return 1 if questions == "loss" else QUESTIONS - 1 if questions == "turns" else len(row["single"])


def lines_of(key, rows, wanted, against):
    for variant, items in rows.items():
        if wanted and variant not in wanted:
            continue
        items = {i: row for i, row in items.items() if i in rows["full"]}
        values = {i: value(row, key[2]) for i, row in items.items()}
        prompts = {i: len(row["single"]) if row["mode"] == "aware" else 1 for i, row in items.items()}
        rival = rows.get(against + "@" + variant.partition("@")[2], {})
        both = [values[i] - value(rival[i], key[2]) for i in items if i in rival]
        low, high = interval(both) if both and not variant.startswith(against + "@") else (None, None)
        share = {name: sum(row.get(name, 0) / prompts[i] for i, row in items.items()) / len(items)
                 for name in ("slots", "bytes", "seconds")}
        yield dict(zip(COLUMNS, (*key, variant, sum(values.values()) / len(values), share["slots"], share["bytes"], against,
                                 sum(both) / len(both) if low is not None else None, low, high, len(items),
                                 sum(asked(row, key[2]) for row in items.values()), share["seconds"])))


def report(options):
    cells, tokens = cells_of(pathlib.Path(options.out))
    lines = []
    for key, rows in cells.items():
        sizes = sorted(tokens[item] for item in rows["full"])
        what, digits = ("loss, nats", 3) if key[2] == "loss" else ("right, %", 1)
        print(f"\n### {', '.join(key)}: {len(sizes)} texts of {sizes[0]} to {sizes[-1]} tokens\n")
        print(f"| variant | {what} | bytes | against | difference | asked |\n| --- | --- | --- | --- | --- | --- |")
        wanted = options.variants.split(",") if options.variants else None
        for line in (line for rival in options.against.split(",") for line in lines_of(key, rows, wanted, rival)):
            lines.append(line)
            gain = "-"
            if line["low"] is not None:
                gain = f"{line['difference']:+.{digits}f} [{line['low']:+.{digits}f}, {line['high']:+.{digits}f}]"
            print(f"| {line['variant']} | {line['value']:.{digits}f} | {line['bytes']:.3f} | {line['against']} | {gain} | {line['asked']} |")
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf8") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            for line in lines:
                writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in line.items()})


def lines_against(path, rival):
    with open(path, encoding="utf8") as file:
        return [line for line in csv.DictReader(file) if line.get("against", rival) == rival]


def pairs(options):
    with open(options.csv, encoding="utf8") as file:
        rivals = list(dict.fromkeys(line["against"] for line in csv.DictReader(file)))
    rows = {}
    for rival in rivals:
        for line in lines_against(options.csv, rival):
            if line["variant"].partition("@")[0] in options.of.split(",") and line["low"]:
                key = (line["variant"], line["cell"], f"{line['mode']}, {line['questions']}", line["asked"])
                rows.setdefault(key, {})[rival] = line
    print("| method, budget | cell | questions | asked | " + " | ".join("against " + r for r in rivals) + " |\n" + "| --- " * (4 + len(rivals)) + "|")
    for key in sorted(rows):
        digits = 3 if "loss" in key[2] else 0
        print(f"| {' | '.join(key)} | " + " | ".join(
            f"{float(o['difference']):+.{digits}f} [{float(o['low']):+.{digits}f}, {float(o['high']):+.{digits}f}]" if (o := rows[key].get(r)) else "-"
            for r in rivals) + " |")


def table(options):
    lines = lines_against(options.csv, "random")
    for kind in sorted({(line["mode"], line["questions"]) for line in lines}):
        mine = [line for line in lines if (line["mode"], line["questions"]) == kind]
        cells = [cell for cell in CELLS if any(line["cell"] == cell for line in mine)]
        at = {(line["cell"], line["variant"]): line for line in mine}
        print(f"\n{', '.join(kind)} | " + " | ".join(cells) + "\n" + "--- | " * len(cells) + "---")
        print("texts, asked | " + " | ".join(f"{at[c, 'full']['texts']}, {at[c, 'full']['asked']}" for c in cells))
        print("full | " + " | ".join(shown(at[c, "full"]) for c in cells))
        for method in METHODS:
            rows = [[at[c, f"{method}@{b}"] for b in BUDGETS if (c, f"{method}@{b}") in at] for c in cells]
            if any(rows):
                print(f"{method} | " + " | ".join(" ".join(map(shown, row)) for row in rows))
        reached = [[[float(at[c, f"{m}@{b}"]["bytes"]) for m in METHODS if (c, f"{m}@{b}") in at] for b in BUDGETS] for c in cells]
        print("bytes reached, % | " + " | ".join(
            " ".join(f"{100 * min(some):.0f}-{100 * max(some):.0f}" for some in cell if some) for cell in reached))


def shown(line):
    """The value, with + or - where it is surely above or below the method that it was compared with."""
    value, low, high = (float(line[name] or 0) for name in ("value", "low", "high"))
    mark = "+" if low > 0 else "-" if high < 0 else ""
    return f"{value:.2f}{mark}" if line["questions"] == "loss" else f"{value:.0f}{mark}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--out", required=True)
    runs.add_argument("--texts", type=int, default=40, help="per cell, of six questions each")
    runs.add_argument("--round", type=int, default=5)
    runs.add_argument("--cells", default=",".join(CELLS))
    runs.add_argument("--methods", default=",".join(METHODS))
    runs.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    runs.add_argument("--aware", type=int, default=AWARE, help="questions per text that also end a prompt")
    runs.add_argument("--variants", help="JSON file with a list of variants, instead of methods and budgets")
    runs.add_argument("--build", default=ROOT / "build/release")
    reports = commands.add_parser("report")
    reports.add_argument("out")
    reports.add_argument("--csv", help="also write all lines there")
    reports.add_argument("--against", default="random", help="methods that the others are compared with")
    reports.add_argument("--variants", help="only these, comma-separated")
    tables = commands.add_parser("table")
    tables.add_argument("csv")
    paired = commands.add_parser("pairs")
    paired.add_argument("csv")
    paired.add_argument("--of", default="semanticache,windowkv", help="methods that are compared")
    options = parser.parse_args()
    {"run": run, "report": report, "table": table, "pairs": pairs}[options.command](options)


if __name__ == "__main__":
    main()
