"""The oracle of logits: the decoder of the Llama family in PyTorch, written from the papers and from the definition of the
checkpoint format, not from the engine and not using transformers. Slow and plain: whole sequences, no cache, float64.

    model = Oracle("DIR")                 # reads config.json and *.safetensors
    model.logits([1, 5, 7])               # (tokens, vocab)
    model.greedy([1, 5, 7], 64)           # 64 token ids
"""
import json
import math
import os
import struct

import torch

FILE_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone()
        tensors[name] = flat.view(FILE_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def read_checkpoint(directory):
    index = os.path.join(directory, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index) as file:
            files = sorted(set(json.load(file)["weight_map"].values()))
    tensors = {}
    for name in files:
        tensors.update(read_safetensors(os.path.join(directory, name)))
    return tensors


def rope_settings(config):
    """(theta, scaling object or None) of either way of writing it."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = scaling.get("rope_theta", config.get("rope_theta", 10000.0))
    return theta, scaling, scaling.get("rope_type", scaling.get("type", "default"))


def inverse_frequencies(config, head_dim):
    theta, scaling, kind = rope_settings(config)
    inverse = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    if kind == "linear":
        return inverse / scaling["factor"]
    if kind != "llama3":
        return inverse
    context, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = context * inverse / (2 * math.pi)  # how often a wave fits into the original context
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return keep * inverse + (1 - keep) * inverse / factor


def windowed_layers(config):
    """Per layer the window, or 0."""
    layers, window = config["num_hidden_layers"], config.get("sliding_window")
    family = config["model_type"]
    if family == "llama" or not window or (family != "mistral" and not config.get("use_sliding_window")):
        return [0] * layers
    if "layer_types" in config:
        return [window if kind == "sliding_attention" else 0 for kind in config["layer_types"]]
    first = 0 if family == "mistral" else config.get("max_window_layers", 28)
    return [window if layer >= first else 0 for layer in range(layers)]


class Oracle:
    def __init__(self, directory, dtype=torch.float64, round_kv=None):
        """round_kv: keys and values go through this type, as they do in a page of it."""
        with open(os.path.join(directory, "config.json")) as file:
            self.config = json.load(file)
        self.w = {name: tensor.to(dtype) for name, tensor in read_checkpoint(directory).items()}
        self.dtype, self.round_kv = dtype, round_kv
        c = self.config
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads", self.heads)
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.inverse = inverse_frequencies(c, self.head_dim)
        self.windows = windowed_layers(c)

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        bias = self.w.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        mean_square = x.pow(2).mean(-1, keepdim=True)
        return x / torch.sqrt(mean_square + self.config.get("rms_norm_eps", 1e-6)) * self.w[name + ".weight"]

    def rotate(self, x, positions):
        """x (tokens, heads, head_dim); halves are the real and imaginary parts."""
        angle = (positions.to(torch.float64)[:, None] * self.inverse)[:, None, :]
        cos, sin = angle.cos().to(self.dtype), angle.sin().to(self.dtype)
        re, im = x.chunk(2, -1)
        return torch.cat([re * cos - im * sin, im * cos + re * sin], -1)

    def split_heads(self, x, count, norm=None):
        x = x.view(len(x), count, self.head_dim)
        return self.norm(x, norm) if norm is not None and norm + ".weight" in self.w else x

    def attention(self, x, layer, past):
        at = f"model.layers.{layer}.self_attn."
        before = 0 if past is None else past[0].shape[0]
        positions = torch.arange(before, before + len(x))
        q = self.rotate(self.split_heads(self.linear(x, at + "q_proj"), self.heads, at + "q_norm"), positions)
        k = self.rotate(self.split_heads(self.linear(x, at + "k_proj"), self.kv_heads, at + "k_norm"), positions)
        v = self.split_heads(self.linear(x, at + "v_proj"), self.kv_heads)
        if self.round_kv is not None:
            k, v = k.to(self.round_kv).to(self.dtype), v.to(self.round_kv).to(self.dtype)
        if past is not None:
            k, v = torch.cat([past[0], k]), torch.cat([past[1], v])
        seen = torch.arange(len(k))[None, :] <= positions[:, None]
        if self.windows[layer]:
            seen &= torch.arange(len(k))[None, :] > positions[:, None] - self.windows[layer]
        group = self.heads // self.kv_heads
        outputs = []
        for head in range(self.heads):
            scores = q[:, head] @ k[:, head // group].T / math.sqrt(self.head_dim)
            outputs.append(scores.masked_fill(~seen, -math.inf).softmax(-1) @ v[:, head // group])
        return self.linear(torch.cat(outputs, -1), at + "o_proj"), (k, v)

    def hidden(self, tokens, past=None):
        """(hidden states after the last layer, keys and values per layer)."""
        x = self.w["model.embed_tokens.weight"][torch.tensor(tokens)]
        kept = []
        for layer in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            attended, kv = self.attention(self.norm(x, at + "input_layernorm"), layer, past and past[layer])
            kept.append(kv)
            x = x + attended
            h = self.norm(x, at + "post_attention_layernorm")
            gate = self.linear(h, at + "mlp.gate_proj")
            x = x + self.linear(gate * torch.sigmoid(gate) * self.linear(h, at + "mlp.up_proj"), at + "mlp.down_proj")
        return x, kept

    def head(self, x):
        name = "model.embed_tokens" if self.config.get("tie_word_embeddings") else "lm_head"
        return self.norm(x, "model.norm") @ self.w[name + ".weight"].T

    @torch.no_grad()
    def logits(self, tokens):
        return self.head(self.hidden(tokens)[0])

    @torch.no_grad()
    def greedy(self, tokens, count, eos=()):
        """Up to `count` tokens; ends with the first of `eos`."""
        x, past = self.hidden(tokens)
        made = []
        while True:
            made.append(int(self.head(x[-1:])[0].argmax()))
            if len(made) == count or made[-1] in eos:
                return made
            x, past = self.hidden(made[-1:], past)
