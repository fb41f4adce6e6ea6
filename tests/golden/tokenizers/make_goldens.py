"""Trains one small tokenizer of every supported shape and writes what the reference libraries make of 2,200 strings.

Needs the `tokenizers` and `sentencepiece` wheels; the C++ test only reads what this wrote.
  make_goldens.py                    writes strings.bin and <shape>/{tokenizer.json|tokenizer.model, goldens.bin}
  make_goldens.py --full TOOL [SEED] compares tests/tokenizer_tool with the libraries on fresh strings, writes nothing

goldens.bin, all numbers LEB128 varints: for each string: count, ids (special tokens added for every second string), then the
decoding of these ids without and with skip_special_tokens; then a count of random sequences: count, ids, both decodings.
A decoding is its byte length + 1 and its bytes, or 0 when it equals the string.
"""

import glob
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sample_strings import sample_strings

HERE = pathlib.Path(__file__).resolve().parent
STRINGS = 2200
RANDOM_SEQUENCES = 400
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = [
    r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
]
DEEPSEEK1 = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\s+$", "[一-龥ࠀ-一가-퟿]+"]
ADDED = ["<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "<s>", "</s>", "<unk>", "[INST]",
         "[/INST]", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<|endoftext|>", "left", "right", "word", "norm é", "  pad",
         "Café", "<mask>", "[SEP]"]


def corpus():
    lines = [s for s in sample_strings(4711, 3000, ADDED[:4])]
    for name in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:25]:
        lines += open(name, encoding="utf-8", errors="replace").read().split("\n\n")
    return lines


def byte_level(pre, size, ignore_merges=False, normalizer=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, show_progress=False, max_token_length=16,
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def splits(*patterns, tail=()):
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns] + list(tail)
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def special(t, *names):
    t.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])


def bos(t, name):
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{name} $A", pair=f"{name} $A {name}:1 $B:1",
                                      special_tokens=[(name, t.token_to_id(name))])])


def llama3():
    t = byte_level(splits(LLAMA3), 1500, ignore_merges=True)
    special(t, "<|begin_of_text|>", "<|eot_id|>")
    bos(t, "<|begin_of_text|>")
    return t


def qwen2():
    t = byte_level(splits(QWEN2), 1200, normalizer=normalizers.NFC())
    special(t, "<|im_start|>", "<|im_end|>", "<|endoftext|>")
    t.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return t


def tekken():
    t = byte_level(splits(TEKKEN), 1200)
    special(t, "<unk>", "<s>", "</s>", "[INST]", "[/INST]")
    bos(t, "<s>")
    return t


def deepseek3():
    t = byte_level(splits(*DEEPSEEK3), 1200)
    special(t, "<｜begin▁of▁sentence｜>")
    t.add_tokens([AddedToken("<｜User｜>", special=False, normalized=True)])
    bos(t, "<｜begin▁of▁sentence｜>")
    return t


def deepseek1():
    t = byte_level(splits(*DEEPSEEK1, tail=[pre_tokenizers.Digits(individual_digits=True)]), 800)
    special(t, "<｜begin▁of▁sentence｜>")
    return t


def gpt2():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), 1200)
    special(t, "<|endoftext|>")
    return t


def gpt2_prefix():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), 600)
    special(t, "<s>", "</s>", "<mask>")
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[
        ("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])
    return t


def flags():
    """Every flag of added tokens, and a split that removes what it matches."""
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Split(Regex(r"\d+"), "contiguous"),
        pre_tokenizers.Split(Regex("[=]+"), "merged_with_next"), pre_tokenizers.Split(Regex("~"), "removed"),
        pre_tokenizers.Split(Regex(r"\w+"), "isolated", invert=True), pre_tokenizers.ByteLevel(False, use_regex=False)])
    t = byte_level(pre, 500, normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s{3,}"), "  ")]))
    t.add_tokens([
        AddedToken("left", lstrip=True, normalized=False), AddedToken("right", rstrip=True, normalized=True),
        AddedToken("word", single_word=True, normalized=False), AddedToken("norm é", normalized=True),
        AddedToken("norm e", normalized=True, single_word=True, lstrip=True, rstrip=True),
        AddedToken("  pad", normalized=False), AddedToken("Cafe\u0301", normalized=True)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, special=True, normalized=True),
                          AddedToken("[SEP]", single_word=True, special=True)])
    return t


def sentencepiece_shape(pre, normalizer, size, name):
    """BPE over characters with byte tokens, as Llama 2 and Mistral are written in tokenizer.json."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=names,
                                                        limit_alphabet=250, max_token_length=16))
    document = json.loads(t.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    document["model"].update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    document.update(pre_tokenizer=None, normalizer=None, decoder=None, post_processor=None)
    t = Tokenizer.from_str(json.dumps(document))
    if pre:
        t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                     special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def llama2():
    t = sentencepiece_shape(None, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), 1600, "llama2")
    t.add_tokens([AddedToken("[INST]", normalized=True), AddedToken("<tool_call>", normalized=False)])
    return t


def mistral():
    t = sentencepiece_shape(pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None, 1600, "mistral")
    special(t, "[INST]", "[/INST]")
    return t


def metaspace():
    """Metaspace that splits, its own decoder, unknown tokens that are not fused, no byte tokens."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=700, show_progress=False, special_tokens=["<unk>", "<s>"],
                                                        limit_alphabet=150))
    return t


SHAPES = [llama3, qwen2, tekken, deepseek3, deepseek1, gpt2, gpt2_prefix, flags, llama2, mistral, metaspace]


