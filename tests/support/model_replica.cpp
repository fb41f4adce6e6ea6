#include "tests/support/model_replica.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <thread>

#include "monitoring/check.h"
#include "worker/model/exit_logits.h"

namespace leadline::tests {

using namespace leadline::worker;

Result<std::unique_ptr<ModelReplica>> ModelReplica::start(const ReplicaOptions& options) {
  auto config = ModelConfig::load(options.model_directory);
  if (!config) return tl::unexpected(config.error());
  auto replica = std::make_unique<ModelReplica>();
  replica->config_ = std::move(*config);
  replica->free_pages_.resize(options.pages);
  std::iota(replica->free_pages_.begin(), replica->free_pages_.end(), 0U);
  std::shuffle(replica->free_pages_.begin(), replica->free_pages_.end(),
               std::mt19937(1));  // no page order to lean on

  auto group = make_thread_group(options.ranks);
  replica->ranks_.resize(group.size());
  std::vector<Result<void>> started(group.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < group.size(); ++i) {
    replica->ranks_[i].communicator = std::move(group[i]);
    threads.emplace_back([&, i] {
      started[i] = replica->start_rank(options, replica->ranks_[i]);
      if (!started[i]) replica->ranks_[i].communicator->fail(started[i].error().message);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : started)
    if (!result && result.error().code != Errc::rank_lost) return tl::unexpected(result.error());
  for (const auto& result : started)
    if (!result) return tl::unexpected(result.error());
  return replica;
}

Result<void> ModelReplica::start_rank(const ReplicaOptions& options, Rank& rank) {
  if (options.make_backend) {
    rank.backend = options.make_backend();
  } else {
    BackendOptions backend_options;
    backend_options.device = "cpu";
    backend_options.isa = options.isa;
    backend_options.threads = options.threads;
    auto backend = make_backend(backend_options);
    if (!backend) return tl::unexpected(backend.error());
    rank.backend = std::move(*backend);
  }

  TransformerOptions model_options;
  model_options.model_directory = options.model_directory;
  model_options.weights = options.weights;
  model_options.max_rows = options.max_rows;
  model_options.max_logit_rows = options.max_rows;
  model_options.max_kept_rows = options.max_rows;
  model_options.max_positions =
      options.max_positions != 0 ? options.max_positions : std::min(config_.max_positions, 4096);
  if (rank.communicator->rank() == 0)
    model_options.progress = [this](std::uint64_t done, std::uint64_t total) {
      progress_reports_ += done <= total;
    };
  auto model = Transformer::load(config_, model_options, *rank.backend, *rank.communicator);
  if (!model) return tl::unexpected(model.error());
  rank.model = std::move(*model);

  const auto per_page = static_cast<std::uint32_t>(config_.layers * rank.model->local_kv_heads());
  auto pool =
      rank.backend->allocate_kv({options.pages * per_page, config_.head_dim, options.kv_dtype, per_page});
  if (!pool) return tl::unexpected(pool.error());
  rank.pool = std::move(*pool);
  return {};
}

std::vector<std::vector<std::vector<float>>> ModelReplica::step_rank(Rank& rank,
                                                                     const std::vector<Feed>& feeds,
                                                                     const std::vector<std::int32_t>& exits) {
  const auto heads = static_cast<std::uint32_t>(rank.model->local_kv_heads());
  std::vector<std::int32_t> tokens, logit_rows;
  std::vector<SequenceRows> rows;
  for (const Feed& feed : feeds) {
    const Sequence& sequence = sequences_[feed.sequence];
    SequenceRows r;
    r.first_row = static_cast<std::int32_t>(tokens.size());
    r.rows = static_cast<std::int32_t>(feed.tokens.size());
    r.first_position = r.kv_before = sequence.length;
    r.kv.table = sequence.pages.data();
    r.kv.scale = static_cast<std::uint32_t>(config_.layers) * heads;
    r.kv.head_step = 1;
    r.decode = feed.decode;
    rows.push_back(r);
    tokens.insert(tokens.end(), feed.tokens.begin(), feed.tokens.end());
    for (std::int32_t i = feed.all_logits ? 0 : r.rows - 1; i < r.rows; ++i)
      logit_rows.push_back(r.first_row + i);
  }
  const StepBatch batch{tokens, rows, heads, logit_rows};
  std::vector<std::vector<std::vector<float>>> out;
  const auto take = [&out](std::int32_t, ConstFloatMatrix logits) {
    auto& rows_out = out.emplace_back();
    for (std::int64_t i = 0; i < logits.rows; ++i)
      rows_out.emplace_back(logits.row(i), logits.row(i) + logits.cols);
  };
  if (exits.empty()) {
    const auto logits = rank.model->forward(batch, *rank.pool);
    LEADLINE_CHECK(logits.has_value(), "forward failed");
    take(rank.model->layers(), *logits);
  } else {
    LEADLINE_CHECK(forward_at_exits(*rank.model, batch, exits, *rank.pool, take).has_value(),
                   "forward failed");
  }
  return out;
}

std::vector<std::vector<float>> ModelReplica::step(const std::vector<Feed>& feeds) {
  return std::move(step_at_exits(feeds, {}).front());
}

std::vector<std::vector<std::vector<float>>> ModelReplica::step_at_exits(
    const std::vector<Feed>& feeds, const std::vector<std::int32_t>& exits) {
  for (const Feed& feed : feeds) {
    if (feed.sequence >= sequences_.size()) sequences_.resize(feed.sequence + 1);
    Sequence& sequence = sequences_[feed.sequence];
    const std::size_t length = static_cast<std::size_t>(sequence.length) + feed.tokens.size();
    while (sequence.pages.size() * kPageTokens < length) {
      LEADLINE_CHECK(!free_pages_.empty(), "ReplicaOptions::pages are used up");
      sequence.pages.push_back(free_pages_.back());
      free_pages_.pop_back();
    }
  }
  std::vector<std::vector<std::vector<std::vector<float>>>> results(ranks_.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < ranks_.size(); ++i)
    threads.emplace_back([&, i] { results[i] = step_rank(ranks_[i], feeds, exits); });
  results[0] = step_rank(ranks_[0], feeds, exits);
  for (std::thread& thread : threads) thread.join();
  for (const Feed& feed : feeds)
    sequences_[feed.sequence].length += static_cast<std::int32_t>(feed.tokens.size());
  return std::move(results[0]);
}

std::vector<std::vector<float>> ModelReplica::run(std::size_t sequence,
                                                  const std::vector<std::int32_t>& tokens, std::int32_t chunk,
                                                  bool all_logits) {
  std::vector<std::vector<float>> out;
  for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(chunk)) {
    const std::size_t end = std::min(tokens.size(), at + static_cast<std::size_t>(chunk));
    Feed feed{
        sequence,
        {tokens.begin() + static_cast<std::ptrdiff_t>(at), tokens.begin() + static_cast<std::ptrdiff_t>(end)},
        all_logits};
    auto logits = step({feed});
    if (!all_logits) out.clear();
    std::move(logits.begin(), logits.end(), std::back_inserter(out));
  }
  return out;
}

std::vector<std::byte> ModelReplica::read_page(std::size_t sequence, std::size_t page) {
  Rank& rank = ranks_[0];
  const auto count = static_cast<std::uint32_t>(config_.layers * rank.model->local_kv_heads());
  std::vector<std::uint32_t> units(count);
  std::iota(units.begin(), units.end(), sequences_[sequence].pages[page] * count);
  std::vector<std::byte> bytes(count * static_cast<std::size_t>(rank.pool->unit_bytes()));
  rank.backend->read_units(*rank.pool, units, bytes.data());
  return bytes;
}

void ModelReplica::forget(std::size_t sequence) {
  Sequence& gone = sequences_[sequence];
  free_pages_.insert(free_pages_.end(), gone.pages.begin(), gone.pages.end());
  gone = Sequence{};
}

std::int32_t argmax(const std::vector<float>& logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace leadline::tests
