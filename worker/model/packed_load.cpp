#include "worker/model/packed_load.h"

#include <chrono>
#include <functional>
#include <numeric>

namespace leadline::worker {
namespace {

std::int64_t unix_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A rank's weights in `format`, scales and padding apart: known before anything is read.
std::int64_t roughly_packed_bytes(const WeightFile& file, DType format, int ranks) {
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : file.tensors())
    elements +=
        std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1}, std::multiplies<>());
  return elements / ranks * static_cast<std::int64_t>(transport::bits_of(format)) / 8;
}

}  // namespace

PackedLoad::PackedLoad(const WeightFile& file, const ModelConfig& config, const ShardPlan& plan, DType format,
                       Backend& backend, const TransformerOptions& options)
    : file_(file),
      config_(config),
      plan_(plan),
      load_{format, options.progress, nullptr},
      backend_(backend),
      options_(options) {
  if (options.packed_directory.empty() || file.stamps().empty()) return;
  if (roughly_packed_bytes(file, format, plan.ranks) < options.packed_least_bytes) return;
  auto probe = packing_probe(backend, format);
  if (!probe) {
    say("packed weights are not kept: " + probe.error().message);
    return;
  }
  key_ = {model_outline(config, file),
          std::string(transport::name_of(format)),
          std::move(*probe),
          plan.rank,
          plan.ranks,
          plan.o_slices,
          plan.down_slices};
  path_ = options.packed_directory + "/" + packed_file_name(key_);
  cache_ = PackedCache::open(
      path_, key_, [this](std::string_view line) { say(std::string(line)); }, options.packed_mapped);
}

void PackedLoad::say(const std::string& message) const {
  if (options_.log) options_.log(message);
}

CheckpointDigests PackedLoad::known_digests() const {
  return cache_ ? cache_->known_digests(file_.stamps()) : CheckpointDigests();
}

Result<Weights> PackedLoad::load(const CheckpointDigests& digests) {
  if (cache_ && cache_->usable(digests)) {
    const auto begin = std::chrono::steady_clock::now();
    load_.packed = cache_.get();
    auto weights = Weights::load(file_, config_, plan_, load_, backend_);
    load_.packed = nullptr;
    if (weights) {
      from_cache_ = true;
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      say("packed weights read: " + path_ + ", " + std::to_string(weights->bytes) + " bytes in " +
          std::to_string(took.count()) + " s" + (cache_->mapping() ? ", mapped" : ""));
      if (cache_->known_digests(file_.stamps()).empty())
        cache_->put_stamps(settled(file_.stamps(), unix_now_ns()));
      return weights;
    }
    if (weights.error().code == Errc::out_of_memory) return weights;
    say("packed weights are damaged, packing the checkpoint: " + weights.error().message);
  }
  return Weights::load(file_, config_, plan_, load_, backend_);
}

std::unique_ptr<PackedWriter> PackedLoad::start_writing(const Weights& weights,
                                                        const CheckpointDigests& digests) const {
  if (path_.empty() || from_cache_) return nullptr;
  PackedHeader header{key_, digests, settled(file_.stamps(), unix_now_ns()), {}};
  std::vector<const PackedMatrix*> matrices;
  for (const Weights::Named& named : weights.matrices) {
    header.entries.push_back({named.name, named.matrix->shape(), named.matrix->bytes(), 0, {}});
    matrices.push_back(named.matrix);
  }
  return std::make_unique<PackedWriter>(path_, std::move(header), std::move(matrices), log());
}

std::unique_ptr<PackedMover> PackedLoad::start_moving() const {
  if (!from_cache_ || !cache_->mapping()) return nullptr;
  return std::make_unique<PackedMover>(cache_->mapping(), options_.packed_move_after, log());
}

LoadLog PackedLoad::log() const {
  return options_.log ? options_.log : [](std::string_view) {};
}

}  // namespace leadline::worker
