#!/usr/bin/env python3
"""A random model of the 1.1 B Llama shape (as `leadline bench engine --shape 1b`): an F16 GGUF file for runs of a peer, or a
Hugging Face checkpoint in bf16 with the reference model's tokenizer for runs of the server.

Needs numpy, and for the former the gguf package of llama.cpp's source (SOURCE/gguf-py). Speeds do not depend on the values.

    tests/bench/peer_model.py --source /path/to/llama.cpp out.gguf
    tests/bench/peer_model.py --checkpoint DIR
"""
import argparse
import json
import os
import shutil
import sys

import numpy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "models/reference"))
LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 22, 2048, 5632, 32, 4, 64, 32000


def write_checkpoint(directory):
    import inflate
    os.makedirs(directory, exist_ok=True)
    random = numpy.random.default_rng(1)

    def matrix(shape):  # cut to what bf16 holds
        bits = (random.standard_normal(shape, dtype=numpy.float32) * 0.02).view(numpy.uint32) & 0xffff0000
        return bits.view(numpy.float32)

    def ones(shape):
        return numpy.ones(shape, dtype=numpy.float32)

    tensors = [("model.embed_tokens.weight", (VOCAB, HIDDEN), matrix), ("lm_head.weight", (VOCAB, HIDDEN), matrix),
               ("model.norm.weight", (HIDDEN,), ones)]
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        tensors += [(f"{at}{norm}.weight", (HIDDEN,), ones) for norm in ("input_layernorm", "post_attention_layernorm")]
        tensors += [(f"{at}{name}.weight", shape, matrix) for name, shape in (
            ("self_attn.q_proj", (HEADS * HEAD_DIM, HIDDEN)), ("self_attn.k_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
            ("self_attn.v_proj", (KV_HEADS * HEAD_DIM, HIDDEN)), ("self_attn.o_proj", (HIDDEN, HEADS * HEAD_DIM)),
            ("mlp.gate_proj", (FFN, HIDDEN)), ("mlp.up_proj", (FFN, HIDDEN)), ("mlp.down_proj", (HIDDEN, FFN)))]
    inflate.write_checkpoint(os.path.join(directory, "model.safetensors"), tensors)
    reference = os.path.join(ROOT, "models/reference")
    with open(os.path.join(reference, "config.json")) as file:
        config = json.load(file)
    config.update(num_hidden_layers=LAYERS, hidden_size=HIDDEN, intermediate_size=FFN, num_attention_heads=HEADS,
                  num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, vocab_size=VOCAB, tie_word_embeddings=False,
                  max_position_embeddings=32768)
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(reference, name), os.path.join(directory, name))


def tokens(gguf):
    """A vocabulary that decodes anything: specials, the bytes, then words."""
    texts = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    texts += [f"\u2581w{i}" for i in range(VOCAB - len(texts))]
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
    kinds += [gguf.TokenType.NORMAL] * (VOCAB - len(kinds))
    return texts, [float(-i) for i in range(VOCAB)], kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="llama.cpp's source directory")
    parser.add_argument("--checkpoint", metavar="DIR", help="write a Hugging Face checkpoint there instead")
    parser.add_argument("out", nargs="?")
    options = parser.parse_args()
    if options.checkpoint:
        return write_checkpoint(options.checkpoint)
    if not options.source or not options.out:
        parser.error("--source and a file, or --checkpoint")
    sys.path.insert(0, os.path.join(options.source, "gguf-py"))
    import gguf
    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_name("random-1b")
    writer.add_context_length(32768)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    texts, scores, kinds = tokens(gguf)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    random = numpy.random.default_rng(1)

    def matrix(name, rows, columns):
        values = random.standard_normal((rows, columns), dtype=numpy.float32) * 0.02
        writer.add_tensor(name, values.astype(numpy.float16))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    matrix("output.weight", VOCAB, HIDDEN)
    writer.add_tensor("output_norm.weight", numpy.ones(HIDDEN, dtype=numpy.float32))
    for i in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{norm}.weight", numpy.ones(HIDDEN, dtype=numpy.float32))
        for name, rows, columns in (("attn_q", HEADS * HEAD_DIM, HIDDEN), ("attn_k", KV_HEADS * HEAD_DIM, HIDDEN),
                                    ("attn_v", KV_HEADS * HEAD_DIM, HIDDEN), ("attn_output", HIDDEN, HIDDEN),
                                    ("ffn_gate", FFN, HIDDEN), ("ffn_up", FFN, HIDDEN), ("ffn_down", HIDDEN, FFN)):
            matrix(f"blk.{i}.{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
