// KV blocks: any bytes. Laws: nothing but a whole block parses, and what parses is what seal() makes of its
// own header and payload, byte for byte. A checksum stops most mutations, so the header is read without one,
// too.
#include <algorithm>
#include <cstdint>
#include <span>

#include "kvstore/block.h"
#include "monitoring/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leadline::kvstore;
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)parse_block_header(bytes, size);
  auto block = Block::parse(bytes);
  if (!block) return 0;
  BlockDraft draft((*block)->header(), (*block)->payload().size());
  std::ranges::copy((*block)->payload(), draft.payload().begin());
  const BlockPtr again = std::move(draft).seal();
  LEADLINE_CHECK(std::ranges::equal(again->bytes(), bytes), "what parses seals to the same bytes");
  return 0;
}
