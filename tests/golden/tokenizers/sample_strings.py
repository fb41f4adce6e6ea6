"""Strings that tokenizers disagree about: all Unicode planes, marks, emoji, code, white space, markup inside text.

Deterministic for a seed; used by make_goldens.py and by the comparison with real vocabularies.
"""

import random

WORDS = (
    "the of and I'm you're they've don't we'll he'd It's HELLO'S naïve café Straße ﬁn ŉ ſs ’s 'S 'ſ 'Re 'LL K'elvin "
    "123 4567 3.14159 0x1F ² ½ Ⅷ ٣٤٥ 你好 世界 日本語 テスト ひらがな 한국어 สวัสดี Привет мир שלום مرحبا हिन्दी ελληνικά "
    " ▁ ▁▁x snake_case camelCase HTTPServer foo() {} [] != && || -> :: // /* */ # ## ### <b> </b> & % $ € @ ~ ` ^ \\n "
    "https://example.org/a?b=c&d=e a@b.c 👍 👩‍👩‍👧‍👦 🇩🇪 👨🏽‍💻 ☃️ ① Ⓐ 🄰 \u00b2\u00b9 \u200b \u200d \ufeff \u00ad \u0301 "
    "e\u0301 A\u030a \u1100\u1161\u11a8 \u0344 \u2126 \u212b \uf900 \u0958 \u2adc q\u0323\u0307 \u0f73 \U0001d15e "
    "\U00011938 <0x41> <0x0A> <unk> Ġ Ċ token tokenizer layer attention server stream worker block policy"
).split(" ")
SPACES = (
    " |  |   |\n|\n\n|\r\n|\t|\t\t| \n |\u00a0|\u3000|\u2003|\u1680|\u180e|\u0085|\u2028|\u200b|\x0b|\x0c|\x00|        |"
    "\n  \n|    \n\n\n  "
).split("|")
PLANES = [
    (0, 0x80), (0x80, 0x250), (0x250, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x10000, 0x12000),
    (0x16000, 0x18D10), (0x1B000, 0x1FB00), (0x20000, 0x32000), (0xE0000, 0xE0200), (0xF0000, 0x110000),
]
MARKS = (
    [chr(c) for c in range(0x300, 0x370)] + [chr(c) for c in range(0x591, 0x5C8)]
    + [chr(c) for c in (0x93C, 0x94D, 0x9CD, 0xE38, 0xF71, 0x3099, 0x302A, 0x1D165, 0x1E000, 0x110BA, 0x114BC)]
)
REPEATED = ["a", "A", " ", "\n", "aB", "  \n", "=", "1", "ab ", "é", "😀", "\u0301"]
CODE = 'def f%d(x):\n    if x %% %d == 0:\n\treturn {"k%d": x}\n\n\n        # done  \n'


def _any_character(r):
    low, high = r.choice(PLANES)
    return chr(r.randrange(low, high))


def _marked(r, n):
    return "".join(
        chr(r.randrange(0x41, 0x17F)) + "".join(r.choice(MARKS) for _ in range(r.randrange(3))) for _ in range(n))


def _markup(r, n, added):
    return "".join(
        r.choice([r.choice(added), r.choice(WORDS), r.choice(SPACES), r.choice(added)[: r.randrange(1, 9)]])
        for _ in range(n))


def _cjk(r, n):
    ranges = [(0xAC00, 0xD7A4), (0x1100, 0x1200), (0x4E00, 0x9FFF), (0x3040, 0x3100), (0x20, 0x21)]
    return "".join(chr(r.randrange(*r.choice(ranges))) for _ in range(n))


def sample(r, added):
    kind, n = r.randrange(12), r.randrange(1, 25)
    if kind == 0:
        return "".join(_any_character(r) for _ in range(n))
    if kind == 1:
        return "".join(r.choice(SPACES) for _ in range(n))
    if kind == 2:
        return _marked(r, n)
    if kind in (3, 11) and added:
        return _markup(r, n, added)
    if kind == 4:
        return "".join(chr(r.randrange(32, 127)) for _ in range(n * 2))
    if kind == 5:
        return r.choice(REPEATED) * r.randrange(1, 120)
    if kind == 6:
        return CODE % tuple(r.randrange(10 ** r.randrange(1, 7)) for _ in range(3))
    if kind == 7:
        return "".join(r.choice("0123456789,. \u0660\u0967Ⅷ½²") for _ in range(n))
    if kind == 8:
        return _cjk(r, n)
    return "".join(r.choice(WORDS) + r.choice([" ", " ", " ", "", r.choice(SPACES)]) for _ in range(n))


def sample_strings(seed, count, added):
    """`count` strings, `added` tokens among them; the first few are edge cases."""
    r = random.Random(seed)
    return (["", " ", "a", "  a ", "\n"] + [sample(r, added) for _ in range(count)])[:count]
