#!/usr/bin/env python3
"""models/reference/inflate.py: the grown model is the same function (exactness X10): f32 logits within 1e-4 and the same choice at
every exit, save where the two best are closer than 1e-3. Computed here with numpy, independently of the engine, at a shape that grows
every dimension (the 1 B shape differs in numbers only)."""
import importlib.util
import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "reference"
SHAPE = dict(layers=24, hidden=512, ffn=896, heads=12, kv_heads=3, vocab=4300)


def load_inflate():
    spec = importlib.util.spec_from_file_location("inflate", MODEL / "inflate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["inflate"] = module
    spec.loader.exec_module(module)
    return module


def norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    rows, _, dim = x.shape
    angles = np.arange(rows)[:, None] * theta ** (-np.arange(0, dim, 2) / dim)
    cos, sin = (np.concatenate([f(angles)] * 2, axis=1).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    return x * cos + np.concatenate([-x[..., dim // 2:], x[..., :dim // 2]], axis=-1) * sin


def logits_at_exits(weights, config, tokens):
    """(layers, rows, vocab): final norm and head on every layer's output."""
    eps, heads, kv, dim = (config[k] for k in ("rms_norm_eps", "num_attention_heads", "num_key_value_heads", "head_dim"))
    table, rows = weights["model.embed_tokens.weight"], len(tokens)
    x, out = table[tokens], []
    mask = np.triu(np.full((rows, rows), -np.inf, np.float32), 1)
    for layer in range(config["num_hidden_layers"]):
        def w(kind):
            return weights[f"model.layers.{layer}.{kind}.weight"]
        h = norm(x, w("input_layernorm"), eps)
        q = rotate((h @ w("self_attn.q_proj").T).reshape(rows, heads, dim), config["rope_theta"])
        k = rotate((h @ w("self_attn.k_proj").T).reshape(rows, kv, dim), config["rope_theta"])
        v = (h @ w("self_attn.v_proj").T).reshape(rows, kv, dim)
        mixed = []
        for head in range(heads):
            group = head // (heads // kv)
            scores = q[:, head] @ k[:, group].T / np.float32(np.sqrt(dim)) + mask
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            mixed.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, group])
        x = x + np.concatenate(mixed, axis=1) @ w("self_attn.o_proj").T
        h = norm(x, w("post_attention_layernorm"), eps)
        gate = h @ w("mlp.gate_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
        out.append(norm(x, weights["model.norm.weight"], eps) @ table.T)
    return np.stack(out)


class Inflate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        inflate = load_inflate()
        cls.tokens = np.array([4088] + [(37 * i * i + 11 * i) % 4000 for i in range(47)])
        with tempfile.TemporaryDirectory() as out:
            inflate.inflate(MODEL, out, **SHAPE)
            cls.small, cls.big = (
                logits_at_exits(inflate.Checkpoint(d), json.loads((pathlib.Path(d) / "config.json").read_text()), cls.tokens)
                for d in (MODEL, out))
        cls.vocab = cls.small.shape[2]

    def test_the_logits_are_the_same(self):
        self.assertLess(np.abs(self.big[-1][:, :self.vocab] - self.small[-1]).max(), 1e-4)

    def test_every_exit_chooses_the_same(self):
        for exit in range(12):
            small, big = self.small[exit], self.big[2 * exit + 1][:, :self.vocab]
            best = np.sort(small, axis=1)
            differs = small.argmax(axis=1) != big.argmax(axis=1)
            self.assertFalse(np.any(differs & (best[:, -1] - best[:, -2] > 1e-3)), f"exit {exit + 1}")

    def test_layers_put_between_change_nothing(self):
        for exit in range(11):
            self.assertTrue(np.array_equal(self.big[2 * exit + 1], self.big[2 * exit + 2]), f"layer {2 * exit + 3}")


if __name__ == "__main__":
    unittest.main()
