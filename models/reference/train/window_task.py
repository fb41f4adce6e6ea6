#!/usr/bin/env python3
"""Trains WindowKV's task classifier (2503.17922, section 3.1) for this vocabulary: does a prompt ask where something stands
(localisation: questions about one or several texts), or about all of a text (aggregation: summaries, counting, lists, examples to
go on with, code)? Writes weights as safetensors; docs/formats/window_task.md has the form.

    python3 window_task.py ../window_task.safetensors [--prompts 3000] [--seed 1] [--golden FILE]

A linear model of token ids: the mean weight of the ids in each of four parts of the prompt (first 256, last 256, first 48, last 48)
and a bias; above 0 is aggregation. Held out are new texts with the training phrases, and phrases that no training prompt had
(the last two of each list); both accuracies are printed, per kind of prompt.
"""
import argparse
import json
import pathlib
import random
import struct

import numpy

import bpe
import corpus
from textgen import TRAINING_SEEDS, TextGenerator, render

HERE = pathlib.Path(__file__).resolve().parent
PARTS = (256, -256, 48, -48)  # tokens from the start; negative: from the end
HELD_OUT_PHRASES = 2
ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"

# How the request is said. {0} is the text, or what is asked about.
ASK = ["{0}\n\n{1}", "Read this text and answer the question.\n\n{0}\n\n{1}", "{0}\n\nQuestion: {1}\nAnswer:", "{1}\n\n{0}",
       "Use the text below to answer: {1}\n\n{0}", "Context:\n{0}\n\nUsing only the context, answer this: {1}",
       "{0}\n\nAccording to this, {1}", "Here is something I was told:\n{0}\n\nNow tell me: {1}",
       "Answer from the passage, as shortly as you can. {1}\n\nPassage: {0}"]
SUMMARY = ["Summarize the following text.\n\n{0}", "{0}\n\nWrite a summary of the text above.", "{0}\n\nSummary:",
           "Write a short summary of this:\n{0}", "{0}\n\nWhat are the main points of this text?",
           "Give an overview of the text below in one paragraph.\n\n{0}", "{0}\n\nTL;DR:",
           "Condense this into three sentences:\n\n{0}", "{0}\n\nIn a few words, what is all of this about?"]
COUNT = ["How many sentences does this text have?\n\n{0}", "{0}\n\nCount the paragraphs of the text above.",
         "{0}\n\nHow many different names occur in it?", "{0}\n\nHow often does the word \"the\" appear in the text?",
         "Count how many people are mentioned below.\n{0}", "{0}\n\nState the number of lines.",
         "Tell me the total number of questions in this:\n\n{0}"]
LIST = ["{0}\n\nList all names that appear in the text.", "Make a list of everything that happens here:\n{0}",
        "{0}\n\nWhich words occur most often?", "Extract all places from the text.\n\n{0}", "Sort the sentences below by length.\n{0}",
        "{0}\n\nName every person in order of appearance.", "Write down each object this mentions:\n\n{0}"]
CODE = ["```\n{0}", "Complete this file:\n\n{0}", "{0}\n# continue here", "Write the next lines of this program.\n{0}",
        "{0}\n\nExplain what this code does.", "Go on with the following source:\n\n{0}", "What comes next in this module?\n{0}"]
SHOTS = [("Text: {0}\nKind: {1}\n\n", "Kind:"), ("{0} => {1}\n", "=>"), ("Input: {0}\nOutput: {1}\n", "Output:"),
         ("Sentence: {0}\nTopic: {1}\n", "Topic:"), ("Q: {0}\nA: {1}\n\n", "A:"), ("{0}\nLabel: {1}\n---\n", "Label:"),
         ("Review: {0} | Class: {1}\n", "Class:")]


