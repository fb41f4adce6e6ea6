#include "worker/runtime/task_weights.h"

#include <cmath>
#include <cstring>

#include "monitoring/fnv1a.h"
#include "worker/model/json_fields.h"
#include "worker/model/safetensors_header.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kLargestFile = 64LL << 20;
const std::string kName = "window_task.safetensors";

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, kName + ": " + what);
}

// The bytes of one tensor, or nothing if its type or shape is another.
std::span<const std::byte> tensor(std::span<const std::byte> file, std::span<const TensorEntry> entries,
                                  const std::string& name, const std::string& dtype,
                                  const std::vector<std::int64_t>& shape) {
  for (const TensorEntry& entry : entries)
    if (entry.name == name && entry.dtype_name == dtype && entry.shape == shape)
      return file.subspan(static_cast<std::size_t>(entry.begin),
                          static_cast<std::size_t>(entry.end - entry.begin));
  return {};
}

std::uint64_t little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

}  // namespace

std::uint64_t vocabulary_hash(std::span<const std::string> tokens) {
  monitoring::Fnv1a hash;
  for (const std::string& token : tokens) hash.add(token).add(0);
  return hash.value();
}

Result<TaskClassifier> task_weights_of(std::span<const std::byte> file, std::span<const std::string> tokens) {
  auto entries = read_safetensors_header(file, kName);
  if (!entries) return tl::unexpected(entries.error());
  const auto vocab = static_cast<std::int64_t>(tokens.size());
  const auto parts = static_cast<std::int64_t>(TaskClassifier::kParts.size());
  const auto known = tensor(file, *entries, "vocabulary", "U8", {8});
  if (known.empty()) return malformed("no tensor vocabulary of type U8 and shape [8]");
  if (little_endian(known) != vocabulary_hash(tokens)) return malformed("trained on another vocabulary");
  const auto bias = tensor(file, *entries, "bias", "F32", {1});
  if (bias.empty()) return malformed("no tensor bias of type F32 and shape [1]");
  const auto rows = tensor(file, *entries, "weights", "F32", {parts, vocab});
  if (rows.empty())
    return malformed("no tensor weights of type F32 and shape [" + std::to_string(parts) + ", " +
                     std::to_string(vocab) + "]");
  std::vector<float> weights(rows.size() / sizeof(float));
  std::memcpy(weights.data(), rows.data(), rows.size());
  float offset = 0;
  std::memcpy(&offset, bias.data(), sizeof offset);
  if (!std::isfinite(offset)) return malformed("bias is not finite");
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (!std::isfinite(weights[i])) return malformed("weight " + std::to_string(i) + " is not finite");
  return TaskClassifier(std::move(weights), offset, static_cast<std::uint32_t>(vocab));
}

Result<TaskClassifier> read_task_weights(const std::string& model_directory,
                                         std::span<const std::string> tokens) {
  auto text = read_small_file(model_directory + "/" + kName, kLargestFile);
  if (!text) return tl::unexpected(text.error());
  return task_weights_of(std::as_bytes(std::span(*text)), tokens);
}

}  // namespace leadline::worker
