#pragma once
// Element types that tensors, pages and collectives share. Values are serialised (plans, block headers):
// never renumber.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace leadline::transport {

enum class DType : std::uint8_t { f32 = 0, bf16 = 1, f16 = 2, i8 = 3, i4 = 4, i32 = 5, u8 = 6, fp8 = 7 };

constexpr std::size_t bits_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 32;
    case DType::bf16:
    case DType::f16:
      return 16;
    case DType::i8:
    case DType::u8:
    case DType::fp8:
      return 8;
    case DType::i4:
      return 4;
  }
  return 0;
}
constexpr std::string_view name_of(DType t) {
  switch (t) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i8:
      return "int8";
    case DType::i4:
      return "int4";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
    case DType::fp8:
      return "fp8";
  }
  return "?";
}

}  // namespace leadline::transport
