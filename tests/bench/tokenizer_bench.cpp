// tokenizer_bench: encoding and decoding rates of a checkpoint's tokenizer, one thread, best of five passes,
// with the token count and a hash of the ids so that two builds can be compared. The reference library's rate
// on the same text is printed by tests/integration/tokenizer_real_vocab_test.py --bench. Usage:
// tokenizer_bench MODEL_DIRECTORY [TEXT_FILE]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"

using leadline::coordinator::TokenId;
using leadline::coordinator::Tokenizer;

namespace {

constexpr std::size_t kRequestBytes = 4000;
constexpr int kPasses = 5;

double best_seconds(const std::function<void()>& pass) {
  double best = 1e9;
  for (int i = 0; i < kPasses; ++i) {
    const auto began = std::chrono::steady_clock::now();
    pass();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  }
  return best;
}

// Text of the kind that reaches a server, without a file: words, code, numbers, several scripts.
std::string made_text() {
  std::string text;
  unsigned state = 1;
  static const char* const kWords[] = {
      "the",    "depth",      "of",       "a",      "layer", "token",    "for (int i = 0; i < n; ++i) {\n",
      "naïve",  "123",        "4,567.89", "Привет", "你好",  "server's", "\n\n",
      "didn't", "HTTPServer", "->"};
  while (text.size() < 2'000'000) {
    state = state * 1664525 + 1013904223;
    text += kWords[(state >> 16) % std::size(kWords)];
    text += ' ';
  }
  return text;
}

std::vector<std::string_view> requests(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    std::size_t bytes = std::min(kRequestBytes, text.size());
    while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) ++bytes;
    out.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return out;
}

void report(const char* what, std::size_t bytes, double seconds) {
  std::printf("%-34s %8.1f MB/s  %9.2f ms\n", what, static_cast<double>(bytes) / seconds / 1e6,
              seconds * 1e3);
}

void bench_hostile(const Tokenizer& tokenizer) {
  for (const char* unit : {"a", " ", "\n", "ab1 ", "\xCC\x81"}) {
    std::string text;
    while (text.size() < (1U << 20)) text += unit;
    const std::string shown = *unit == '\n' ? "\\n" : *unit == '\xCC' ? "U+0301" : unit;
    const std::string label = "1 MiB of '" + shown + "'";
    report(label.c_str(), text.size(), best_seconds([&] { (void)tokenizer.encode(text, false); }));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL_DIRECTORY [TEXT_FILE]\n");
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  auto loaded = Tokenizer::load(argv[1]);
  if (!loaded) {
    std::fprintf(stderr, "%s\n", loaded.error().message.c_str());
    return 1;
  }
  const Tokenizer& tokenizer = **loaded;
  std::printf("load %.0f ms, %zu ids\n",
              std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count(),
              tokenizer.vocab_size());
  std::string text = made_text();
  if (argc > 2) {
    std::ifstream in(argv[2], std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  std::size_t tokens = 0;
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a over the ids
  std::vector<TokenId> all;
  const auto parts = requests(text);
  const double encode_s = best_seconds([&] {
    all.clear();
    for (const std::string_view part : parts) {
      const auto ids = tokenizer.encode(part, false);
      if (ids) all.insert(all.end(), ids->begin(), ids->end());
    }
  });
  tokens = all.size();
  for (const TokenId id : all) hash = (hash ^ static_cast<std::uint32_t>(id)) * 1099511628211U;
  report("encode, requests of 4,000 bytes", text.size(), encode_s);
  report("encode, one request", text.size(), best_seconds([&] { (void)tokenizer.encode(text, false); }));
  report("decode", text.size(), best_seconds([&] { (void)tokenizer.decode(all, true); }));
  std::string streamed;
  report("append_bytes", text.size(), best_seconds([&] {
           streamed.clear();
           for (const TokenId id : all) tokenizer.append_bytes(id, true, streamed);
         }));
  bench_hostile(tokenizer);
  std::printf("%zu tokens, hash %016llx\n", tokens, static_cast<unsigned long long>(hash));
  return 0;
}