class Prompts:
    """An endless source of (kind, class, text), all from a seed."""

    def __init__(self, seed, held_out, texts):
        self.random = random.Random(seed)
        self.text = TextGenerator(seed)
        self.held_out = held_out
        self.texts = texts

    def phrase(self, phrases):
        return self.random.choice(phrases[-HELD_OUT_PHRASES:] if self.held_out else phrases[:-HELD_OUT_PHRASES])

    def facts(self):
        return self.text.facts(self.random.randint(3, 30))

    def story(self):
        return self.text.story(self.facts(), self.random.randint(0, 60))

    def page(self):
        """Some paragraphs of prose or a story: what may be asked about in either class."""
        if self.random.random() < 0.5:
            return self.story()
        text = self.random.choice(self.texts["prose"])
        begin = self.random.randrange(max(1, len(text) - 2500))
        return text[begin:begin + self.random.randint(400, 2500)]

    def question(self):
        facts = self.facts()
        return self.phrase(ASK).format(self.text.story(facts, self.random.randint(0, 60)), self.random.choice(facts).question)

    def documents(self):
        facts = [self.facts() for _ in range(self.random.randint(2, 5))]
        text = "\n\n".join(f"Document {i + 1}: {self.text.story(some, self.random.randint(0, 12))}" for i, some in enumerate(facts))
        return self.phrase(ASK).format(text, self.random.choice(self.random.choice(facts)).question)

    def about_page(self):
        """A question about a word that stands in a page of prose."""
        page = self.page()
        word = self.random.choice([w for w in page.split() if len(w) > 4] or ["it"])
        ask = self.random.choice(["What is {0}?", "What does it say about {0}?", "Where is {0} mentioned?", "Who needs {0}?",
                                  "When is {0} used?", "Which default does {0} have?", "Why is {0} there?"])
        return self.phrase(ASK).format(page, ask.format(word.strip('.,:;()"')))

    def examples(self):
        form, last = self.phrase(SHOTS)
        shots = "".join(form.format(self.text.filler(), self.random.choice(["work", "weather", "food", "travel", "home"]))
                        for _ in range(self.random.randint(4, 25)))
        return shots + form[:form.index("{0}")] + self.text.filler() + form[form.index("{0}") + 3:form.index("{1}")].rstrip()

    def code(self):
        text = self.random.choice(self.texts["code"])
        begin = self.random.randrange(max(1, len(text) - 2500))
        return self.phrase(CODE).format(text[begin:begin + self.random.randint(300, 2500)])

    def next(self):
        kind = self.random.choice(["question", "documents", "about_page", "chat", "summary", "count", "list", "examples", "code"])
        if kind == "chat":  # facts told turn by turn, then a question
            facts = self.facts()
            turns = self.text.told(facts) + [("user", self.random.choice(facts).question)]
            return kind, 0, render(turns) + ASSISTANT
        if kind in ("question", "documents", "about_page"):
            return kind, 0, render([("user", getattr(self, kind)())]) + ASSISTANT
        if kind in ("summary", "count", "list"):
            text = self.phrase({"summary": SUMMARY, "count": COUNT, "list": LIST}[kind]).format(self.page())
            return kind, 1, render([("user", text)]) + ASSISTANT
        text = getattr(self, kind)()
        if self.random.random() < 0.5:  # code and examples come without a conversation, too
            return kind, 1, "<|begin_of_text|>" + text
        return kind, 1, render([("user", text)]) + ASSISTANT


def sources(held_out):
    """Prose and code of this machine and repository; every third file is held out."""
    source = random.Random(7)
    code = [*corpus.files([corpus.STDLIB + "/*.py"], 1_500_000, 12_000, source)]
    code += corpus.files([str(HERE.parents[2]) + "/worker/**/*.cpp"], 600_000, 8_000, source)
    prose = [*corpus.files([str(HERE.parents[2]) + "/docs/**/*.md", "/usr/share/doc/**/README*", "/usr/share/doc/**/*.txt",
                            "/usr/share/doc/**/copyright"], 1_500_000, 16_000, source)]
    chosen = {name: [text for i, text in enumerate(texts) if (i % 3 == 0) == held_out]
              for name, texts in (("code", code), ("prose", prose))}
    assert all(chosen.values()), "neither prose nor code found on this machine"
    return chosen


def features(ids, vocab):
    row = numpy.zeros((len(PARTS), vocab), numpy.float32)
    for part, size in enumerate(PARTS):
        some = ids[:size] if size > 0 else ids[size:]
        numpy.add.at(row[part], some, 1 / len(some))
    return row.ravel()


