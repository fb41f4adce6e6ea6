// config.json and generation_config.json (behind a zero byte): what is accepted has dimensions that the
// engine can compute.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "monitoring/check.h"
#include "worker/model/model_config.h"
#include "worker/model/shard_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(text.find('\0'), text.size());
  const auto generation = cut < text.size() ? text.substr(cut + 1) : std::string_view();
  const auto config = leadline::worker::ModelConfig::parse(text.substr(0, cut), generation);
  if (!config) {
    LEADLINE_CHECK(!config.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  LEADLINE_CHECK(config->query_heads % config->kv_heads == 0 && config->head_dim % 2 == 0, "heads divide");
  LEADLINE_CHECK(config->layer_windowed.empty() ||
                     config->layer_windowed.size() == static_cast<std::size_t>(config->layers),
                 "one entry per layer");
  for (const std::int32_t id : config->eos_ids)
    LEADLINE_CHECK(id >= 0 && id < config->vocab, "eos ids are tokens");
  for (const int ranks : {1, 2, 4, 8})
    for (int rank = 0; rank < ranks; ++rank) {
      const auto plan = leadline::worker::ShardPlan::make(*config, rank, ranks);
      LEADLINE_CHECK(!plan || plan->vocab.end() <= config->vocab, "a rank's rows lie inside the vocabulary");
    }
  return 0;
}
