#pragma once
// The model fingerprint of exactness X7: config, tensor table, XXH3-128 of the weights, weight format,
// arithmetic. Not a security boundary (who can write the checkpoint can make collisions) and not the KV
// dtype, which the owner of a key adds. Thread: the loading thread. Invariant: the same on every rank and for
// every rank count.

#include <string>

#include "transport/collective/communicator.h"
#include "worker/model/model_config.h"
#include "worker/model/weight_file.h"

namespace leadline::worker {

struct ModelFingerprints {
  std::string full;      // of all that fixes the bits: config, tensors, formats, arithmetic
  std::string identity;  // without `formats`: which model it is, however it is packed
};

// 32 hexadecimal digits each. The ranks share the hashing: chunk i of the weights is rank i mod ranks', and
// digests are all-gathered. `formats`: weight format and Backend::arithmetic_id. rank_lost.
Result<ModelFingerprints> model_fingerprint(const ModelConfig& config, const WeightFile& file,
                                            const std::string& formats, transport::Communicator& ranks);

}  // namespace leadline::worker
