#!/usr/bin/env python3
"""Makes a folder of training data: tokenizer.json (learned, or taken from --tokenizer) and one array of token ids per kind of
text, with a held-out part of each.

    prepare.py DATA [--tokenizer ../tokenizer.json] [--share 1.0] [--vocab 4096]
"""
import argparse
import os
import random

import numpy as np

from bpe import SPECIAL, Tokenizer, learn_merges
from corpus import documents
from textgen import TextGenerator, render

SEED = 1001
SHORT_CHATS, LONG_CHATS = 60_000, 2_200


def pack(texts, tokenizer, document):
    """Token ids of all texts, each closed with end_of_text; documents begin with begin_of_text, chats have it."""
    begin, end = tokenizer.special["<|begin_of_text|>"], tokenizer.special["<|end_of_text|>"]
    arrays = [np.array(([begin] if document else []) + tokenizer.encode(text) + [end], np.uint16) for text in texts]
    return np.concatenate(arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--tokenizer", help="take this tokenizer.json instead of learning one")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual amount of text")
    parser.add_argument("--vocab", type=int, default=4096)
    options = parser.parse_args()
    os.makedirs(options.data, exist_ok=True)

    generator = TextGenerator(SEED)
    chats = [render(generator.short()) for _ in range(max(40, int(SHORT_CHATS * options.share)))]
    longs = [render(generator.long()) for _ in range(max(8, int(LONG_CHATS * options.share)))]
    docs = documents(share=options.share)
    if options.tokenizer:
        tokenizer = Tokenizer.load(options.tokenizer)
    else:
        some = random.Random(3).sample(chats, min(len(chats), 6000))
        tokenizer = Tokenizer(learn_merges(docs + some, options.vocab - 256 - len(SPECIAL)))
    tokenizer.save(os.path.join(options.data, "tokenizer.json"))

    for name, texts, document in (("docs", docs, True), ("chat", chats, False), ("long", longs, False)):
        held_out = max(1, len(texts) // 40)
        for part, chosen in (("val", texts[:held_out]), ("train", texts[held_out:])):
            ids = pack(chosen, tokenizer, document)
            np.save(os.path.join(options.data, f"{name}_{part}.npy"), ids)
            print(f"{name}_{part}: {len(ids)} tokens", flush=True)


if __name__ == "__main__":
    main()
