"""Batches of training tokens: slices of packed arrays and endless streams of generated text, mixed by given shares. A target
inside an assistant's turn weighs more, as recall is what the model is for."""
import os

import numpy as np
import torch

from textgen import TextGenerator, render

ANSWER_WEIGHT, CHAT_WEIGHT, COPY_FIRST_WEIGHT = 2.0, 0.6, 0.1
ORDINARY_IDS = 4080  # random segments are drawn below this, clear of special tokens


class Batches:
    def __init__(self, folder, tokenizer, seed):
        self.tokenizer, self.random = tokenizer, np.random.default_rng(seed)
        self.ordinary = min(ORDINARY_IDS, tokenizer.size - 8)
        self.arrays = {name: np.load(os.path.join(folder, name + ".npy")).astype(np.int64)
                       for kind in ("docs", "chat", "long") for name in (kind + "_train", kind + "_val")}
        self.weights = {name: np.ones(len(ids), np.float32) if name.startswith("docs") else self.answer_weights(ids)
                        for name, ids in self.arrays.items()}
        generator = TextGenerator(seed + 77)
        self.streams = {"dense": (generator.dense, []), "far": (generator.far, [])}

    def answer_weights(self, ids):
        """Per token: ANSWER_WEIGHT from an assistant's header to its end of turn, CHAT_WEIGHT elsewhere."""
        special = self.tokenizer.special
        opening = (ids[:-1] == special["<|start_header_id|>"]) & (ids[1:] == self.tokenizer.encode("assistant")[0])
        ends = np.flatnonzero(ids == special["<|eot_id|>"])
        weights = np.full(len(ids), CHAT_WEIGHT, np.float32)
        for begin in np.flatnonzero(opening):
            index = np.searchsorted(ends, begin)
            weights[begin:ends[index] + 1 if index < len(ends) else len(ids)] = ANSWER_WEIGHT
        return weights

    def _from_stream(self, kind, length):
        make, waiting = self.streams[kind]
        while len(waiting) <= length:
            waiting += self.tokenizer.encode(render(make())) + [self.tokenizer.special["<|end_of_text|>"]]
        ids = np.array(waiting[:length + 1], np.int64)
        del waiting[:length]
        return ids, self.answer_weights(ids)

    def _from_array(self, kind, length):
        ids, weights = self.arrays[kind + "_train"], self.weights[kind + "_train"]
        begin = self.random.integers(0, max(1, len(ids) - length - 1))
        ids, weights = ids[begin:begin + length + 1], weights[begin:begin + length + 1]
        repeats = -(-(length + 1) // len(ids))
        return np.tile(ids, repeats)[:length + 1], np.tile(weights, repeats)[:length + 1]

    def repeated(self, length):
        """A segment over and over: (ids, weights, period). Random ids, or some of a document."""
        period = int(self.random.integers(6, max(7, length // 3)))
        docs = self.arrays["docs_train"]
        if self.random.random() < 0.5 or len(docs) <= period:
            segment = self.random.integers(0, self.ordinary, period)
        else:
            begin = self.random.integers(0, len(docs) - period)
            segment = docs[begin:begin + period]
        ids = np.tile(segment, length // period + 2)[:length + 1].astype(np.int64)
        weights = np.ones(length + 1, np.float32)
        weights[:period] = COPY_FIRST_WEIGHT
        return ids, weights, period

    def sample(self, mix, rows, length):
        """mix: kind -> share. (inputs, targets, weights), each (rows, length)."""
        kinds, shares = list(mix), np.array(list(mix.values()))
        chosen = []
        for kind in self.random.choice(kinds, rows, p=shares / shares.sum()):
            if kind == "repeat":
                chosen.append(self.repeated(length)[:2])
            elif kind in self.streams:
                chosen.append(self._from_stream(kind, length))
            else:
                chosen.append(self._from_array(kind, length))
        ids = torch.from_numpy(np.stack([c[0] for c in chosen]))
        weights = torch.from_numpy(np.stack([c[1] for c in chosen]))
        return ids[:, :-1], ids[:, 1:], weights[:, 1:]

    def held_out(self, kind, length, count):
        """Up to `count` pieces in order: (inputs (1, length), targets (length), weights (length))."""
        ids, weights = self.arrays[kind + "_val"], self.weights[kind + "_val"]
        for begin in range(0, min(count * length, len(ids) - length), length):
            piece = torch.from_numpy(ids[begin:begin + length + 1])
            yield piece[None, :-1], piece[1:], torch.from_numpy(weights[begin + 1:begin + length + 1])
