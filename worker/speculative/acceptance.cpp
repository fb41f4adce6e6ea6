#include "worker/speculative/acceptance.h"

namespace leadline::worker {

std::size_t settle_round(std::span<const std::int32_t> inputs,
                         const std::function<OwnToken(std::size_t row)>& own) {
  std::size_t standing = 0;
  while (standing < inputs.size()) {
    const OwnToken token = own(standing);
    ++standing;
    if (token.last || standing == inputs.size() || inputs[standing] != token.token) break;
  }
  return standing;
}

}  // namespace leadline::worker
