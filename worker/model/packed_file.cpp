#include "worker/model/packed_file.h"

#if defined(__x86_64__) && !defined(XXH_INLINE_ALL) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // AVX2 and AVX-512 where the host has them
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "monitoring/check.h"
#include "worker/model/json_fields.h"

namespace leadline::worker {
namespace {

using nlohmann::json;

constexpr char kMagic[9] = "LLPACKED";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kMost = std::int64_t{1} << 50;  // bytes of a file, elements of a side
constexpr std::size_t kMaxText = 256, kMaxDigests = 1'000'000, kMaxStamps = 10'000;
constexpr std::size_t kSumDigits = 16;
constexpr std::int64_t kStampRoom = 16384;  // bytes of a header for stamps put there later

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, what);
}

std::int64_t aligned(std::int64_t at) {
  return (at + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment;
}

std::size_t chunks_of(std::int64_t bytes) {
  return static_cast<std::size_t>((bytes + kPackedChunkBytes - 1) / kPackedChunkBytes);
}

void put_64(std::string& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t get_64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
  return value;
}

std::string sums_text(const std::vector<std::uint64_t>& sums) {
  std::string text;
  text.reserve(sums.size() * kSumDigits);
  for (const std::uint64_t sum : sums) {
    char digits[kSumDigits + 1];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, sum);
    text += digits;
  }
  return text;
}

bool read_sums(const std::string& text, std::size_t count, std::vector<std::uint64_t>& sums) {
  if (text.size() != count * kSumDigits) return false;
  for (std::size_t i = 0; i < text.size(); i += kSumDigits) {
    std::uint64_t sum = 0;
    for (std::size_t d = i; d < i + kSumDigits; ++d) {
      const std::size_t digit = std::string_view("0123456789abcdef").find(text[d]);
      if (digit == std::string_view::npos) return false;
      sum = sum << 4 | digit;
    }
    sums.push_back(sum);
  }
  return true;
}

json to_json(const PackedHeader& header) {
  const PackedKey& k = header.key;
  json out = {{"version", kVersion},
              {"model", k.model},
              {"weights", k.weights},
              {"packing", k.packing},
              {"rank", k.rank},
              {"ranks", k.ranks},
              {"o_slices", k.o_slices},
              {"down_slices", k.down_slices},
              {"digests", sums_text(header.digests)}};
  json& stamps = out["files"] = json::array();
  for (const FileStamp& s : header.stamps)
    stamps.push_back({{"name", s.name},
                      {"bytes", s.bytes},
                      {"modified_ns", s.modified_ns},
                      {"changed_ns", s.changed_ns},
                      {"inode", s.inode}});
  json& entries = out["matrices"] = json::array();
  for (const PackedEntry& e : header.entries)
    entries.push_back({{"name", e.name},
                       {"out_features", e.shape.out_features},
                       {"in_features", e.shape.in_features},
                       {"format", transport::name_of(e.shape.format)},
                       {"slices", e.shape.slices},
                       {"bytes", e.bytes},
                       {"sums", sums_text(e.sums)}});
  return out;
}

class HeaderReader {
 public:
  explicit HeaderReader(const json& object) : fields_(object, "header") {}

  Result<PackedHeader> read() {
    PackedHeader header;
    const std::int64_t version = fields_.integer("version", 0, kMost);
    if (!fields_.error() && version != kVersion)
      return malformed("version " + std::to_string(version) + ", this program reads " +
                       std::to_string(kVersion));
    PackedKey& key = header.key;
    key.model = short_text(fields_, "model");
    key.weights = short_text(fields_, "weights");
    key.packing = short_text(fields_, "packing");
    key.ranks = fields_.integer("ranks", 1, 1 << 20);
    key.rank = fields_.integer("rank", 0, key.ranks - 1);
    key.o_slices = fields_.integer("o_slices", 1, 1 << 20);
    key.down_slices = fields_.integer("down_slices", 1, 1 << 20);
    const std::string digests = fields_.text("digests");
    if (digests.size() / kSumDigits > kMaxDigests ||
        !read_sums(digests, digests.size() / kSumDigits, header.digests))
      fields_.refuse("digests", "not a list of words", Errc::malformed_file);
    read_list("files", kMaxStamps, [&](const json& item, const std::string& name) {
      FieldReader stamp(item, name);
      header.stamps.push_back({short_text(stamp, "name"), stamp.integer("bytes", 0, kMost),
                               stamp.integer("modified_ns", INT64_MIN, INT64_MAX),
                               stamp.integer("changed_ns", INT64_MIN, INT64_MAX),
                               stamp.integer("inode", INT64_MIN, INT64_MAX)});
      return stamp.error();
    });
    read_list("matrices", kMaxPackedMatrices, [&](const json& item, const std::string& name) {
      return read_entry(item, name, header.entries.emplace_back());
    });
    if (error_) return tl::unexpected(*error_);
    if (fields_.error()) return tl::unexpected(*fields_.error());
    return header;
  }

 private:
  static std::string short_text(FieldReader& fields, const char* field) {
    std::string text = fields.text(field);
    if (text.size() > kMaxText) fields.refuse(field, "too long", Errc::malformed_file);
    return text;
  }

