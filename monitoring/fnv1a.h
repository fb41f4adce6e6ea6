#pragma once
// Fnv1a: the 64-bit FNV-1a hash (Fowler, Noll, Vo) of small things: schemas, vocabularies, digests, seeds.
// Not a defence against anyone, and not a key: blocks and models are named by kvstore's and XXH3's.
// Thread: values. Invariant: results stand in files (policies, task weights); they never change.

#include <cstdint>
#include <string_view>

namespace leadline::monitoring {

class Fnv1a {
 public:
  // One round: a byte where the hash is FNV's own; whole words where it only has to tell apart.
  constexpr Fnv1a& add(std::uint64_t word) {
    value_ = (value_ ^ word) * 0x100000001b3ULL;
    return *this;
  }
  constexpr Fnv1a& add(std::string_view bytes) {
    for (const char c : bytes) add(std::uint64_t{static_cast<unsigned char>(c)});
    return *this;
  }
  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace leadline::monitoring
