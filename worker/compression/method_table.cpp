// The table of methods: a row per method, each defined in methods/NAME.cpp. A row's number is
// CompressionParams::method, so rows are only ever appended.

#include <array>

#include "worker/compression/compression_policy.h"

#define LEADLINE_COMPRESSION_METHODS(ROW) \
  ROW(full)                               \
  ROW(random)                             \
  ROW(streaming)                          \
  ROW(h2o)                                \
  ROW(snapkv)                             \
  ROW(pyramidkv)                          \
  ROW(keydiff)                            \
  ROW(semanticache)                       \
  ROW(windowkv)                           \
  ROW(knorm)

namespace leadline::worker {

#define LEADLINE_DECLARE(name) extern const CompressionMethod kMethod_##name;
LEADLINE_COMPRESSION_METHODS(LEADLINE_DECLARE)

std::span<const CompressionMethod> compression_methods() {
#define LEADLINE_ROW(name) kMethod_##name,
  static const auto table = std::to_array<CompressionMethod>({LEADLINE_COMPRESSION_METHODS(LEADLINE_ROW)});
  return table;
}

}  // namespace leadline::worker
