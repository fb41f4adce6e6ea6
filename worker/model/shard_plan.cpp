#include "worker/model/shard_plan.h"

#include <algorithm>
#include <string>

namespace leadline::worker {
namespace {

// The largest of 8, 4, 2, 1 that divides `columns`: the leaves of the sum's tree, whatever the rank count (X2
// asks for 8, or 4; smaller trees serve what only tests have).
int tree_slices(std::int64_t columns) {
  for (const int slices : {8, 4, 2})
    if (columns % slices == 0) return slices;
  return 1;
}

tl::unexpected<Error> does_not_divide(const char* field, std::int64_t value, int ranks) {
  return monitoring::fail(Errc::unsupported_model, std::string(field) + " = " + std::to_string(value) +
                                                       " can not be cut over " + std::to_string(ranks) +
                                                       " ranks");
}

}  // namespace

Result<ShardPlan> ShardPlan::make(const ModelConfig& config, int rank, int ranks) {
  if (ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8)
    return monitoring::fail(Errc::configuration,
                            "ranks = " + std::to_string(ranks) + ": 1, 2, 4 or 8 are possible");
  if (config.query_heads % ranks != 0)
    return does_not_divide("num_attention_heads", config.query_heads, ranks);
  if (config.kv_heads % ranks != 0 && ranks % config.kv_heads != 0)
    return does_not_divide("num_key_value_heads", config.kv_heads, ranks);
  const int o_slices = tree_slices(std::int64_t{config.query_heads} * config.head_dim);
  const int down_slices = tree_slices(config.ffn);
  if (o_slices % ranks != 0)
    return does_not_divide("num_attention_heads * head_dim",
                           std::int64_t{config.query_heads} * config.head_dim, ranks);
  if (down_slices % ranks != 0) return does_not_divide("intermediate_size", config.ffn, ranks);

  ShardPlan plan;
  plan.rank = rank;
  plan.ranks = ranks;
  const std::int64_t queries = config.query_heads / ranks;
  plan.query_heads = {rank * queries, queries};
  const std::int64_t kv = std::max(config.kv_heads / ranks, 1);
  plan.kv_heads = {static_cast<std::int64_t>(rank) * config.kv_heads / ranks, kv};
  plan.ffn = {static_cast<std::int64_t>(rank) * (config.ffn / ranks), config.ffn / ranks};
  // Shares in whole cache lines of f32 logits, so that ranks gather equal parts of any vocabulary.
  const std::int64_t share = (config.vocab + ranks - 1) / ranks;
  plan.vocab_share = ranks == 1 ? share : (share + 15) / 16 * 16;
  const std::int64_t begin = std::min<std::int64_t>(rank * plan.vocab_share, config.vocab);
  plan.vocab = {begin, std::min<std::int64_t>(plan.vocab_share, config.vocab - begin)};
  plan.o_slices = o_slices / ranks;
  plan.down_slices = down_slices / ranks;
  return plan;
}

}  // namespace leadline::worker