def data(prompts, count, tokenizer, vocab):
    made = [prompts.next() for _ in range(count)]
    rows = numpy.stack([features(tokenizer.encode(text), vocab) for _, _, text in made])
    return rows, numpy.array([label for _, label, _ in made], numpy.float32), [kind for kind, _, _ in made]


def train(rows, labels, steps=400, rate=0.05, decay=1e-4):
    """Logistic regression by Adam on all prompts at once. Means are small numbers: weights are trained times 16."""
    weights, bias = numpy.zeros(rows.shape[1], numpy.float32), numpy.float32(0)
    first, second = numpy.zeros(rows.shape[1] + 1, numpy.float32), numpy.zeros(rows.shape[1] + 1, numpy.float32)
    for step in range(1, steps + 1):
        wrong = 1 / (1 + numpy.exp(-(16 * (rows @ weights) + bias))) - labels
        slope = numpy.append(16 * (wrong @ rows) / len(rows) + decay * weights, wrong.mean())
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope * slope
        move = rate * (first / (1 - 0.9 ** step)) / (numpy.sqrt(second / (1 - 0.999 ** step)) + 1e-8)
        weights, bias = weights - move[:-1], bias - move[-1]
    return 16 * weights, bias


def vocabulary_hash(path, vocab):
    """FNV-1a, 64 bits, of all token strings by id, special ones empty, each closed by a zero byte."""
    content = json.loads(path.read_text(encoding="utf8"))
    strings = [""] * vocab
    for text, token in content["model"]["vocab"].items():
        strings[token] = text
    for added in content["added_tokens"]:
        strings[added["id"]] = ""
    value = 0xcbf29ce484222325
    for byte in b"".join(text.encode() + b"\0" for text in strings):
        value = (value ^ byte) * 0x100000001b3 % 2 ** 64
    return value


def save(path, weights, bias, vocab_hash, vocab):
    tensors = {"bias": ("F32", [1], struct.pack("<f", bias)),
               "vocabulary": ("U8", [8], struct.pack("<Q", vocab_hash)),
               "weights": ("F32", [len(PARTS), vocab], weights.astype("<f4").tobytes())}
    header, data_bytes = {}, b""
    for name, (dtype, shape, content) in sorted(tensors.items(), key=lambda item: len(item[1][2])):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data_bytes), len(data_bytes) + len(content)]}
        data_bytes += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data_bytes)


def report(name, rows, labels, kinds, weights, bias):
    right = ((rows @ weights + bias) > 0) == (labels > 0.5)
    parts = ", ".join(f"{kind} {100 * right[[k == kind for k in kinds]].mean():.1f}" for kind in sorted(set(kinds)))
    print(f"{name}: {100 * right.mean():.1f} % of {len(right)} right ({parts})")


def golden(path, tokenizer, vocab, prompts, weights, bias):
    """Short prompts as ids with the logit of each: what the worker's test compares with."""
    lines = []
    while len(lines) < 12:
        kind, _, text = prompts.next()
        ids = tokenizer.encode(text)
        if len(ids) <= 300:
            logit = float(features(ids, vocab) @ weights + bias)
            lines.append(json.dumps({"kind": kind, "ids": ids, "logit": round(logit, 4)}))
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", help="also write some prompts with their logits there")
    options = parser.parse_args()
    path = HERE.parent / "tokenizer.json"
    tokenizer = bpe.Tokenizer.load(path)
    vocab = json.loads((HERE.parent / "config.json").read_text())["vocab_size"]
    known = Prompts(options.seed, False, sources(False))
    rows, labels, kinds = data(known, options.prompts, tokenizer, vocab)
    weights, bias = train(rows, labels)
    report("training", rows, labels, kinds, weights, bias)
    save(options.out, weights, bias, vocabulary_hash(path, vocab), vocab)
    for name, phrases in (("new texts", False), ("new texts, new phrases", True)):
        prompts = Prompts(TRAINING_SEEDS + options.seed, phrases, sources(True))
        report(name, *data(prompts, options.prompts // 3, tokenizer, vocab), weights, bias)
    if options.golden:
        golden(options.golden, tokenizer, vocab, Prompts(TRAINING_SEEDS, False, sources(True)), weights, bias)


if __name__ == "__main__":
    main()