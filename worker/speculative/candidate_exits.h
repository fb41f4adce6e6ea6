#pragma once
// Candidate exits: the layers where a draft may leave a model. Not a choice among them (policy/). Thread:
// any; pure.

#include <cstdint>
#include <vector>

namespace leadline::worker {

// {2, 4, 6, 8, 10, 12, 14, 16} * layers / 32, rounded, each once, within [1, layers): the shallow half, as
// the models of LayerSkip (arXiv 2404.16710) and LEDE (2606.03113) are used. Empty for a model of one layer.
std::vector<std::int32_t> default_exits(std::int32_t layers);

}  // namespace leadline::worker
