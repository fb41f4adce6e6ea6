#!/usr/bin/env python3
"""Grows the reference model to the 1 B shape without changing its function (exactness X10), so that time spent in a layer is
that of a real model while drafts, acceptance and answers stay those of the trained one.

    python3 inflate.py OUT_DIRECTORY [--model DIR] [--layers 24] [--hidden 2048] [--ffn 5632] [--heads 32] [--kv-heads 4]
                       [--vocab 32000]

Every residual channel is repeated r = hidden / small hidden times: embedding, norms and rows of o and down repeated; columns of q, k, v,
gate and up repeated and divided by r; the final norm repeated and divided by r (r a power of two: exact in bf16). Query head h
goes to slot (h div g) * G + h mod g, g and G the queries per KV head before and after, so that it keeps its KV head; heads, KV
heads and FFN channels beyond the trained ones get random inputs and zero outputs. Before each trained layer stand layers
with random q, k, v, gate, up and zero o and down (at the end they would make early exits look cheap), so exit E becomes E * (layers /
trained layers). The vocabulary is filled with random rows; their ids are not the tokenizer's and are masked before the softmax.

Written tensor by tensor (2.2 GB for the default shape, some 50 MB of memory). Never commit the result.
"""
import argparse
import json
import pathlib
import shutil
import struct
import sys
from dataclasses import dataclass

import numpy as np

NOISE = 0.02  # standard deviation of what is filled in


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int

    @classmethod
    def of(cls, config):
        heads = config["num_attention_heads"]
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"], heads,
                   config.get("num_key_value_heads", heads), config.get("head_dim", config["hidden_size"] // heads),
                   config["vocab_size"])


