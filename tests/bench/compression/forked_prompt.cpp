#include "tests/bench/compression/forked_prompt.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "monitoring/check.h"
#include "transport/collective/identity_communicator.h"

namespace leadline::tests {

using namespace leadline::worker;

namespace {
constexpr SequenceId kSequence{1};
double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

Result<std::unique_ptr<ForkedPrompt>> ForkedPrompt::open(const Options& options) {
  auto made = std::make_unique<ForkedPrompt>();
  ForkedPrompt& p = *made;
  p.options_ = options;
  auto config = ModelConfig::load(options.model_directory);
  if (!config) return tl::unexpected(config.error());
  p.config_ = *config;
  p.ranks_ = std::make_unique<transport::IdentityCommunicator>();
  BackendOptions backend_options;
  backend_options.device = "cpu";
  backend_options.threads = options.threads;
  auto backend = make_backend(backend_options);
  if (!backend) return tl::unexpected(backend.error());
  p.backend_ = std::move(*backend);
  TransformerOptions load;
  load.model_directory = options.model_directory;
  load.max_rows = static_cast<std::int32_t>(options.chunk);
  load.max_logit_rows = static_cast<std::int32_t>(options.chunk);
  load.max_positions = static_cast<std::int32_t>(options.max_tokens);
  auto transformer = Transformer::load(p.config_, load, *p.backend_, *p.ranks_);
  if (!transformer) return tl::unexpected(transformer.error());
  p.transformer_ = std::move(*transformer);
  // Prompt, its compressed form (at most as long, one more unit per head), and what follows, side by side.
  const std::uint32_t pages = options.max_tokens / kPageTokens + 2;
  const std::uint32_t units = static_cast<std::uint32_t>(p.config_.layers * p.config_.kv_heads);
  auto pool = p.backend_->allocate_kv(3 * pages * units, p.config_.head_dim, options.kv_dtype);
  if (!pool) return tl::unexpected(pool.error());
  p.pool_ = std::move(*pool);
  for (auto* list : {&p.prompt_pages_, &p.fork_pages_, &p.tail_pages_}) {
    const std::uint32_t first = list == &p.prompt_pages_ ? 0 : list == &p.fork_pages_ ? pages : 2 * pages;
    list->resize(pages);
    std::iota(list->begin(), list->end(), first);
  }
  auto compressor = Compressor::make({.layers = static_cast<std::uint32_t>(p.config_.layers),
                                      .kv_heads = static_cast<std::uint32_t>(p.config_.kv_heads),
                                      .query_heads = static_cast<std::uint32_t>(p.config_.query_heads),
                                      .local_kv_heads = static_cast<std::uint32_t>(p.config_.kv_heads),
                                      .pages = 3 * pages},
                                     *p.pool_, *p.ranks_);
  if (!compressor) return tl::unexpected(compressor.error());
  p.compressor_ = std::move(*compressor);
  p.compressor_->keep_taps();
  return made;
}

std::int32_t ForkedPrompt::run(std::span<const std::int32_t> tokens, bool tap,
                               std::vector<double>* logprobs) {
  std::int32_t next = -1;
  std::vector<std::int32_t> logit_rows;
  for (std::size_t at = 0; at < tokens.size(); at += options_.chunk) {
    const std::span<const std::int32_t> chunk =
        tokens.subspan(at, std::min<std::size_t>(options_.chunk, tokens.size() - at));
    const bool last = at + chunk.size() == tokens.size();
    logit_rows.clear();
    for (std::size_t r = logprobs != nullptr ? 0 : chunk.size() - 1; r < chunk.size(); ++r)
      if (logprobs != nullptr || last) logit_rows.push_back(static_cast<std::int32_t>(r));
    SequenceRows rows;
    rows.rows = static_cast<std::int32_t>(chunk.size());
    rows.first_position = static_cast<std::int32_t>(position_);
    rows.kv_before = static_cast<std::int32_t>(slots_);
    const std::vector<std::uint32_t>& pages = forked_ && !exact_ ? tail_pages_ : prompt_pages_;
    rows.kv.table = pages.data();
    rows.kv.scale = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
    rows.kv.head_step = 1;
    if (forked_ && !exact_)
      rows.kv.layers = compressor_->lists().tables(
          kSequence, std::span(pages).first((slots_ + chunk.size() + kPageTokens - 1) / kPageTokens));
    StepBatch batch{chunk, {&rows, 1}, static_cast<std::uint32_t>(config_.kv_heads), logit_rows};
    batch.tap = tap ? &compressor_->taps() : nullptr;
    auto logits = transformer_->forward(batch, *pool_);
    LEADLINE_CHECK(logits.has_value(), "forward failed");
    position_ += static_cast<std::uint32_t>(chunk.size());
    slots_ += static_cast<std::uint32_t>(chunk.size());
    for (std::int64_t r = 0; r < logits->rows; ++r) {
      const float* row = logits->row(r);
      const float* best = std::max_element(row, row + config_.vocab);
      next = static_cast<std::int32_t>(best - row);
      const std::size_t follows = at + static_cast<std::size_t>(logit_rows[static_cast<std::size_t>(r)]) + 1;
      if (logprobs == nullptr || follows >= tokens.size()) continue;
      double total = 0;
      for (std::int32_t v = 0; v < config_.vocab; ++v) total += std::exp(double{row[v]} - *best);
      logprobs->push_back(double{row[tokens[follows]]} - *best - std::log(total));
    }
  }
  return next;
}

std::int32_t ForkedPrompt::prefill(std::span<const std::int32_t> tokens, bool columns) {
  compressor_->forget(kSequence);
  prompt_ = static_cast<std::uint32_t>(tokens.size());
  position_ = slots_ = 0;
  forked_ = false;
  const TapRequest request{kSequence, static_cast<std::uint8_t>(kTapWindow | (columns ? kTapColumns : 0)),
                           prompt_ - std::min(prompt_, 32U), prompt_};
  (void)compressor_->taps().expect({&request, 1});
  const auto start = std::chrono::steady_clock::now();
  const std::int32_t next = run(tokens, true, nullptr);
  prefill_seconds_ = seconds_since(start);
  return next;
}

ForkOutcome ForkedPrompt::fork(const CompressionMethod* method, CompressionParams params,
                               std::span<const std::uint8_t> delimiters) {
  forked_ = true;
  position_ = prompt_;
  exact_ = method == nullptr || keeps_everything(*method, params, prompt_);
  slots_ = exact_ ? prompt_ : 0;
  if (exact_) return {};
  compressor_->lists().drop(kSequence);
  CompressStep step;
  step.sequence = kSequence;
  const std::uint32_t pages = (prompt_ + kPageTokens - 1) / kPageTokens;
  for (std::uint32_t i = 0; i < pages; ++i) step.from.push_back(PageId{prompt_pages_[i]});
  for (const std::uint32_t page : fork_pages_) step.to.push_back(PageId{page});
  step.tokens = prompt_;
  step.seed = prompt_ * 2654435761ULL;
  step.delimiters.assign(delimiters.begin(), delimiters.end());
  step.params = params;
  step.params.method = static_cast<std::uint8_t>(method - compression_methods().data());
  auto outcome = compressor_->compress(step);
  LEADLINE_CHECK(outcome.has_value(), "compression failed");
  std::size_t units = 0;
  const auto layers = static_cast<std::uint32_t>(config_.layers),
             heads = static_cast<std::uint32_t>(config_.kv_heads);
  for (std::uint32_t l = 0; l < layers; ++l)
    for (std::uint32_t h = 0; h < heads; ++h)
      units += compressor_->lists().head(kSequence, l, h).units.size();
  return {static_cast<double>(outcome->slots) / (static_cast<double>(prompt_) * layers * heads),
          static_cast<double>(units) / (static_cast<double>(pages) * layers * heads),
          static_cast<double>(outcome->us) * 1e-6};
}

std::int32_t ForkedPrompt::feed(std::span<const std::int32_t> tokens, std::vector<double>* logprobs) {
  return run(tokens, false, logprobs);
}

}  // namespace leadline::tests
