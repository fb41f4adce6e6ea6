// codec_bench: what each codec makes of real KV: bytes per token, bits per value, and GB/s of raw pages in
// and out on one thread, beside memcpy and zstd alone in the same run. KV comes from the engine: a checkpoint
// runs over a text that it is given, pages of the chosen dtype are read back. Usage: codec_bench
// MODEL_DIRECTORY TEXT_FILE [f32|bf16|f16] [PAGES] Prints a Markdown table (docs/kv_store.md has one) and,
// last, how far sealing moves the values.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"
#include "kvstore/codec/block_codec.h"
#include "kvstore/codec/element_values.h"
#include "kvstore/codec/entropy.h"
#include "tests/support/model_replica.h"
#include "worker/kvcache/unit_codec.h"

namespace {

using namespace leadline;
using kvstore::Codec;
using Bytes = std::vector<std::byte>;

double best_seconds(const std::function<void()>& pass) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto began = std::chrono::steady_clock::now();
    pass();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return best;
}

struct Kv {
  kvstore::UnitFormat format;
  std::size_t layers = 0;
  std::vector<Bytes> blocks;  // a page of one head, all layers
  std::size_t tokens = 0;
};

struct Row {
  std::string name;
  double bytes = 0, encode_s = 0, decode_s = 0;
};

Row measure(const Kv& kv, Codec codec, bool entropy) {
  std::vector<Bytes> encoded(kv.blocks.size()), decoded(kv.blocks.size());
  for (std::size_t i = 0; i < decoded.size(); ++i) decoded[i].resize(kv.blocks[i].size());
  Row row;
  row.encode_s = best_seconds([&] {
    for (std::size_t i = 0; i < kv.blocks.size(); ++i)
      encoded[i] = kvstore::encode_units(codec, kv.format, kv.layers, kv.blocks[i], entropy);
  });
  row.decode_s = best_seconds([&] {
    for (std::size_t i = 0; i < kv.blocks.size(); ++i)
      if (!kvstore::decode_units(codec, kv.format, kv.layers, encoded[i], decoded[i])) std::abort();
  });
  if (decoded != kv.blocks) std::abort();
  for (const Bytes& e : encoded) row.bytes += static_cast<double>(e.size());
  return row;
}

Row measure_zstd(const Kv& kv, int level) {
  std::vector<Bytes> encoded(kv.blocks.size());
  Bytes decoded(kv.blocks[0].size());
  Row row{"zstd " + std::to_string(level) + " alone"};
  row.encode_s = best_seconds([&] {
    for (std::size_t i = 0; i < kv.blocks.size(); ++i) encoded[i] = kvstore::zstd_pack(kv.blocks[i], level);
  });
  row.decode_s = best_seconds([&] {
    for (std::size_t i = 0; i < kv.blocks.size(); ++i)
      if (!kvstore::zstd_unpack(encoded[i], decoded)) std::abort();
  });
  for (const Bytes& e : encoded) row.bytes += static_cast<double>(e.size());
  return row;
}

Row measure_copy(const Kv& kv) {
  std::vector<Bytes> copies = kv.blocks;
  Row row{"memcpy"};
  row.encode_s = row.decode_s = best_seconds([&] {
    for (std::size_t i = 0; i < kv.blocks.size(); ++i)
      std::memcpy(copies[i].data(), kv.blocks[i].data(), copies[i].size());
  });
  for (const Bytes& block : kv.blocks) row.bytes += static_cast<double>(block.size());
  return row;
}

void print(const Kv& kv, const Row& row, double raw_bytes) {
  const double values = static_cast<double>(kv.tokens * kv.layers * kv.format.head_dim * 2) *
                        static_cast<double>(kv.blocks.size() * kv.format.slots) /
                        static_cast<double>(kv.tokens);
  std::printf("| %s | %.0f | %.2f | %.3f | %.2f | %.2f |\n", row.name.c_str(),
              row.bytes / static_cast<double>(kv.tokens), row.bytes * 8 / values, row.bytes / raw_bytes,
              raw_bytes / row.encode_s / 1e9, raw_bytes / row.decode_s / 1e9);
}

Kv sealed(const Kv& kv, Codec codec) {
  Kv out = kv;
  for (Bytes& block : out.blocks) kvstore::seal_units(codec, kv.format, kv.layers, block);
  return out;
}