class Checkpoint:
    """The tensors of a small model.safetensors in bf16, as f32."""

    def __init__(self, directory):
        with open(pathlib.Path(directory) / "model.safetensors", "rb") as file:
            header_bytes, = struct.unpack("<Q", file.read(8))
            self.header = json.loads(file.read(header_bytes))
            self.data = file.read()

    def __getitem__(self, name):
        entry = self.header[name]
        if entry["dtype"] != "BF16":
            sys.exit(f"inflate: {name} is {entry['dtype']}: only BF16 checkpoints can grow exactly")
        begin, end = entry["data_offsets"]
        halves = np.frombuffer(self.data[begin:end], dtype=np.uint16)
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def as_bf16(values):
    """Exactly; what does not fit into bf16 is an error, not a rounding."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    if np.any(bits & 0xFFFF):
        raise ValueError("a value is not exact in bf16")
    return (bits >> 16).astype(np.uint16)


def noise(random, shape):
    bits = (random.standard_normal(shape, dtype=np.float32) * np.float32(NOISE)).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


class Inflation:
    def __init__(self, source, small, big, seed=1):
        if big.hidden % small.hidden or big.layers % small.layers:
            sys.exit("inflate: hidden and layers must be multiples of the small model's")
        self.repeat, self.step = big.hidden // small.hidden, big.layers // small.layers
        if self.repeat & (self.repeat - 1):
            sys.exit(f"inflate: hidden must grow by a power of two, not by {self.repeat}")
        group, big_group = small.heads // small.kv_heads, big.heads // big.kv_heads
        fits = (big.ffn >= small.ffn and big.kv_heads >= small.kv_heads and big_group >= group and big.vocab >= small.vocab
                and big.head_dim == small.head_dim)
        if not fits:
            sys.exit("inflate: heads per KV head, KV heads, FFN and vocabulary must not shrink; head_dim stays")
        self.source, self.small, self.big, self.seed = source, small, big, seed
        self.query_slots = [(head // group) * big_group + head % group for head in range(small.heads)]

    def wide(self, matrix):
        """Columns (inputs from the residual) repeated and divided."""
        return np.repeat(matrix, self.repeat, axis=1) / np.float32(self.repeat)

    def heads_of(self, matrix, slots):
        """Rows of heads to slots * head_dim."""
        return [(slot * self.big.head_dim, matrix[i * self.big.head_dim:(i + 1) * self.big.head_dim])
                for i, slot in enumerate(slots)]

    def layer_tensor(self, layer, kind, shape):
        """A tensor of big layer `layer`; None for a zero one."""
        random = np.random.default_rng([self.seed, layer, len(kind), sum(kind.encode())])
        trained = layer % self.step == self.step - 1
        name = f"model.layers.{layer // self.step}.{kind}.weight"
        if kind.endswith("layernorm"):
            return np.repeat(self.source[name], self.repeat) if trained else np.ones(shape, np.float32)
        outputs = kind.endswith(("o_proj", "down_proj"))
        values = np.zeros(shape, np.float32) if outputs else noise(random, shape)
        if not trained:
            return values
        small = self.source[name]
        if kind.endswith("o_proj"):  # columns are heads
            for at, rows in self.heads_of(small.T, self.query_slots):
                values[:, at:at + self.big.head_dim] = np.repeat(rows.T, self.repeat, axis=0)
        elif outputs:
            values[:, :self.small.ffn] = np.repeat(small, self.repeat, axis=0)
        elif kind.endswith("q_proj"):
            for at, rows in self.heads_of(self.wide(small), self.query_slots):
                values[at:at + self.big.head_dim] = rows
        else:  # k, v, gate, up: the first rows
            values[:small.shape[0]] = self.wide(small)
        return values

    def embedding(self, shape):
        random = np.random.default_rng([self.seed, self.big.layers])
        table = noise(random, shape)
        table[:self.small.vocab] = np.repeat(self.source["model.embed_tokens.weight"], self.repeat, axis=1)
        return table

    def tensors(self):
        """(name, shape, function that makes it), in file order."""
        big = self.big
        queries, keys = big.heads * big.head_dim, big.kv_heads * big.head_dim
        yield "model.embed_tokens.weight", (big.vocab, big.hidden), self.embedding
        kinds = {"input_layernorm": (big.hidden,), "self_attn.q_proj": (queries, big.hidden),
                 "self_attn.k_proj": (keys, big.hidden), "self_attn.v_proj": (keys, big.hidden),
                 "self_attn.o_proj": (big.hidden, queries), "post_attention_layernorm": (big.hidden,),
                 "mlp.gate_proj": (big.ffn, big.hidden), "mlp.up_proj": (big.ffn, big.hidden),
                 "mlp.down_proj": (big.hidden, big.ffn)}
        for layer in range(big.layers):
            for kind, shape in kinds.items():
                yield (f"model.layers.{layer}.{kind}.weight", shape,
                       lambda shape, layer=layer, kind=kind: self.layer_tensor(layer, kind, shape))
        yield ("model.norm.weight", (big.hidden,),
               lambda shape: np.repeat(self.source["model.norm.weight"], self.repeat) / np.float32(self.repeat))


def write_checkpoint(path, tensors):
    tensors = list(tensors)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape, make in tensors:
            values = make(shape)
            if values.shape != shape:
                raise ValueError(f"{name}: {values.shape} instead of {shape}")
            file.write(as_bf16(values).tobytes())
    return at


def inflate(model, out, **changes):
    model, out = pathlib.Path(model), pathlib.Path(out)
    config = json.loads((model / "config.json").read_text())
    if not config.get("tie_word_embeddings"):
        sys.exit("inflate: only models with a tied head")
    small = Shape.of(config)
    big = Shape(head_dim=small.head_dim, **changes)
    out.mkdir(parents=True, exist_ok=True)
    size = write_checkpoint(out / "model.safetensors", Inflation(Checkpoint(model), small, big).tensors())
    config.update(hidden_size=big.hidden, intermediate_size=big.ffn, num_hidden_layers=big.layers,
                  num_attention_heads=big.heads, num_key_value_heads=big.kv_heads, head_dim=big.head_dim, vocab_size=big.vocab)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(model / name, out / name)
    policy = model / "exit_policy_1b.llp"  # made for the default shape; a server refuses it for any other
    if policy.exists() and (big.layers, big.hidden) == (24, 2048):
        shutil.copyfile(policy, out / "exit_policy.llp")
    return size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--model", default=pathlib.Path(__file__).resolve().parent)
    for name, default in (("layers", 24), ("hidden", 2048), ("ffn", 5632), ("heads", 32), ("kv-heads", 4), ("vocab", 32000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    size = inflate(options.model, options.out, layers=options.layers, hidden=options.hidden, ffn=options.ffn,
                   heads=options.heads, kv_heads=options.kv_heads, vocab=options.vocab)
    print(f"inflate: {options.out}: {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
