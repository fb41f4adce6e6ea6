"""The reference model in PyTorch, for training: a Llama decoder whose parameters carry the names of a Hugging Face checkpoint,
so that exporting is writing the state dict. The oracle of tests (tests/golden/oracle.py) is a separate implementation."""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class Dimensions:
    hidden: int = 256
    layers: int = 12
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 640
    vocab: int = 4096
    positions: int = 4096
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.hidden // self.heads


class Norm(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dims.hidden))
        self.eps = dims.eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.dims, self.watched, self.probabilities = dims, False, None
        self.q_proj = nn.Linear(dims.hidden, dims.heads * dims.head_dim, bias=False)
        self.k_proj = nn.Linear(dims.hidden, dims.kv_heads * dims.head_dim, bias=False)
        self.v_proj = nn.Linear(dims.hidden, dims.kv_heads * dims.head_dim, bias=False)
        self.o_proj = nn.Linear(dims.heads * dims.head_dim, dims.hidden, bias=False)

    def forward(self, x, rotation):
        rows, length, _ = x.shape
        dims = self.dims

        def heads(y, count):
            return y.view(rows, length, count, dims.head_dim).transpose(1, 2)

        def rotate(y):
            re, im = y.float().chunk(2, -1)
            cos, sin = rotation[0][:length], rotation[1][:length]
            return torch.cat([re * cos - im * sin, im * cos + re * sin], -1).to(y.dtype)

        group = dims.heads // dims.kv_heads
        q = rotate(heads(self.q_proj(x), dims.heads))
        k = rotate(heads(self.k_proj(x), dims.kv_heads)).repeat_interleave(group, 1)
        v = heads(self.v_proj(x), dims.kv_heads).repeat_interleave(group, 1)
        if hasattr(F, "scaled_dot_product_attention") and not self.watched:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-1, -2) / math.sqrt(dims.head_dim)
            future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            probabilities = scores.masked_fill(future, -math.inf).softmax(-1)
            self.probabilities = probabilities if self.watched else None  # (rows, heads, length, length)
            mixed = probabilities @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


class FeedForward(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.gate_proj = nn.Linear(dims.hidden, dims.ffn, bias=False)
        self.up_proj = nn.Linear(dims.hidden, dims.ffn, bias=False)
        self.down_proj = nn.Linear(dims.ffn, dims.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.input_layernorm, self.self_attn = Norm(dims), Attention(dims)
        self.post_attention_layernorm, self.mlp = Norm(dims), FeedForward(dims)

    def forward(self, x, rotation):
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.dims = dims
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(dims.vocab, dims.hidden)
        self.model.layers = nn.ModuleList(Layer(dims) for _ in range(dims.layers))
        self.model.norm = Norm(dims)
        inverse = dims.theta ** (-torch.arange(0, dims.head_dim, 2).double() / dims.head_dim)
        angles = torch.outer(torch.arange(dims.positions).double(), inverse).float()
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def head(self, x):
        return self.model.norm(x) @ self.model.embed_tokens.weight.T

    def states(self, tokens, keep=None):
        """Yields the hidden states after each layer, (rows, length, hidden). keep: per layer whether it runs."""
        x = self.model.embed_tokens(tokens)
        for index, layer in enumerate(self.model.layers):
            if keep is None or keep[index]:
                x = layer(x, (self.cos, self.sin))
            yield x