class Fast:
    """The tokenizers wheel behind the two calls that the goldens need."""

    def __init__(self, path):
        self.t = Tokenizer.from_file(str(path / "tokenizer.json"))
        self.size = max(self.t.get_vocab().values()) + 1
        self.never = set()

    def encode(self, text, add_special):
        return self.t.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids, skip):
        return self.t.decode(ids, skip_special_tokens=skip)


class Piece:
    """The sentencepiece wheel. It never shows control pieces, and shows the unknown piece as another text."""

    def __init__(self, path):
        self.p = sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
        self.size = self.p.get_piece_size()
        self.control = [i for i in range(self.size) if self.p.is_control(i)]
        self.never = {self.p.unk_id()}

    def encode(self, text, add_special):
        texts = [self.p.id_to_piece(i) for i in self.control] + [self.p.id_to_piece(self.p.unk_id())]
        if any(t in text for t in texts):
            return None  # the reference does not look for them, a server must
        return ([self.p.bos_id()] if add_special else []) + self.p.encode(text)

    def decode(self, ids, skip):
        if not skip and any(i in self.control for i in ids):
            return None
        if any(i in self.never for i in ids):
            return None
        return self.p.decode(ids)


def train_piece(path, **options):
    path.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as text:
        for line in corpus():
            text.write(line.replace("\0", " ").replace("\r", " ") + "\n")
        text.flush()
        sentencepiece.SentencePieceTrainer.train(input=text.name, model_prefix=str(path / "tokenizer"), model_type="bpe",
                                                 normalization_rule_name="identity", minloglevel=2, **options)
    (path / "tokenizer.vocab").unlink()


def piece_shapes():
    train_piece(HERE / "sentencepiece", vocab_size=1800, byte_fallback=True, remove_extra_whitespaces=False,
                split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.995)
    train_piece(HERE / "sentencepiece_symbols", vocab_size=900, byte_fallback=False, character_coverage=0.98,
                user_defined_symbols=["[INST]", "<tool_call>", "word"])


def number(n):
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def string(text):
    data = text.encode()
    return number(len(data)) + data


def decoding(text, source):
    if text == source:
        return number(0)
    data = text.encode()
    return number(len(data) + 1) + data


def sequence(ids):
    return number(len(ids)) + b"".join(map(number, ids))



def write_goldens(path, reference, strings):
    out = bytearray()
    for i, text in enumerate(strings):
        ids = reference.encode(text, i % 2 == 1)
        if ids is None:
            out += number(2 ** 31)  # nothing to compare
            continue
        out += sequence(ids)
        for skip in (False, True):
            got = reference.decode(ids, skip)
            out += number(2 ** 31) if got is None else decoding(got, text)
    r = random.Random(99)
    out += number(RANDOM_SEQUENCES)
    for _ in range(RANDOM_SEQUENCES):
        limit = reference.size if isinstance(reference, Piece) else reference.size + 3
        ids = [i for i in (r.randrange(limit) for _ in range(r.randrange(0, 16)))]
        out += sequence(ids)
        for skip in (False, True):
            got = reference.decode(ids, skip)
            out += number(2 ** 31) if got is None else decoding(got, "")
    (path / "goldens.bin").write_bytes(out)


def references():
    for shape in SHAPES:
        yield HERE / shape.__name__, Fast
    for name in ("sentencepiece", "sentencepiece_symbols"):
        yield HERE / name, Piece


def write_all():
    for shape in SHAPES:
        path = HERE / shape.__name__
        path.mkdir(exist_ok=True)
        text = json.dumps(json.loads(shape().to_str()), ensure_ascii=False, separators=(",", ":"))
        if shape is gpt2:  # the old form of merges
            document = json.loads(text)
            document["model"]["merges"] = [" ".join(m) for m in document["model"]["merges"]]
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (path / "tokenizer.json").write_text(text, encoding="utf-8")
    piece_shapes()
    strings = sample_strings(20, STRINGS, ADDED)
    (HERE / "strings.bin").write_bytes(number(len(strings)) + b"".join(map(string, strings)))
    for path, kind in references():
        write_goldens(path, kind(path), strings)


def questions(reference, strings, seed):
    r = random.Random(seed)
    for i, text in enumerate(strings):
        ids = reference.encode(text, i % 2 == 1)
        if ids is not None:
            yield {"encode": text, "special": i % 2 == 1}, ids
        fresh = [r.randrange(reference.size) for _ in range(r.randrange(0, 20))]
        for sequence_ids in ([ids] if ids is not None else []) + [fresh]:
            for skip in (False, True):
                got = reference.decode(sequence_ids, skip)
                if got is not None:
                    yield {"decode": sequence_ids, "skip": skip}, {"text": got}


def compare(tool, path, reference, strings, seed):
    asked = list(questions(reference, strings, seed))
    lines = "\n".join(json.dumps(q) for q, _ in asked)
    answers = subprocess.run([tool, str(path)], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    wrong = [(q, want, got) for (q, want), got in zip(asked, map(json.loads, answers), strict=True) if want != got]
    print(f"{path.name}: {len(asked)} comparisons, {len(wrong)} differences", flush=True)
    for q, want, got in wrong[:3]:
        print("  ", json.dumps(q)[:500], "\n   want", json.dumps(want)[:300], "\n   got ", json.dumps(got)[:300])
    return len(wrong)


def main():
    if len(sys.argv) >= 3 and sys.argv[1] == "--full":
        seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(2**31)
        print("seed", seed)
        strings = sample_strings(seed, 4000, ADDED)
        sys.exit(any([compare(sys.argv[2], path, kind(path), strings, seed) for path, kind in references()]))
    write_all()


if __name__ == "__main__":
    main()
