#!/usr/bin/env python3
"""Synthetic English conversations with facts to recall: training data of the reference model and its held-out questions.

Everything follows from a seed; training uses seeds below 1,000,000 (TRAINING_SEEDS), questions use those above, so that no
question was trained on. As a program it prints questions as JSON lines, one {"messages": [...], "answer": "..."} each:

    python3 textgen.py --questions 200 --seed 7 [--length short|medium|long|far] [--kind story|memory]
"""
import argparse
import json
import random
from dataclasses import dataclass

TRAINING_SEEDS = 1_000_000

NAMES = ("Alice Bruno Carla David Elena Felix Grace Hugo Irene Jonas Karen Leo Marta Nils Olivia Peter Quinn Rosa Simon "
         "Tara Uma Victor Wendy Xavier Yara Zoe Adam Bella Colin Diana Erik Fiona").split()
CITIES = ("Lisbon Oslo Kyoto Vienna Madrid Dublin Prague Athens Cairo Boston Denver Austin Geneva Helsinki Jakarta Lima "
          "Milan Nairobi Osaka Paris Quito Rome Seoul Tokyo Utrecht Venice Warsaw Zurich").split()
JOBS = ("baker pilot nurse teacher farmer lawyer painter plumber chemist singer writer driver doctor judge tailor sailor "
        "miner poet cook clerk").split()
THINGS = ("lamp chair kettle guitar bicycle camera ladder umbrella basket mirror hammer blanket violin suitcase clock "
          "wallet helmet candle pillow notebook").split()
COLORS = "red green blue yellow purple orange black white silver brown pink grey".split()
PLACES = "kitchen garage attic garden cellar office library bedroom hallway workshop".split()
FOODS = "soup bread cheese salad rice pasta fish apples honey pancakes".split()
WEATHER = "sunny rainy windy cloudy foggy snowy stormy warm cold humid".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
CODES = "amber basil cedar delta ember fjord grove hazel ivory jasper".split()

# What a placeholder of the sentences below may become.
POOLS = {"name": NAMES, "city": CITIES, "city2": CITIES, "job": JOBS, "thing": THINGS, "color": COLORS, "place": PLACES,
         "food": FOODS, "weather": WEATHER, "day": DAYS}

# Kinds of facts: what it is about (two facts about the same never meet in one conversation), how it may be said, the
# question, the answer.
FACT_KINDS = [
    (("name",), ["{name} lives in {city}.", "The home of {name} is in {city}."],
     "Where does {name} live?", "{name} lives in {city}."),
    (("name",), ["{name} works as a {job}.", "The job of {name} is {job}."],
     "What is the job of {name}?", "{name} works as a {job}."),
    (("name", "thing"), ["The {thing} of {name} is {color}."],
     "What color is the {thing} of {name}?", "The {thing} of {name} is {color}."),
    (("name", "thing"), ["{name} left the {thing} in the {place}.", "{name} keeps the {thing} in the {place}."],
     "Where is the {thing} of {name}?", "The {thing} of {name} is in the {place}."),
    (("name",), ["The secret number of {name} is {number}.", "Remember that the secret number of {name} is {number}."],
     "What is the secret number of {name}?", "The secret number of {name} is {number}."),
    (("name",), ["{name} likes to eat {food}.", "The favorite food of {name} is {food}."],
     "What does {name} like to eat?", "{name} likes to eat {food}."),
    (("name",), ["{name} arrives on {day}.", "The visit of {name} is on {day}."],
     "When does {name} arrive?", "{name} arrives on {day}."),
    (("city",), ["The weather in {city} is {weather} today."],
     "How is the weather in {city}?", "The weather in {city} is {weather}."),
    (("thing",), ["The password of the {thing} is {password}."],
     "What is the password of the {thing}?", "The password of the {thing} is {password}."),
]

FILLERS = [
    "The day was {weather} and the street was quiet.",
    "A {color} bird sat on the roof of the house.",
    "People walked past the shop and talked about {food}.",
    "The train to {city} was late again, so everyone waited.",
    "In the {place} there was a smell of {food}.",
    "The {job} opened the window and looked at the sky.",
    "It was {day}, and the market was full of people.",
    "Some children played with a {color} ball near the river.",
    "The old {thing} stood in the corner and nobody used it.",
    "Later the {job} bought {food} and went home.",
    "The road from {city} to {city2} is long and {weather}.",
    "Nobody knew why the {place} was closed on {day}.",
]