  static std::optional<Error> read_entry(const json& item, const std::string& name, PackedEntry& entry) {
    FieldReader fields(item, name);
    entry.name = fields.text("name");
    if (entry.name.size() > kMaxTensorName) fields.refuse("name", "too long", Errc::malformed_file);
    entry.shape.out_features = fields.integer("out_features", 0, kMost);
    entry.shape.in_features = fields.integer("in_features", 0, kMost);
    entry.shape.slices = static_cast<int>(fields.integer("slices", 1, 1 << 20));
    entry.bytes = fields.integer("bytes", 0, kMost);
    const std::string format = fields.text("format");
    bool known = false;
    for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::i8, DType::i4}) {
      if (format != transport::name_of(type)) continue;
      entry.shape.format = type;
      known = true;
    }
    if (!known) fields.refuse("format", "unknown", Errc::malformed_file);
    if (!fields.error() && !read_sums(fields.text("sums"), chunks_of(entry.bytes), entry.sums))
      fields.refuse("sums", "not a checksum for each chunk", Errc::malformed_file);
    return fields.error();
  }

  template <typename Read>
  void read_list(const char* field, std::size_t most, const Read& read) {
    const json& list = fields_.raw(field);
    if (!list.is_array() || list.size() > most)
      return fields_.refuse(field, "not a list of at most " + std::to_string(most), Errc::malformed_file);
    for (std::size_t i = 0; i < list.size() && !error_; ++i) {
      const std::string name = std::string(field) + "[" + std::to_string(i) + "]";
      if (list[i].is_object())
        error_ = read(list[i], name);
      else
        error_ = Error{Errc::malformed_file, name + ": not an object"};
    }
  }

  FieldReader fields_;
  std::optional<Error> error_;
};

// Offsets follow from the lengths; false when they leave the range of a file.
bool place(std::vector<PackedEntry>& entries, std::int64_t begin, std::int64_t& end) {
  end = aligned(begin);
  for (PackedEntry& entry : entries) {
    entry.offset = end;
    if (entry.bytes > kMost - end) return false;
    end = aligned(end + entry.bytes);
  }
  return true;
}

}  // namespace

std::string difference(const PackedKey& file, const PackedKey& wanted) {
  const auto text = [](const char* field, const std::string& a, const std::string& b) {
    return std::string(field) + " is " + a + ", wanted " + b;
  };
  if (file.model != wanted.model) return text("model", file.model, wanted.model);
  if (file.weights != wanted.weights) return text("weights", file.weights, wanted.weights);
  if (file.packing != wanted.packing) return text("packing", file.packing, wanted.packing);
  const auto numbers = [](const PackedKey& k) {
    return std::to_string(k.rank) + " of " + std::to_string(k.ranks) + ", slices " +
           std::to_string(k.o_slices) + " and " + std::to_string(k.down_slices);
  };
  return file == wanted ? std::string() : text("rank", numbers(file), numbers(wanted));
}

PackedPlaces place_entries(PackedHeader& header) {
  for (PackedEntry& entry : header.entries) entry.sums.resize(chunks_of(entry.bytes));
  PackedPlaces places;
  places.head_bytes = static_cast<std::int64_t>(packed_header_bytes(header).size()) + kStampRoom;
  LEADLINE_CHECK(place(header.entries, places.head_bytes, places.file_bytes),
                 "packed weights beyond the format's limit");
  return places;
}

std::string packed_header_bytes(const PackedHeader& header, std::int64_t least) {
  std::string text = to_json(header).dump(-1, ' ', true, json::error_handler_t::replace);
  const std::int64_t filled = least - kPackedPreamble;
  if (filled > static_cast<std::int64_t>(text.size())) text.resize(static_cast<std::size_t>(filled), ' ');
  std::string out(kMagic, 8);
  put_64(out, text.size());
  put_64(out, packed_checksum(std::as_bytes(std::span(text))));
  out += text;
  return out;
}

Result<std::int64_t> packed_header_length(std::span<const std::byte> preamble) {
  if (preamble.size() < static_cast<std::size_t>(kPackedPreamble))
    return malformed("shorter than its preamble");
  if (std::memcmp(preamble.data(), kMagic, 8) != 0) return malformed("not a packed weight file");
  const std::uint64_t length = get_64(preamble.subspan(8));
  if (length > static_cast<std::uint64_t>(kMaxPackedHeader))
    return malformed("header length " + std::to_string(length) + " is beyond the limit of " +
                     std::to_string(kMaxPackedHeader));
  return static_cast<std::int64_t>(length);
}

Result<PackedHeader> read_packed_header(std::span<const std::byte> head, std::int64_t file_bytes) {
  const auto length = packed_header_length(head);
  if (!length) return tl::unexpected(length.error());
  if (static_cast<std::int64_t>(head.size()) != kPackedPreamble + *length)
    return malformed("header length " + std::to_string(*length) + " is beyond the file");
  const auto body = head.subspan(static_cast<std::size_t>(kPackedPreamble));
  if (get_64(head.subspan(16)) != packed_checksum(body)) return malformed("header: checksum");
  const auto object = parse_json_object({reinterpret_cast<const char*>(body.data()), body.size()}, "header");
  if (!object) return tl::unexpected(object.error());
  auto header = HeaderReader(*object).read();
  if (!header) return header;
  std::int64_t end = 0;
  if (!place(header->entries, static_cast<std::int64_t>(head.size()), end) || end != file_bytes)
    return malformed("the matrices end at " + std::to_string(end) + ", the file at " +
                     std::to_string(file_bytes));
  return header;
}

std::uint64_t packed_checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace leadline::worker
