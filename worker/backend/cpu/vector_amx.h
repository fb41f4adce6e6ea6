#pragma once
// AVX-512-VNNI lanes, and the set-up of AMX tiles; products on tiles: tiled_linear_impl.h. Included by
// kernels_amx*.cpp only; unnamed namespace on purpose (vector_scalar.h).

#include "worker/backend/cpu/cpu_kernels.h"
#include "worker/backend/cpu/vector_avx512.h"

namespace leadline::worker::cpu {
namespace {

#define LEADLINE_VECTOR static inline __attribute__((always_inline))

struct Amx : Avx512Vnni {
  static constexpr int kIntRows = 16;
  static constexpr bool kTiles = true;

  struct Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
  struct Configs {
    Config of[kTileRows + 1] = {};
  };
  // Eight tiles of 64 bytes a row: 0 to 3 sums and 4, 5 activations of `rows` rows, 6 and 7 weights of 16.
  static constexpr Configs configs() {
    Configs c;
    for (int rows = 0; rows <= kTileRows; ++rows) {
      for (int tile = 0; tile < 8; ++tile) {
        c.of[rows].row_bytes[tile] = 64;
        c.of[rows].rows[tile] = uint8_t(tile < 6 && rows > 0 ? rows : kTileRows);
      }
    }
    return c;
  }
  // 1 <= rows <= 16. Fewer rows than a group's may be set apart or not: what is read past a row group is
  // ignored.
  LEADLINE_VECTOR void begin_tiles(int rows) {
    // Static: GCC 12's intrinsic names eight bytes of it only, so a local one's other stores could be left
    // out.
    static constexpr Configs all = configs();
    _tile_loadconfig(&all.of[rows]);
  }
  LEADLINE_VECTOR void end_tiles() { _tile_release(); }
};

#undef LEADLINE_VECTOR

}  // namespace
}  // namespace leadline::worker::cpu
