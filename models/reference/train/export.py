#!/usr/bin/env python3
"""Writes a trained model as a Hugging Face directory: bf16 safetensors, configs, tokenizer with the chat template.

    export.py MODEL.pt DIRECTORY --tokenizer DATA/tokenizer.json
"""
import argparse
import json
import os
import shutil
import struct

import torch

from bpe import Tokenizer
from model import Dimensions

CHAT_TEMPLATE = ("{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
                 "{{ message['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>"
                 "assistant<|end_header_id|>\n\n{% endif %}")


def write_safetensors(path, state):
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in state.items():
        blob = tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def configs(dims, special):
    begin, eos = special["<|begin_of_text|>"], [special["<|end_of_text|>"], special["<|eot_id|>"]]
    added = {str(index): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                          "special": True} for token, index in special.items()}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": dims.hidden,
            "intermediate_size": dims.ffn, "num_hidden_layers": dims.layers, "num_attention_heads": dims.heads,
            "num_key_value_heads": dims.kv_heads, "head_dim": dims.head_dim, "vocab_size": dims.vocab,
            "max_position_embeddings": dims.positions, "rms_norm_eps": dims.eps, "rope_theta": dims.theta,
            "rope_scaling": None, "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False,
            "mlp_bias": False, "bos_token_id": begin, "eos_token_id": eos, "torch_dtype": "bfloat16"},
        "generation_config.json": {"bos_token_id": begin, "eos_token_id": eos, "do_sample": True, "temperature": 0.6,
                                   "top_p": 0.9},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
            "clean_up_tokenization_spaces": False, "model_max_length": dims.positions, "chat_template": CHAT_TEMPLATE,
            "added_tokens_decoder": added},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("directory")
    parser.add_argument("--tokenizer", required=True)
    options = parser.parse_args()
    tokenizer = Tokenizer.load(options.tokenizer)
    dims = Dimensions(vocab=tokenizer.size)
    os.makedirs(options.directory, exist_ok=True)
    write_safetensors(os.path.join(options.directory, "model.safetensors"), torch.load(options.model))
    for name, content in configs(dims, tokenizer.special).items():
        with open(os.path.join(options.directory, name), "w") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
    shutil.copy(options.tokenizer, os.path.join(options.directory, "tokenizer.json"))


if __name__ == "__main__":
    main()
