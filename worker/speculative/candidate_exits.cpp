#include "worker/speculative/candidate_exits.h"

namespace leadline::worker {

std::vector<std::int32_t> default_exits(std::int32_t layers) {
  std::vector<std::int32_t> exits;
  for (std::int32_t thirtyseconds = 2; thirtyseconds <= 16; thirtyseconds += 2) {
    const std::int32_t exit = (thirtyseconds * layers + 16) / 32;
    if (exit >= 1 && exit < layers && (exits.empty() || exit > exits.back())) exits.push_back(exit);
  }
  return exits;
}

}  // namespace leadline::worker
