#pragma once
// The header of a packed weight file: which checkpoint, format, packing and rank it is of, and where each
// matrix lies with the checksums of its chunks (docs/formats/packed_weights.md). Not the file (packed_cache)
// and not a backend's layout: the bytes of a matrix are opaque here. Thread: pure. Invariant: the matrices of
// a header that was read lie inside the file, aligned, in order, without overlap, and end where it ends.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "worker/backend/tensor.h"
#include "worker/errc.h"
#include "worker/model/fingerprint.h"
#include "worker/model/weight_file.h"

namespace leadline::worker {

inline constexpr std::int64_t kPackedPreamble = 24;   // magic, header's length, header's checksum
inline constexpr std::int64_t kPackedAlignment = 64;  // of matrices in the file
inline constexpr std::int64_t kMaxPackedHeader = std::int64_t{64} << 20;
inline constexpr std::size_t kMaxPackedMatrices = 100'000;

// What must be the same for a file's matrices to be this rank's weights.
struct PackedKey {
  std::string model;    // config and tensor table, hashed
  std::string weights;  // format
  std::string packing;  // what this backend makes of a probe matrix, hashed: layout and quantiser
  std::int64_t rank = 0, ranks = 1;
  std::int64_t o_slices = 1, down_slices = 1;
  friend bool operator==(const PackedKey&, const PackedKey&) = default;
};
// The first field that differs, with both values; "" when none does.
std::string difference(const PackedKey& file, const PackedKey& wanted);

struct PackedEntry {
  std::string name;
  PackedShape shape;
  std::int64_t bytes = 0, offset = 0;  // offset from the start of the file; set by place_entries and readers
  std::vector<std::uint64_t> sums;     // of chunks of kPackedChunkBytes, the last may be shorter
};

struct PackedHeader {
  PackedKey key;
  CheckpointDigests digests;      // of the checkpoint's bytes
  std::vector<FileStamp> stamps;  // of its files when they had them; empty: they had just been written
  std::vector<PackedEntry> entries;
};

struct PackedPlaces {
  std::int64_t head_bytes = 0;  // with room for longer stamps
  std::int64_t file_bytes = 0;
};
// Gives every entry its offset and, where it has none, room for its sums.
PackedPlaces place_entries(PackedHeader& header);
// The bytes before the first matrix, filled up with spaces to `least`. Checksums do not change the length.
std::string packed_header_bytes(const PackedHeader& header, std::int64_t least = 0);

// The header's length that a file's first kPackedPreamble bytes promise. malformed_file.
Result<std::int64_t> packed_header_length(std::span<const std::byte> preamble);
// `head`: preamble and header. malformed_file names field and value.
Result<PackedHeader> read_packed_header(std::span<const std::byte> head, std::int64_t file_bytes);

std::uint64_t packed_checksum(std::span<const std::byte> bytes);  // XXH3, 64 bits

}  // namespace leadline::worker
