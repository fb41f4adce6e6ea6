#pragma once
// PolicyFile: a learned policy on disk: schema hash, model it is for, network, provenance, checksum
// (docs/formats/policy_file.md). Not training, and not the swap (worker/runtime/policy_slot). Outside bytes:
// every length is checked before it is believed. Thread: any.

#include <span>
#include <string>
#include <vector>

#include "policy/errc.h"
#include "policy/learned_policy.h"

namespace leadline::policy {

struct PolicyFile {
  std::string model_identity;  // of the weights that it was trained on; see matches()
  std::string provenance;      // for people: what made it, from what, with which result
  LearnedModel model;
};

inline constexpr std::size_t kPolicyFileLimit = std::size_t{4} << 20;

[[nodiscard]] std::vector<std::byte> policy_to_bytes(const PolicyFile& file);
// malformed_file (what and where), schema_mismatch, too_large.
[[nodiscard]] Result<PolicyFile> policy_from_bytes(std::span<const std::byte> bytes);
[[nodiscard]] Result<PolicyFile> load_policy(const std::string& path);
[[nodiscard]] Result<void> save_policy(const PolicyFile& file, const std::string& path);

// What a server asks before it serves with it: model_mismatch with both values, if the identity, the layers
// or the candidate exits (each must be one of the model's own layers) are another model's.
struct ServedModel {
  std::string identity;
  std::int32_t layers = 0;
};
[[nodiscard]] Result<void> check_model(const PolicyFile& file, const ServedModel& served);

}  // namespace leadline::policy
