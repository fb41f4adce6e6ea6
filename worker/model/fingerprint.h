#pragma once
// The model fingerprint of exactness X7: config, tensor table, XXH3-128 of the weights, weight format,
// arithmetic. Not a security boundary (who can write the checkpoint can make collisions) and not the KV
// dtype, which the owner of a key adds. Thread: the loading thread. Invariant: the same on every rank and for
// every rank count.

#include <cstdint>
#include <string>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/model/model_config.h"
#include "worker/model/weight_file.h"

namespace leadline::worker {

struct ModelFingerprints {
  std::string full;      // of all that fixes the bits: config, tensors, formats, arithmetic
  std::string identity;  // without `formats`: which model it is, however it is packed
};

// XXH3-128 of each chunk of the checkpoint's bytes, two words a chunk, in the order of the file.
using CheckpointDigests = std::vector<std::uint64_t>;

// `known`: what this rank has reason to take for the digests, or nothing. When all ranks know the same, that
// is the answer; else the ranks share the hashing: chunk i is rank i mod ranks', and digests are
// all-gathered. rank_lost.
Result<CheckpointDigests> checkpoint_digests(const WeightFile& file, CheckpointDigests known,
                                             transport::Communicator& ranks);

// 32 hexadecimal digits each. `formats`: weight format and Backend::arithmetic_id.
ModelFingerprints model_fingerprints(const ModelConfig& config, const WeightFile& file,
                                     const std::string& formats, const CheckpointDigests& digests);
// Of config and tensor table alone: what a checkpoint looks like without its bytes.
std::string model_outline(const ModelConfig& config, const WeightFile& file);

}  // namespace leadline::worker
