#include "kvstore/codec/rans.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "monitoring/error.h"

namespace leadline::kvstore {
namespace {

constexpr std::uint32_t kLowState = 1U << 16;
constexpr std::uint8_t kEnd = 255;

using Frequencies = std::array<std::uint16_t, 256>;

std::uint64_t total_of(const std::array<std::uint32_t, 256>& counts) {
  std::uint64_t total = 0;
  for (std::uint32_t c : counts) total += c;
  return total;
}

// Counts scaled to a sum of kRansTotal, at least 1 where a symbol occurs. What rounding leaves over or lacks
// goes to (or comes from) the largest.
Frequencies normalized(const std::array<std::uint32_t, 256>& counts) {
  const std::uint64_t total = total_of(counts);
  Frequencies f{};
  std::int64_t left = kRansTotal;
  for (std::size_t s = 0; s < 256; ++s) {
    if (counts[s] == 0) continue;
    f[s] = static_cast<std::uint16_t>(
        std::max<std::uint64_t>(1, (std::uint64_t{counts[s]} * kRansTotal + total / 2) / total));
    left -= f[s];
  }
  while (left != 0) {
    auto largest = std::max_element(f.begin(), f.end());
    const std::int64_t change = std::max<std::int64_t>(left, 1 - std::int64_t{*largest} / 2 - 1);
    *largest = static_cast<std::uint16_t>(*largest + change);
    left -= change;
  }
  return f;
}

std::size_t table_bytes(const std::array<std::uint32_t, 256>& counts) {
  std::size_t low = 256, high = 0, bytes = 0;
  for (std::size_t s = 0; s < 256; ++s) {
    if (counts[s] == 0) continue;
    bytes += s > high + 1 && low != 256 ? 4 : 2;  // a gap is two bytes
    low = std::min(low, s);
    high = s;
  }
  return low == 256 ? 0 : 3 + bytes;
}

void put_table(std::uint8_t context, const Frequencies& f, std::vector<std::byte>& out) {
  std::size_t low = 0, high = 255;
  while (f[low] == 0) ++low;
  while (f[high] == 0) --high;
  out.push_back(std::byte{context});
  out.push_back(static_cast<std::byte>(low));
  out.push_back(static_cast<std::byte>(high - low));
  for (std::size_t s = low; s <= high; ++s) {
    if (f[s] == 0) {
      std::size_t run = 1;
      while (f[s + run] == 0) ++run;
      out.push_back(std::byte{0});
      out.push_back(static_cast<std::byte>(run));
      s += run - 1;
      continue;
    }
    if (f[s] >= 128) out.push_back(static_cast<std::byte>(128 | (f[s] & 127)));
    out.push_back(static_cast<std::byte>(f[s] >= 128 ? f[s] >> 7 : f[s]));
  }
}

tl::unexpected<Error> bad(const char* what) {
  return monitoring::fail(Errc::malformed, std::string("rans: ") + what);
}

}  // namespace

std::size_t rans_estimate(const RansCounts& counts) {
  double bits = 0;
  std::size_t tables = 0;
  for (const auto& context : counts) {
    const auto total = static_cast<double>(total_of(context));
    if (total == 0) continue;
    tables += table_bytes(context);
    for (std::uint32_t c : context)
      if (c != 0) bits += c * std::log2(total / c);
  }
  return tables + 1 + 8 + static_cast<std::size_t>(bits / 8) + 1;
}

std::vector<std::byte> rans_encode(std::span<const std::uint8_t> symbols,
                                   std::span<const std::uint8_t> contexts, const RansCounts& counts) {
  std::vector<std::byte> out;
  std::array<Frequencies, kRansContexts> frequency{};
  std::array<std::array<std::uint16_t, 256>, kRansContexts> start{};
  for (std::size_t c = 0; c < kRansContexts; ++c) {
    if (total_of(counts[c]) == 0) continue;
    frequency[c] = normalized(counts[c]);
    std::uint16_t at = 0;
    for (std::size_t s = 0; s < 256; ++s)
      start[c][s] = at, at = static_cast<std::uint16_t>(at + frequency[c][s]);
    put_table(static_cast<std::uint8_t>(c), frequency[c], out);
  }
  out.push_back(std::byte{kEnd});
  std::uint32_t states[2] = {kLowState, kLowState};
  std::vector<std::uint16_t> words;
  words.reserve(symbols.size() / 2);
  for (std::size_t i = symbols.size(); i-- > 0;) {
    const std::uint32_t f = frequency[contexts[i]][symbols[i]], begin = start[contexts[i]][symbols[i]];
    std::uint32_t& x = states[i & 1];
    if (x >= std::uint64_t{f} << (32 - kRansBits)) {
      words.push_back(static_cast<std::uint16_t>(x));
      x >>= 16;
    }
    x = ((x / f) << kRansBits) + x % f + begin;
  }
  const std::size_t at = out.size();
  out.resize(at + 8 + words.size() * 2);
  std::memcpy(out.data() + at, states, 8);
  std::reverse(words.begin(), words.end());
  if (!words.empty()) std::memcpy(out.data() + at + 8, words.data(), words.size() * 2);
  return out;
}

Result<RansDecoder> RansDecoder::open(std::span<const std::byte> bytes) {
  RansDecoder decoder;
  std::size_t at = 0;
  const auto byte = [&]() -> std::uint32_t {
    return at < bytes.size() ? static_cast<std::uint32_t>(bytes[at++]) : (++at, 0U);
  };
  for (;;) {
    const std::uint32_t context = byte();
    if (at > bytes.size()) return bad("tables are cut off");
    if (context == kEnd) break;
    if (context >= kRansContexts || decoder.tables_[context])
      return bad("a context is unknown or named twice");
    auto table = std::make_unique_for_overwrite<Table>();
    table->frequency.fill(0);
    table->start.fill(0);
    const std::uint32_t low = byte(), span = byte() + 1;
    if (low + span > 256) return bad("symbols beyond 255");
    std::uint32_t sum = 0;
    for (std::uint32_t s = low; s < low + span; ++s) {
      std::uint32_t f = byte();
      if (f >= 128) f = (f & 127) | byte() << 7;
      if (f == 0) {  // a run of symbols that do not occur
        const std::uint32_t run = byte();
        if (run == 0 || run >= low + span - s) return bad("a gap that is empty or too long");
        s += run - 1;
        continue;
      }
      if (at > bytes.size() || sum + f > kRansTotal) return bad("frequencies do not add up");
      table->frequency[s] = static_cast<std::uint16_t>(f);
      table->start[s] = static_cast<std::uint16_t>(sum);
      std::fill_n(table->symbol.begin() + sum, f, static_cast<std::uint8_t>(s));
      sum += f;
    }
    if (sum != kRansTotal) return bad("frequencies do not add up");
    decoder.tables_[context] = std::move(table);
  }
  if (bytes.size() - at < 8 || (bytes.size() - at) % 2 != 0) return bad("states or words are cut off");
  std::memcpy(decoder.states_, bytes.data() + at, 8);
  if (decoder.states_[0] < kLow || decoder.states_[1] < kLow) return bad("a state is too small");
  decoder.at_ = bytes.data() + at + 8;
  decoder.end_ = bytes.data() + bytes.size();
  return decoder;
}

}  // namespace leadline::kvstore
