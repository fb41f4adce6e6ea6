// Stand-in for libFuzzer where there is only g++: runs every file of the corpus directory, then N mutations
// of them (bit flips, cuts, splices, extreme integers), from a fixed seed so that a failure repeats. A crash
// or a sanitizer report is the finding. Usage: x_fuzz CORPUS_DIR [N]; N also from LEADLINE_FUZZ_RUNS, default
// 20000.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t kMaxInput = 1U << 16;

std::vector<Bytes> read_corpus(const char* directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

void mutate_once(Bytes& bytes, const std::vector<Bytes>& corpus, std::mt19937& rng) {
  const auto at = [&](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(rng() % n); };
  const auto offset = [&](std::size_t n) { return bytes.begin() + static_cast<std::ptrdiff_t>(n); };
  switch (rng() % 7) {
    case 0:
      if (!bytes.empty()) bytes[at(bytes.size())] ^= static_cast<std::uint8_t>(1U << (rng() % 8));
      break;
    case 1:
      if (!bytes.empty()) bytes[at(bytes.size())] = static_cast<std::uint8_t>(rng());
      break;
    case 2:  // cut the end
      bytes.resize(at(bytes.size() + 1));
      break;
    case 3:  // insert
      bytes.insert(offset(at(bytes.size() + 1)), 1 + at(8), static_cast<std::uint8_t>(rng()));
      break;
    case 4: {  // a piece out
      const std::size_t from = at(bytes.size()), n = std::min(bytes.size() - from, at(16));
      bytes.erase(offset(from), offset(from + n));
      break;
    }
    case 5: {  // an extreme little-endian integer
      constexpr std::uint64_t kExtremes[] = {0,          1,          0x7F,     0xFF,
                                             0x7FFFFFFF, 0xFFFFFFFF, 0x100000, ~std::uint64_t{0}};
      const std::uint64_t value = kExtremes[at(std::size(kExtremes))];
      const std::size_t from = at(bytes.size()), width = std::size_t{1} << at(4);
      for (std::size_t i = 0; i < width && from + i < bytes.size(); ++i)
        bytes[from + i] = static_cast<std::uint8_t>(value >> (8 * i));
      break;
    }
    default: {  // a piece of another input
      const Bytes& other = corpus[at(corpus.size())];
      const std::size_t from = at(other.size()), n = std::min(other.size() - from, at(64));
      bytes.insert(offset(at(bytes.size() + 1)), other.begin() + static_cast<std::ptrdiff_t>(from),
                   other.begin() + static_cast<std::ptrdiff_t>(from + n));
    }
  }
  if (bytes.size() > kMaxInput) bytes.resize(kMaxInput);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CORPUS_DIR [N]\n", argv[0]);
    return 2;
  }
  const char* runs_text = argc > 2 ? argv[2] : std::getenv("LEADLINE_FUZZ_RUNS");
  const long runs = runs_text != nullptr ? std::atol(runs_text) : 20000;
  const std::vector<Bytes> corpus = read_corpus(argv[1]);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s has no files\n", argv[1]);
    return 2;
  }
  for (const Bytes& seed : corpus) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  std::mt19937 rng(20240917);
  for (long i = 0; i < runs; ++i) {
    Bytes input = corpus[static_cast<std::size_t>(rng() % corpus.size())];
    for (std::uint32_t n = 1 + rng() % 6; n > 0; --n) mutate_once(input, corpus, rng);
    // A copy of exact size, so that a sanitizer sees a read past the end.
    const Bytes exact(input.begin(), input.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%zu seeds and %ld mutations, no finding\n", corpus.size(), runs);
  return 0;
}
