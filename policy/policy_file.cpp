#include "policy/policy_file.h"

#include <algorithm>
#include <cstdio>

#include "monitoring/fnv1a.h"
#include "policy/byte_file.h"

namespace leadline::policy {
namespace {

constexpr std::uint64_t kMagic = 0x5943494C4F504C4CULL;  // "LLPOLICY"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kTextLimit = 1 << 16, kIdentityLimit = 256;

std::uint64_t checksum(std::span<const std::byte> bytes) {
  monitoring::Fnv1a hash;
  for (const std::byte b : bytes) hash.add(std::to_integer<std::uint64_t>(b));
  return hash.value();
}

std::string hex(std::uint64_t value) {
  char text[17];
  (void)std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, "policy file: " + what);
}

void read_model(ByteReader& in, LearnedModel& model) {
  model.kind = static_cast<LearnedKind>(in.get<std::uint32_t>());
  model.layers = in.get<std::int32_t>();
  model.max_draft = in.get<std::int32_t>();
  const auto count = [&](std::size_t limit) {  // a count of elements; beyond the limit nothing is read
    const std::size_t n = in.get<std::uint32_t>();
    return n <= limit ? n : SIZE_MAX;
  };
  model.exits = in.get_vector<std::int32_t>(count(kMaxExits));
  model.mean = in.get_vector<float>(count(Mlp::kMaxWidth));
  model.scale = in.get_vector<float>(count(Mlp::kMaxWidth));
  model.net.sizes = in.get_vector<std::uint32_t>(count(Mlp::kMaxLayers));
  model.net.weights = in.get_vector<float>(count(kPolicyFileLimit / sizeof(float)));
}

}  // namespace

std::vector<std::byte> policy_to_bytes(const PolicyFile& file) {
  ByteWriter out;
  out.put(kMagic);
  out.put(kVersion);
  out.put(feature_schema_hash());
  out.put_text(file.model_identity);
  out.put_text(file.provenance);
  const LearnedModel& model = file.model;
  out.put(static_cast<std::uint32_t>(model.kind));
  out.put(model.layers);
  out.put(model.max_draft);
  const auto put_counted = [&](const auto& values) {
    out.put(static_cast<std::uint32_t>(values.size()));
    out.put_all(std::span(values));
  };
  put_counted(model.exits);
  put_counted(model.mean);
  put_counted(model.scale);
  put_counted(model.net.sizes);
  put_counted(model.net.weights);
  out.put(checksum(out.bytes()));
  return {out.bytes().begin(), out.bytes().end()};
}

Result<PolicyFile> policy_from_bytes(std::span<const std::byte> bytes) {
  if (bytes.size() > kPolicyFileLimit)
    return monitoring::fail(Errc::too_large, "policy file: " + std::to_string(bytes.size()) +
                                                 " bytes, the limit is " + std::to_string(kPolicyFileLimit));
  ByteReader in(bytes);
  if (in.get<std::uint64_t>() != kMagic) return malformed("magic: not a policy file");
  if (const auto version = in.get<std::uint32_t>(); version != kVersion)
    return malformed("version " + std::to_string(version) + ", this program reads " +
                     std::to_string(kVersion));
  if (bytes.size() < in.offset() + sizeof(std::uint64_t)) return malformed("truncated");
  const auto body = bytes.first(bytes.size() - sizeof(std::uint64_t));
  if (ByteReader(bytes.last(sizeof(std::uint64_t))).get<std::uint64_t>() != checksum(body))
    return malformed("checksum: the file is damaged or truncated");
  if (const auto schema = in.get<std::uint64_t>(); schema != feature_schema_hash())
    return monitoring::fail(Errc::schema_mismatch, "policy file: feature schema " + hex(schema) +
                                                       ", this program has " + hex(feature_schema_hash()) +
                                                       ": train it again");
  PolicyFile file;
  file.model_identity = in.get_text(kIdentityLimit);
  file.provenance = in.get_text(kTextLimit);
  read_model(in, file.model);
  if (!in.ok()) return malformed("a length passes the end, at byte " + std::to_string(in.offset()));
  if (in.offset() != body.size())
    return malformed("bytes after the end, at byte " + std::to_string(in.offset()));
  if (!file.model.valid()) return malformed("network, scaling or exits do not fit together");
  return file;
}

Result<PolicyFile> load_policy(const std::string& path) {
  const auto bytes = read_file(path, kPolicyFileLimit);
  if (!bytes) return tl::unexpected(bytes.error());
  return policy_from_bytes(*bytes);
}

Result<void> save_policy(const PolicyFile& file, const std::string& path) {
  if (!file.model.valid())
    return monitoring::fail(Errc::configuration, "policy file: the model is not whole");
  return write_file(path, policy_to_bytes(file));
}

Result<void> check_model(const PolicyFile& file, const ServedModel& served) {
  if (file.model_identity != served.identity)
    return monitoring::fail(Errc::model_mismatch, "policy file: made for model " + file.model_identity +
                                                      ", this server has " + served.identity);
  if (file.model.layers != served.layers)
    return monitoring::fail(Errc::model_mismatch,
                            "policy file: made for " + std::to_string(file.model.layers) +
                                " layers, this model has " + std::to_string(served.layers));
  return {};
}

}  // namespace leadline::policy
