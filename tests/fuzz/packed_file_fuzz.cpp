// Headers of packed weight files: whatever the bytes are, matrices that come out lie inside the file, and a
// header that was read is written back and read the same.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "monitoring/check.h"
#include "worker/model/packed_file.h"

using namespace leadline::worker;

namespace {

void check_header(std::span<const std::byte> head, std::int64_t file_bytes) {
  const auto header = read_packed_header(head, file_bytes);
  if (!header) {
    LEADLINE_CHECK(!header.error().message.empty(), "an error says what is wrong");
    return;
  }
  auto at = static_cast<std::int64_t>(head.size());
  for (const PackedEntry& entry : header->entries) {
    LEADLINE_CHECK(entry.offset >= at && entry.bytes >= 0, "matrices are in order");
    at = entry.offset + entry.bytes;
    LEADLINE_CHECK(at <= file_bytes, "matrices lie inside the file");
    LEADLINE_CHECK(static_cast<std::int64_t>(entry.sums.size()) ==
                       (entry.bytes + kPackedChunkBytes - 1) / kPackedChunkBytes,
                   "every chunk has its checksum");
  }
  PackedHeader again = *header;
  const PackedPlaces places = place_entries(again);
  const std::string bytes = packed_header_bytes(again, places.head_bytes);
  const auto back = read_packed_header(std::as_bytes(std::span(bytes)), places.file_bytes);
  LEADLINE_CHECK(back && back->key == header->key && back->digests == header->digests &&
                     back->entries.size() == header->entries.size(),
                 "written and read the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check_header(bytes, static_cast<std::int64_t>(size));
  // A mutated text under its own right checksum: what is behind it must stand alone. The file's length is
  // what the matrices need, where that can be known.
  const std::string text(reinterpret_cast<const char*>(data) + (size > 24 ? 24 : 0),
                         size > 24 ? size - 24 : size);
  std::string head = "LLPACKED";
  for (const std::uint64_t value :
       {std::uint64_t{text.size()}, packed_checksum(std::as_bytes(std::span(text)))})
    for (int i = 0; i < 8; ++i) head += static_cast<char>(value >> (8 * i) & 0xff);
  head += text;
  const auto whole = std::as_bytes(std::span(head));
  check_header(whole, static_cast<std::int64_t>(head.size()));
  if (const auto refused = read_packed_header(whole, -1); !refused) {
    constexpr std::string_view kEnds = "the matrices end at ";
    if (const std::string& why = refused.error().message; why.starts_with(kEnds))
      check_header(whole, std::strtoll(why.c_str() + kEnds.size(), nullptr, 10));
  }
  return 0;
}