TALE = [
    "{name} was a {job} who lived in {city}.",
    "One {day}, {name} found a {color} {thing} in the {place}.",
    "The {thing} was old, but {name} liked it very much.",
    "{name} cleaned the {thing} and put it on the table.",
    "Then a friend came to eat {food} and asked about the {thing}.",
    "\"I found it in the {place},\" said {name}.",
    "The friend smiled and said that a {color} {thing} brings good luck.",
    "From that day on, {name} took the {thing} everywhere, even to {city2}.",
]

# Facts and filler sentences of a held-out question, inclusive; and the prompt tokens that this comes to, about.
LENGTHS = {"short": ((1, 9), (0, 13)),      # 25 to 170
           "medium": ((8, 20), (24, 36)),   # 400 to 700
           "long": ((30, 40), (80, 100)),   # 1,300 to 1,750
           "far": ((40, 60), (140, 160))}   # 2,150 to 2,700


@dataclass(frozen=True)
class Fact:
    key: tuple
    statement: str
    question: str
    answer: str


def render(turns):
    """Turns [(role, text)] in the model's chat markup, as one training text."""
    body = "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns)
    return "<|begin_of_text|>" + body


class TextGenerator:
    """An endless source of conversations; each a list of (role, text) turns."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def _fill(self, sentence):
        return sentence.format(**{slot: self.random.choice(pool) for slot, pool in POOLS.items()})

    def fact(self):
        kind = self.random.randrange(len(FACT_KINDS))
        about, statements, question, answer = FACT_KINDS[kind]
        values = {slot: self.random.choice(pool) for slot, pool in POOLS.items()}
        values["number"] = str(self.random.randrange(1000, 10000))
        values["password"] = f"{self.random.choice(CODES)}-{self.random.randrange(10, 100)}"
        return Fact(key=(kind,) + tuple(values[slot] for slot in about),
                    statement=self.random.choice(statements).format(**values),
                    question=question.format(**values), answer=answer.format(**values))

    def facts(self, count):
        """At most `count` facts, no two about the same."""
        found = {}
        for _ in range(count * 20):
            if len(found) == count:
                break
            fact = self.fact()
            found.setdefault(fact.key, fact)
        facts = list(found.values())
        self.random.shuffle(facts)
        return facts

    def filler(self):
        return self._fill(self.random.choice(FILLERS))

    def story(self, facts, fillers):
        """The facts in order among `fillers` sentences that say nothing, in paragraphs."""
        sentences = [fact.statement for fact in facts]
        for _ in range(fillers):
            sentences.insert(self.random.randrange(len(sentences) + 1), self.filler())
        paragraphs, paragraph = [], []
        for sentence in sentences:
            paragraph.append(sentence)
            if len(paragraph) >= self.random.randrange(3, 8):
                paragraphs.append(" ".join(paragraph))
                paragraph = []
        if paragraph:
            paragraphs.append(" ".join(paragraph))
        return "\n\n".join(paragraphs)

    def story_questions(self, facts, fillers, questions, repeat=False):
        """A story, then questions about it; the first stands under the story. repeat: one fact may be asked twice."""
        known = self.facts(facts)
        story = self.story(known, fillers)
        asked = ([self.random.choice(known) for _ in range(questions)] if repeat
                 else self.random.sample(known, min(questions, len(known))))
        turns = [("user", story + "\n\n" + asked[0].question), ("assistant", asked[0].answer)]
        for fact in asked[1:]:
            turns += [("user", fact.question), ("assistant", fact.answer)]
        return turns

    def memory(self, count):
        """At most `count` facts told one by one."""
        return self.told(self.facts(count))

    def told(self, facts):
        """The facts told one by one, each acknowledged, with questions about earlier ones between."""
        turns, known = [], []
        for fact in facts:
            tail = self.random.choice(["", " Please remember it.", " " + self.filler()])
            reply = self.random.choice(["I will remember that. ", "Understood. ", "Noted. "])
            turns += [("user", fact.statement + tail), ("assistant", reply + fact.statement)]
            known.append(fact)
            if self.random.random() < 0.5:
                asked = self.random.choice(known)
                turns += [("user", asked.question), ("assistant", asked.answer)]
        return turns

    def arithmetic(self):
        turns = []
        for _ in range(self.random.randrange(2, 6)):
            a, b = self.random.randrange(100), self.random.randrange(100)
            kind = self.random.randrange(3)
            if kind == 0:
                turns += [("user", f"What is {a} plus {b}?"), ("assistant", f"{a} plus {b} is {a + b}.")]
            elif kind == 1:
                a, b = max(a, b), min(a, b)
                turns += [("user", f"What is {a} minus {b}?"), ("assistant", f"{a} minus {b} is {a - b}.")]
            else:
                start = self.random.randrange(50)
                numbers = ", ".join(str(i) for i in range(start, start + 9))
                turns += [("user", f"Count from {start} to {start + 8}."), ("assistant", numbers + ".")]
        return turns

    def listing(self):
        kind, pool = self.random.choice([("names", NAMES), ("cities", CITIES), ("foods", FOODS), ("colors", COLORS),
                                         ("things", THINGS)])
        items = self.random.sample(pool, self.random.randrange(3, 8))
        verb, answer = self.random.choice([("Sort these {}", sorted(items)), ("Repeat these {}", items),
                                           ("Write these {} in reverse", items[::-1])])
        return [("user", verb.format(kind) + ": " + ", ".join(items) + "."), ("assistant", ", ".join(answer) + ".")]

    def tale(self):
        values = {slot: self.random.choice(pool) for slot, pool in POOLS.items()}
        wish = self.random.choice(["Tell me a story about a {job} and a {thing}.",
                                   "Write a short story about {name}, a {thing} and {food}."])
        return [("user", wish.format(**values)), ("assistant", " ".join(TALE).format(**values))]

    def short(self):
        """A conversation of up to some 300 tokens."""
        pick = self.random.random()
        if pick < 0.35:
            return self.story_questions(self.random.randrange(1, 10), self.random.randrange(0, 14),
                                        self.random.randrange(1, 5))
        if pick < 0.60:
            return self.memory(self.random.randrange(2, 10))
        if pick < 0.70:
            return self.arithmetic()
        if pick < 0.82:
            return self.listing()
        return self.tale()

    def long(self):
        """A conversation of some 600 to 2,000 tokens."""
        if self.random.random() < 0.6:
            return self.story_questions(self.random.randrange(6, 40), self.random.randrange(30, 110),
                                        self.random.randrange(2, 8))
        return self.memory(self.random.randrange(12, 40))

    def dense(self):
        """Few facts and many questions: what teaches recall first."""
        return self.story_questions(self.random.randrange(1, 7), self.random.randrange(0, 5),
                                    self.random.randrange(2, 7), repeat=True)

    def far(self):
        """A long story first, then many questions: recall over thousands of tokens."""
        return self.story_questions(self.random.randrange(20, 90), self.random.randrange(60, 300),
                                    self.random.randrange(6, 24))


def question(seed, length="short", kind="story"):
    """One held-out question: ([{"role", "content"}...], expected answer). Seeds are moved above the training seeds."""
    generator = TextGenerator(TRAINING_SEEDS + seed)
    (fewest, most), (least_fill, most_fill) = LENGTHS[length]
    count = generator.random.randint(fewest, most)
    if kind == "memory":
        turns = generator.memory(count)
        while not turns[-2][1].endswith("?"):  # ends on a question
            turns = turns[:-2] if len(turns) > 2 else generator.memory(count)
    else:
        turns = generator.story_questions(count, generator.random.randint(least_fill, most_fill), 1)
    messages = [{"role": role, "content": text} for role, text in turns[:-1]]
    return messages, turns[-1][1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="question i is made from seed * 10000 + i")
    parser.add_argument("--length", choices=list(LENGTHS), default="short")
    parser.add_argument("--kind", choices=["story", "memory"], default="story")
    options = parser.parse_args()
    for i in range(options.questions):
        messages, answer = question(options.seed * 10_000 + i, options.length, options.kind)
        print(json.dumps({"messages": messages, "answer": answer}))


if __name__ == "__main__":
    main()
