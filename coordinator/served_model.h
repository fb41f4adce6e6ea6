#pragma once
// ServedModel: what the coordinator must know of the checkpoint that its workers serve: names, lengths,
// sampling defaults. Not the weights and not the engine's config (worker/model/model_config): three numbers
// of config.json are enough here. Thread: immutable after load.

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/errc.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

// What generation_config.json sets for a request that does not say; neutral values where it is silent.
struct SamplingDefaults {
  float temperature = 1.0F;
  float top_p = 1.0F;
  std::int32_t top_k = 0;
  float min_p = 0.0F;
  float repetition_penalty = 1.0F;
};

struct ServedModel {
  std::vector<std::string> names;   // the first is shown; all are accepted
  std::uint32_t max_model_len = 0;  // tokens, prompt and answer
  std::uint32_t vocab_size = 0;     // of the model; ids at or above it are refused
  std::vector<transport::TokenId> eos_ids;
  SamplingDefaults defaults;
  std::int64_t created_unix_s = 0;

  bool serves(const std::string& name) const;
};

// Reads config.json and generation_config.json (optional) in `directory`. max_model_len 0 = the checkpoint's
// own. malformed_file, configuration (a max_model_len beyond the checkpoint's), io.
Result<ServedModel> load_served_model(const std::string& directory, std::vector<std::string> names,
                                      std::uint32_t max_model_len);

}  // namespace leadline::coordinator
