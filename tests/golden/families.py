"""Small random checkpoints of every family that the engine loads, made without torch or numpy from a seed, so that only the
goldens need to be committed. The numbers are uniform, scaled so that attention, norms, windows and biases all matter.

    for family in FAMILIES: write_checkpoint(family, directory)
"""
import json
import os
import random
import struct
from dataclasses import dataclass, field

VOCAB = 163  # odd: the ranks' shares of the head differ
LAYERS = 3
ROPE_LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 24}
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


@dataclass(frozen=True)
class Family:
    name: str
    dtype: str  # of the tensors
    config: dict  # what differs from COMMON; a value of `...` leaves the field out
    shards: int = 1
    generation: dict = field(default_factory=dict)


COMMON = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
          "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}


def _v4(model_type, architecture, dtype, **more):
    return {"model_type": model_type, "architectures": [architecture], "torch_dtype": dtype, "rope_theta": 10000.0,
            "rope_scaling": None, **more}


def _v5(model_type, architecture, dtype, rope=None, theta=10000.0, **more):
    return {"model_type": model_type, "architectures": [architecture], "dtype": dtype,
            "rope_parameters": {"rope_theta": theta, "rope_type": "default", **(rope or {})}, **more}


FAMILIES = [
    Family("llama2_mha", "float16",
           _v4("llama", "LlamaForCausalLM", "float16", num_key_value_heads=..., rope_theta=..., pretraining_tp=1,
               rms_norm_eps=1e-5)),
    Family("llama3_scaled", "bfloat16",
           _v4("llama", "LlamaForCausalLM", "bfloat16", rope_theta=500000.0, rope_scaling={"rope_type": "llama3", **ROPE_LLAMA3},
               attention_bias=False, mlp_bias=False), shards=3, generation={"eos_token_id": [2, 5]}),
    Family("llama3_v5_tied", "float32",
           _v5("llama", "LlamaForCausalLM", "float32", {"rope_type": "llama3", **ROPE_LLAMA3}, 500000.0,
               tie_word_embeddings=True, head_dim=16)),
    Family("llama_biases_linear", "float32",
           _v4("llama", "LlamaForCausalLM", "float32", attention_bias=True, mlp_bias=True,
               rope_scaling={"type": "linear", "factor": 2.0})),
    Family("mistral_window", "float32",
           _v4("mistral", "MistralForCausalLM", "float32", sliding_window=7), shards=2),
    Family("mistral_full_v5", "bfloat16",
           _v5("mistral", "MistralForCausalLM", "bfloat16", theta=1000000.0, sliding_window=None, head_dim=24)),
    Family("qwen2_tied", "bfloat16",
           _v4("qwen2", "Qwen2ForCausalLM", "bfloat16", use_sliding_window=False, sliding_window=8, max_window_layers=1,
               tie_word_embeddings=True, rope_theta=1000000.0)),
    Family("qwen2_window", "float32",
           _v4("qwen2", "Qwen2ForCausalLM", "float32", use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    Family("qwen3", "bfloat16",
           _v4("qwen3", "Qwen3ForCausalLM", "bfloat16", head_dim=32, attention_bias=False, use_sliding_window=False,
               sliding_window=None, max_window_layers=3, tie_word_embeddings=True)),
    Family("qwen3_layer_types_v5", "float32",
           _v5("qwen3", "Qwen3ForCausalLM", "float32", head_dim=32, num_key_value_heads=1, attention_bias=False,
               use_sliding_window=True, sliding_window=9, max_window_layers=0,
               layer_types=["sliding_attention", "full_attention", "sliding_attention"]), shards=2,
           generation={"eos_token_id": 3}),
]


def config_of(family):
    merged = {**COMMON, **family.config}
    return {name: value for name, value in merged.items() if value is not ...}


def tensor_shapes(config):
    """name -> (shape, half width of the uniform numbers, centre), in a fixed order."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or (128 if config["model_type"] == "qwen3" else hidden // heads)
    q, kv = heads * head_dim, config.get("num_key_value_heads", heads) * head_dim
    qwen2 = config["model_type"] == "qwen2"
    shapes = {"model.embed_tokens.weight": ((config["vocab_size"], hidden), 1.0, 0.0)}

    def linear(name, rows, columns, bias):
        shapes[name + ".weight"] = ((rows, columns), 2.4 / columns ** 0.5, 0.0)
        if bias:
            shapes[name + ".bias"] = ((rows,), 0.3, 0.0)

    def norm(name, size):
        shapes[name + ".weight"] = ((size,), 0.4, 1.0)

    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
        norm(at + "input_layernorm", hidden)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            linear(f"{at}self_attn.{name}_proj", rows, hidden, bias or qwen2)
        linear(at + "self_attn.o_proj", hidden, q, bias)
        if config["model_type"] == "qwen3":
            norm(at + "self_attn.q_norm", head_dim)
            norm(at + "self_attn.k_norm", head_dim)
        norm(at + "post_attention_layernorm", hidden)
        linear(at + "mlp.gate_proj", ffn, hidden, mlp_bias)
        linear(at + "mlp.up_proj", ffn, hidden, mlp_bias)
        linear(at + "mlp.down_proj", hidden, ffn, mlp_bias)
    norm("model.norm", hidden)
    if not config["tie_word_embeddings"]:
        linear("lm_head", config["vocab_size"], hidden, False)
    return shapes


def pack_numbers(numbers, dtype):
    if dtype == "float32":
        return struct.pack(f"<{len(numbers)}f", *numbers)
    if dtype == "float16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    words = struct.unpack(f"<{len(numbers)}I", struct.pack(f"<{len(numbers)}f", *numbers))
    return struct.pack(f"<{len(numbers)}H", *(word >> 16 for word in words))  # bfloat16, cut: any number will do


def write_safetensors(path, tensors, dtype):
    """tensors: name -> (shape, bytes)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            file.write(data)


def make_tensors(family, seed):
    source = random.Random(f"{family.name} {seed}")
    tensors = {}
    for name, (shape, half, centre) in tensor_shapes(config_of(family)).items():
        count = 1
        for size in shape:
            count *= size
        numbers = [centre + half * (2 * source.random() - 1) for _ in range(count)]
        tensors[name] = (shape, pack_numbers(numbers, family.dtype))
    return tensors


def write_checkpoint(family, directory, seed=0):
    os.makedirs(directory, exist_ok=True)

    def dump(name, value):
        with open(os.path.join(directory, name), "w") as file:
            json.dump(value, file, indent=2)

    dump("config.json", config_of(family))
    if family.generation:
        dump("generation_config.json", family.generation)
    tensors = make_tensors(family, seed)
    if family.shards == 1:
        write_safetensors(os.path.join(directory, "model.safetensors"), tensors, family.dtype)
        return
    names, weight_map = list(tensors), {}
    for shard in range(family.shards):
        file_name = f"model-{shard + 1:05}-of-{family.shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::family.shards]}
        weight_map.update(dict.fromkeys(part, file_name))
        write_safetensors(os.path.join(directory, file_name), part, family.dtype)
    dump("model.safetensors.index.json", {"metadata": {"total_size": sum(len(d) for _, d in tensors.values())},
                                          "weight_map": weight_map})


def prompt_of(family, tokens=45, seed=0):
    """Longer than every window and than the original context of the llama3 scaling."""
    source = random.Random(f"prompt {family.name} {seed}")
    return [source.randrange(VOCAB) for _ in range(tokens)]
