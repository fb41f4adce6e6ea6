"""Prose and code that a Debian machine has anyway: manual pages, package documentation, headers, Python's and Go's standard
libraries where present. The reference model reads it beside the conversations of textgen.py, so that it has seen more than one
kind of text; early exits differ between them, which is what an exit policy has to learn."""
import glob
import gzip
import os
import random
import re
import sysconfig

# Manual sections and how many characters to take of each.
MANUALS = {1: 4_000_000, 2: 1_500_000, 3: 2_500_000, 5: 1_500_000, 7: 2_000_000, 8: 2_000_000}
STDLIB = sysconfig.get_paths()["stdlib"]
# (patterns, characters in all, characters of one file)
FILES = [
    ([STDLIB + "/*.py", STDLIB + "/[a-r]*/*.py"], 4_000_000, 12_000),
    (["/usr/share/doc/nodejs/**/*.md", "/usr/lib/node_modules/npm/**/*.md"], 2_500_000, 16_000),
    (["/usr/local/go/src/**/*.go", "/usr/lib/go*/src/**/*.go"], 7_000_000, 10_000),
    (["/usr/include/**/*.h"], 2_000_000, 8_000),
    (["/usr/share/doc/**/README*", "/usr/share/doc/**/*.txt", "/usr/share/doc/**/*.md"], 2_000_000, 16_000),
]
SHORTEST, LONGEST_MANUAL = 400, 20_000

# Enough of roff to leave readable text: requests that only format go, font requests leave their words.
ROFF = [
    (r"(?m)^[.'](?:\\\"|\.|de|ie|el|if|nr|ds|nh|ad|tr).*$", ""),
    (r'(?m)^\.S[HS]\s+"?(.*?)"?$', r"\n\1\n"),
    (r"(?m)^\.(?:[BI]|[BIR][BIR]|S[MB])\s+(.*)$", lambda match: match.group(1).replace('"', "")),
    (r"(?m)^\.\s*\w+.*$", ""),
    (r"\\f(?:\(..|\[.*?\]|.)", ""),
    (r"\\-", "-"), (r"\\&", ""), (r"\\e", r"\\"), (r"\\ ", " "),
    (r"\\\((?:aq|cq|oq)", "'"), (r"\\\((?:lq|rq|dq)", '"'), (r"\\\(..", ""),
    (r"\\\*?\[.*?\]", ""), (r"\\s[-+]?\d", ""), (r"\\.", ""),
    (r"[ \t]+", " "), (r"\n\s*\n+", "\n\n"),
]


def plain_text(roff):
    for pattern, replacement in ROFF:
        roff = re.sub(pattern, replacement, roff)
    return roff.strip()


def manuals(section, limit, source):
    paths = [p for p in sorted(glob.glob(f"/usr/share/man/man{section}/*.gz")) if not os.path.islink(p)]
    source.shuffle(paths)
    taken = 0
    for path in paths:
        try:
            with gzip.open(path, "rt", encoding="utf8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) < SHORTEST:
            continue
        text = plain_text(text)[:LONGEST_MANUAL]
        yield text
        taken += len(text)
        if taken > limit:
            return


def files(patterns, limit, longest, source):
    """Of each file a window of at most `longest` characters that begins at a line."""
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern, recursive=True))
    source.shuffle(paths)
    taken = 0
    for path in paths:
        try:
            with open(path, encoding="utf8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) < SHORTEST:
            continue
        begin = source.randrange(max(1, len(text) - longest + 1))
        text = text[text.find("\n", begin) + 1 if begin else 0:][:longest]
        yield "```python\n" + text if path.endswith(".py") else text
        taken += len(text)
        if taken > limit:
            return


def documents(seed=7, share=1.0):
    """A shuffled list of texts; `share` of the limits above."""
    source = random.Random(seed)
    found = [text for section, limit in MANUALS.items() for text in manuals(section, limit * share, source)]
    for patterns, limit, longest in FILES:
        found += files(patterns, limit * share, longest, source)
    source.shuffle(found)
    return found
