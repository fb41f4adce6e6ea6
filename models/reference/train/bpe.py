"""Byte-level BPE: training, encoding, and writing as tokenizer.json. Small and slow; the engine's tokeniser is
coordinator/text/tokenizer."""
import collections
import functools
import heapq
import json
import re
import sys
import unicodedata

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
           "<|finetune_right_pad_id|>", "<|eom_id|>", "<|python_tag|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")  # Llama 3's
SPLIT_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")


@functools.cache
def category_ranges(initial):
    """The inside of a character class: all code points whose category begins with `initial` (re knows no \\p)."""
    ranges, begin = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == initial
        if inside and begin is None:
            begin = code
        elif not inside and begin is not None:
            ranges.append(f"\\U{begin:08x}-\\U{code - 1:08x}")
            begin = None
    return "".join(ranges)


def compile_pattern(pattern):
    """\\p{L} and \\p{N}, inside a class or alone, as ranges."""
    pattern = re.sub(r"\[[^\]]*\]", lambda match: re.sub(r"\\p\{(.)\}", lambda m: category_ranges(m.group(1)), match.group()), pattern)
    return re.compile(re.sub(r"\\p\{(.)\}", lambda m: "[" + category_ranges(m.group(1)) + "]", pattern))


WORDS = compile_pattern(PATTERN)


def byte_symbols():
    """byte -> the printable character that stands for it, as GPT-2 assigned them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in symbols):
        symbols[byte] = chr(256 + extra)
    return symbols


SYMBOLS = byte_symbols()
BYTES = {symbol: byte for byte, symbol in SYMBOLS.items()}


def join_pair(word, pair):
    joined, at = [], 0
    while at < len(word):
        if tuple(word[at:at + 2]) == pair:
            joined.append(word[at] + word[at + 1])
            at += 2
        else:
            joined.append(word[at])
            at += 1
    return joined


def learn_merges(texts, count):
    """The `count` merges that BPE finds, most frequent pair first."""
    frequency = collections.Counter()
    for text in texts:
        for part in SPLIT_SPECIAL.split(text):
            if part not in SPECIAL:
                frequency.update(WORDS.findall(part))
    words = [([SYMBOLS[byte] for byte in word.encode()], times) for word, times in frequency.items()]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for index, (word, times) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += times
            where[pair].add(index)
    heap = [(-times, pair) for pair, times in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < count:
        times, pair = heapq.heappop(heap)
        if pairs[pair] != -times:  # outdated: its count has changed since
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        if times == 0:
            break
        merges.append(pair)
        changed = set()
        for index in list(where[pair]):
            word, weight = words[index]
            for old in zip(word, word[1:]):
                pairs[old] -= weight
            word = join_pair(word, pair)
            words[index] = (word, weight)
            for new in zip(word, word[1:]):
                pairs[new] += weight
                where[new].add(index)
                changed.add(new)
        for new in changed:
            heapq.heappush(heap, (-pairs[new], new))
    return merges


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        pieces = [SYMBOLS[byte] for byte in range(256)] + [a + b for a, b in self.merges]
        self.vocabulary = {piece: index for index, piece in enumerate(pieces)}
        self.special = {token: len(pieces) + index for index, token in enumerate(SPECIAL)}
        self.size = len(pieces) + len(SPECIAL)
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._pieces = pieces
        self._known = {}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf8") as file:
            merges = json.load(file)["model"]["merges"]
        return cls([merge.split(" ") if isinstance(merge, str) else merge for merge in merges])

    def _encode_word(self, word):
        if word not in self._known:
            parts = [SYMBOLS[byte] for byte in word.encode()]
            while len(parts) > 1:
                best = min(zip(parts, parts[1:]), key=lambda pair: self._rank.get(pair, len(self._rank)))
                if best not in self._rank:
                    break
                parts = join_pair(parts, best)
            self._known[word] = [self.vocabulary[part] for part in parts]
        return self._known[word]

    def encode(self, text):
        ids = []
        for part in SPLIT_SPECIAL.split(text):
            if part in self.special:
                ids.append(self.special[part])
            else:
                for word in WORDS.findall(part):
                    ids += self._encode_word(word)
        return ids

    def decode(self, ids):
        raw = b"".join(SPECIAL[i - len(self._pieces)].encode() if i >= len(self._pieces)
                       else bytes(BYTES[symbol] for symbol in self._pieces[i]) for i in ids)
        return raw.decode("utf8", "replace")

    def save(self, path):
        bos = SPECIAL[0]
        first = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        second = [{"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        content = {
            "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
            "added_tokens": [{"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": True} for token, index in self.special.items()],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
            "post_processor": {"type": "Sequence", "processors": [
                {**byte_level, "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                {"type": "TemplateProcessing", "single": first, "pair": first + second,
                 "special_tokens": {bos: {"id": bos, "ids": [self.special[bos]], "tokens": [bos]}}}]},
            "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                      "vocab": self.vocabulary, "merges": [" ".join(pair) for pair in self.merges]},
        }
        with open(path, "w", encoding="utf8") as file:
            json.dump(content, file, ensure_ascii=False, indent=0)
