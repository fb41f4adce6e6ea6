#pragma once
// UnitFormat: where the numbers of one KV unit (16 slots of K and V of one layer and one KV head) lie in its
// bytes. The caller (worker/kvcache/block_mover) knows the backend's layout; codecs know only this. Not a
// tensor and not a backend. Values; any thread.
// Invariant (valid()): both planes lie within unit_bytes and do not leave the limits; bytes outside them are
// padding.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace leadline::kvstore {

// Elements that codecs understand; numbers as transport::DType's.
enum class Element : std::uint8_t { f32 = 0, bf16 = 1, f16 = 2 };
constexpr std::size_t element_bytes(Element e) {
  return e == Element::f32 ? 4 : 2;
}

// Element (slot, dim) is at offset + (slot * slot_stride + dim * dim_stride) elements.
struct UnitPlane {
  std::uint64_t offset = 0;  // bytes
  std::uint32_t slot_stride = 0, dim_stride = 0;
  friend bool operator==(const UnitPlane&, const UnitPlane&) = default;
};

struct UnitFormat {
  static constexpr std::uint32_t kMaxSlots = 256, kMaxHeadDim = 4096;
  Element element = Element::bf16;
  std::uint32_t slots = 16, head_dim = 0;
  std::uint64_t unit_bytes = 0;
  UnitPlane k, v;
  friend bool operator==(const UnitFormat&, const UnitFormat&) = default;

  [[nodiscard]] constexpr std::size_t values() const { return std::size_t{slots} * head_dim; }  // of a plane
  [[nodiscard]] constexpr bool holds(const UnitPlane& p) const {
    const std::uint64_t last =
        std::uint64_t{slots - 1} * p.slot_stride + std::uint64_t{head_dim - 1} * p.dim_stride;
    const std::uint64_t size = element_bytes(element);
    return p.offset % size == 0 && p.offset <= unit_bytes && (last + 1) * size <= unit_bytes - p.offset;
  }
  [[nodiscard]] constexpr bool valid() const {
    return slots >= 1 && slots <= kMaxSlots && head_dim >= 1 && head_dim <= kMaxHeadDim &&
           unit_bytes <= (std::uint64_t{1} << 28) && holds(k) && holds(v);
  }
};

// Keys transposed (head_dim, slots), then values (slots, padded_dim): the CPU backend's units.
constexpr UnitFormat transposed_keys_format(Element element, std::uint32_t slots, std::uint32_t head_dim,
                                            std::uint32_t padded_dim, std::uint64_t v_offset,
                                            std::uint64_t unit_bytes) {
  return {element, slots, head_dim, unit_bytes, {0, 1, slots}, {v_offset, padded_dim, 1}};
}

}  // namespace leadline::kvstore