// Root of mean squared error over root of mean square, keys and values.
void print_error(const Kv& before, const Kv& after, const char* name) {
  double error[2] = {}, square[2] = {};
  std::vector<std::uint32_t> a(before.format.values()), b(a.size());
  for (std::size_t i = 0; i < before.blocks.size(); ++i)
    for (std::size_t u = 0; u < before.layers; ++u)
      for (int p = 0; p < 2; ++p) {
        const auto& plane = p ? before.format.v : before.format.k;
        gather_plane(before.format, plane, before.blocks[i].data() + u * before.format.unit_bytes, a.data());
        gather_plane(before.format, plane, after.blocks[i].data() + u * before.format.unit_bytes, b.data());
        for (std::size_t j = 0; j < a.size(); ++j) {
          const double x = element_value(before.format.element, a[j]);
          const double y = element_value(before.format.element, b[j]);
          error[p] += (x - y) * (x - y);
          square[p] += x * x;
        }
      }
  std::printf("%s: relative error of keys %.4f, of values %.4f\n", name, std::sqrt(error[0] / square[0]),
              std::sqrt(error[1] / square[1]));
}

bool read_kv(int argc, char** argv, Kv& kv) {
  const std::string directory = argv[1];
  std::ifstream in(argv[2], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  auto tokenizer = coordinator::Tokenizer::load(directory);
  if (!tokenizer) return false;
  const auto ids = (*tokenizer)->encode(text, true);
  if (!ids) return false;
  const std::string dtype = argc > 3 ? argv[3] : "bf16";
  tests::ReplicaOptions options;
  options.model_directory = directory;
  options.kv_dtype = dtype == "f32"   ? worker::DType::f32
                     : dtype == "f16" ? worker::DType::f16
                                      : worker::DType::bf16;
  auto replica = tests::ModelReplica::start(options);
  if (!replica) return false;
  const std::size_t wanted = argc > 4 ? std::stoul(argv[4]) * 16 : 2048;
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < std::min(ids->size(), wanted); ++i)
    tokens.push_back(static_cast<std::int32_t>((*ids)[i]));
  (*replica)->run(0, tokens, 64, false);
  const auto codec = worker::UnitCodec::of((*replica)->pool(), Codec::none);
  if (!codec) return false;
  kv.format = *codec->format();
  kv.layers = static_cast<std::size_t>((*replica)->config().layers);
  const auto heads = static_cast<std::size_t>((*replica)->config().kv_heads);
  for (std::size_t page = 0; page < tokens.size() / 16; ++page) {
    const Bytes units = (*replica)->read_page(0, page);  // (layers, heads)
    for (std::size_t head = 0; head < heads; ++head) {
      Bytes block(kv.layers * kv.format.unit_bytes);
      for (std::size_t layer = 0; layer < kv.layers; ++layer)
        std::memcpy(block.data() + layer * kv.format.unit_bytes,
                    units.data() + (layer * heads + head) * kv.format.unit_bytes, kv.format.unit_bytes);
      kv.blocks.push_back(std::move(block));
    }
  }
  kv.tokens = tokens.size() / 16 * 16;
  return !kv.blocks.empty();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: codec_bench MODEL_DIRECTORY TEXT_FILE [f32|bf16|f16] [PAGES]\n");
    return 2;
  }
  Kv kv;
  if (!read_kv(argc, argv, kv)) {
    std::fprintf(stderr, "codec_bench: cannot run %s over %s\n", argv[1], argv[2]);
    return 1;
  }
  const Row copy = measure_copy(kv);
  std::printf("%zu tokens, %zu layers, head_dim %u, %zu blocks of %zu bytes\n\n", kv.tokens, kv.layers,
              kv.format.head_dim, kv.blocks.size(), kv.blocks[0].size());
  std::printf(
      "| codec | bytes per token | bits per value | of the pages | encode GB/s | decode GB/s |\n"
      "| --- | --- | --- | --- | --- | --- |\n");
  print(kv, copy, copy.bytes);
  print(kv, measure_zstd(kv, 1), copy.bytes);
  Row row = measure(kv, Codec::lossless, true);
  row.name = "lossless";
  print(kv, row, copy.bytes);
  for (Codec codec : {Codec::int8, Codec::int4}) {
    const Kv quantised = sealed(kv, codec);
    for (bool entropy : {false, true}) {
      row = measure(quantised, codec, entropy);
      row.name = std::string(kvstore::kCodecNames[static_cast<int>(codec)]) + (entropy ? " + entropy" : "");
      print(kv, row, copy.bytes);
    }
  }
  std::printf("\n");
  for (Codec codec : {Codec::int8, Codec::int4})
    print_error(kv, sealed(kv, codec), kvstore::kCodecNames[static_cast<int>(codec)].data());
  return 0;
}
