#include "tests/bench/compression/forked_prompt.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>

#include "monitoring/check.h"
#include "transport/collective/identity_communicator.h"

namespace leadline::tests {

using namespace leadline::worker;

namespace {
constexpr SequenceId kText{1}, kPrompt{2};
constexpr std::uint32_t kWindow = 32;

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
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
  auto pool = p.backend_->allocate_kv({3 * pages * units, p.config_.head_dim, options.kv_dtype, units});
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
  p.compressor_->keep_inputs();
  return made;
}

template <typename Visit>
void ForkedPrompt::run(std::span<const std::int32_t> tokens, const TapRequest* tap,
                       std::span<const std::uint8_t> wanted, const Visit& visit) {
  if (tap != nullptr) (void)compressor_->taps().expect({tap, 1});
  std::vector<std::int32_t> logit_rows;
  for (std::size_t at = 0; at < tokens.size(); at += options_.chunk) {
    const std::span<const std::int32_t> chunk =
        tokens.subspan(at, std::min<std::size_t>(options_.chunk, tokens.size() - at));
    logit_rows.clear();
    for (std::size_t r = 0; r < chunk.size(); ++r)
      if (wanted[at + r] != 0) logit_rows.push_back(static_cast<std::int32_t>(r));
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
          prompt_sequence_, std::span(pages).first((slots_ + chunk.size() + kPageTokens - 1) / kPageTokens));
    StepBatch batch{chunk, {&rows, 1}, static_cast<std::uint32_t>(config_.kv_heads), logit_rows};
    batch.tap = tap != nullptr ? &compressor_->taps() : nullptr;
    auto logits = transformer_->forward(batch, *pool_);
    LEADLINE_CHECK(logits.has_value(), "forward failed");
    position_ += static_cast<std::uint32_t>(chunk.size());
    slots_ += static_cast<std::uint32_t>(chunk.size());
    for (std::int64_t r = 0; r < logits->rows; ++r)
      visit(at + static_cast<std::size_t>(logit_rows[static_cast<std::size_t>(r)]), logits->row(r));
  }
}

std::int32_t ForkedPrompt::best(const float* logits) const {
  return static_cast<std::int32_t>(std::max_element(logits, logits + config_.vocab) - logits);
}

void ForkedPrompt::read(std::span<const std::int32_t> text, bool columns) {
  compressor_->forget(kText);
  compressor_->forget(kPrompt);
  text_ = prompt_ = static_cast<std::uint32_t>(text.size());
  position_ = slots_ = 0;
  forked_ = false;
  prompt_sequence_ = kText;
  taps_ = static_cast<std::uint8_t>(kTapWindow | (columns ? kTapColumns : 0));
  seed_ = compression_seed(text);
  const TapRequest request{kText, taps_, text_ - std::min(text_, kWindow), text_};
  const double start = thread_seconds();
  run(text, &request, std::vector<std::uint8_t>(text.size()), [](std::size_t, const float*) {});
  read_seconds_ = thread_seconds() - start;
}

std::int32_t ForkedPrompt::ask(std::span<const std::int32_t> question) {
  compressor_->lists().drop(prompt_sequence_);
  compressor_->forget(kPrompt);
  prompt_ = text_ + static_cast<std::uint32_t>(question.size());
  prompt_sequence_ = question.empty() ? kText : kPrompt;
  position_ = slots_ = text_;
  forked_ = false;
  if (question.empty()) return -1;
  const TapRequest request{kPrompt, taps_, prompt_ - std::min(prompt_, kWindow), prompt_};
  compressor_->taps().branch(kText, request);
  std::vector<std::uint8_t> wanted(question.size());
  wanted.back() = 1;
  std::int32_t next = -1;
  run(question, &request, wanted, [&](std::size_t, const float* row) { next = best(row); });
  return next;
}

ForkOutcome ForkedPrompt::fork(const CompressionMethod* method, CompressionParams params,
                               std::span<const std::uint8_t> delimiters, bool weighs) {
  forked_ = true;
  exact_ = method == nullptr || keeps_everything(*method, params, prompt_);
  back_to_fork();
  if (exact_) return {};
  compressor_->lists().drop(prompt_sequence_);
  CompressStep step;
  step.sequence = prompt_sequence_;
  const std::uint32_t pages = (prompt_ + kPageTokens - 1) / kPageTokens;
  for (std::uint32_t i = 0; i < pages; ++i) step.from.push_back(PageId{prompt_pages_[i]});
  for (const std::uint32_t page : fork_pages_) step.to.push_back(PageId{page});
  step.tokens = prompt_;
  step.seed = seed_ + prompt_;
  step.delimiters.assign(delimiters.begin(), delimiters.end());
  step.params = params;
  step.params.method = static_cast<std::uint8_t>(method - compression_methods().data());
  const double start = thread_seconds();
  auto outcome = compressor_->compress(step);
  const double seconds = thread_seconds() - start;
  LEADLINE_CHECK(outcome.has_value(), "compression failed");
  const auto layers = static_cast<std::uint32_t>(config_.layers),
             heads = static_cast<std::uint32_t>(config_.kv_heads);
  const double slot_bytes =
      2.0 * static_cast<double>(config_.head_dim) * (options_.kv_dtype == DType::f32 ? 4 : 2);
  double bytes = 0;
  for (std::uint32_t l = 0; l < layers; ++l)
    for (std::uint32_t h = 0; h < heads; ++h) {
      CompressedHead& head = compressor_->lists().head(prompt_sequence_, l, h);
      const double slots = static_cast<double>(head.units.size()) * kPageTokens;
      bytes += slots * (slot_bytes + (head.bias.empty() ? 0 : sizeof(float)));
      if (!weighs) std::fill(head.bias.begin(), head.bias.end(), 0.0F);
    }
  return {static_cast<double>(outcome->slots) / (static_cast<double>(prompt_) * layers * heads),
          bytes / (static_cast<double>(pages) * kPageTokens * layers * heads * slot_bytes), seconds};
}

void ForkedPrompt::back_to_fork() {
  LEADLINE_CHECK(forked_, "no fork to answer on");
  position_ = prompt_;
  slots_ = exact_ ? prompt_ : 0;
}

std::vector<std::int32_t> ForkedPrompt::next_tokens(std::span<const std::int32_t> tokens,
                                                    std::span<const std::uint8_t> wanted) {
  std::vector<std::int32_t> next(tokens.size(), -1);
  run(tokens, nullptr, wanted, [&](std::size_t at, const float* row) { next[at] = best(row); });
  back_to_fork();
  return next;
}

std::vector<double> ForkedPrompt::losses(std::span<const std::int32_t> tokens) {
  std::vector<double> losses;
  std::vector<std::uint8_t> wanted(tokens.size(), 1);
  wanted.back() = 0;
  run(tokens, nullptr, wanted, [&](std::size_t at, const float* row) {
    const float top = row[best(row)];
    double total = 0;
    for (std::int32_t v = 0; v < config_.vocab; ++v) total += std::exp(double{row[v]} - top);
    losses.push_back(std::log(total) + top - double{row[tokens[at + 1]]});
  });
  back_to_fork();
  return losses;
}

}  // namespace leadline::tests
