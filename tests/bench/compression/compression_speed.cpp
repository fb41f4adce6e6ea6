// compression_speed: decoding behind compressed KV against the full cache, and what compressing costs beside
// the prefill: a named shape with random weights, pages of random numbers. Prints the bound that memory
// bandwidth sets beside each ratio. Reproduces docs/compression.md's speed table; nothing fails for being
// slow.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <thread>

#include "deploy/cli/machine_probe.h"
#include "monitoring/check.h"
#include "transport/collective/identity_communicator.h"
#include "worker/compression/compressor.h"
#include "worker/model/synthetic_weights.h"
#include "worker/model/transformer.h"

namespace leadline::tests {
namespace {

using namespace leadline::worker;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string shape = "1b", method = "semanticache";
  int context = 16384, batch = 1, steps = 8, threads = 0, delimiter_every = 12, prefill_chunks = 0,
      chunk = 512;
  double budget = 0.2;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// A model, and the pages of `batch` prompts of `context` tokens, with room for their compressed forms and
// tails.
class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    auto config = named_shape(options.shape, options.context + 4096);
    LEADLINE_CHECK(config.has_value(), "no such shape");
    config_ = *config;
    BackendOptions wanted;
    wanted.device = "cpu";
    wanted.threads = options.threads;
    auto backend = make_backend(wanted);
    LEADLINE_CHECK(backend.has_value(), "no backend");
    backend_ = std::move(*backend);
    weights_ = synthetic_weights(config_, 5);
    TransformerOptions load;
    load.source = weights_.get();
    load.max_rows = std::max(options.chunk, options.batch);
    load.max_logit_rows = options.batch;
    load.max_positions = options.context + 4096;
    auto model = Transformer::load(config_, load, *backend_, ranks_);
    LEADLINE_CHECK(model.has_value(), "the model does not fit");
    model_ = std::move(*model);
    make_pages();
  }

  // A decode step of all sequences behind the full cache, or behind the compressed one; seconds.
  double decode(bool compressed) {
    std::vector<SequenceRows> sequences;
    for (int i = 0; i < options_.batch; ++i) {
      SequenceRows rows;
      rows.first_row = i;
      rows.rows = 1;
      rows.decode = true;
      rows.first_position = options_.context;
      rows.kv_before = compressed ? 0 : options_.context;
      rows.kv = table_of(compressed ? tails_[at(i)] : prompts_[at(i)]);
      if (compressed) rows.kv.layers = compressor_->lists().tables(id_of(i), tails_[at(i)]);
      sequences.push_back(rows);
    }
    return forward(sequences, options_.batch);
  }

  // Compresses sequence `i`; seconds.
  double compress(int i) {
    CompressStep step;
    step.sequence = id_of(i);
    for (const std::uint32_t page : prompts_[at(i)]) step.from.push_back(PageId{page});
    step.from.pop_back();  // of what is generated
    for (const std::uint32_t page : forms_[at(i)]) step.to.push_back(PageId{page});
    step.tokens = static_cast<std::uint32_t>(options_.context);
    step.params.ratio = static_cast<float>(options_.budget);
    step.params.method =
        static_cast<std::uint8_t>(find_method(options_.method) - compression_methods().data());
    for (int t = 0; t < options_.context; ++t)
      step.delimiters.push_back(options_.delimiter_every > 0 && t % options_.delimiter_every == 0 ? 1 : 0);
    const auto start = Clock::now();
    const auto outcome = compressor_->compress(step);
    const double seconds = seconds_since(start);
    LEADLINE_CHECK(outcome.has_value(), "compression failed");
    kept_ = static_cast<double>(outcome->slots) / (static_cast<double>(options_.context) * outcome->lists);
    return seconds;
  }

  // A prefill of the whole context, from `samples` chunks evenly apart; seconds.
  double prefill(int samples) {
    const int chunks = options_.context / options_.chunk;
    double seconds = 0;
    for (int s = 0; s < samples; ++s) {
      SequenceRows rows;
      rows.rows = options_.chunk;
      rows.first_position = rows.kv_before = static_cast<int>((s + 0.5) * chunks / samples) * options_.chunk;
      rows.kv = table_of(prompts_[0]);
      seconds += forward({&rows, 1}, options_.chunk);
    }
    return seconds * chunks / samples;
  }

  [[nodiscard]] double weight_bytes() const { return static_cast<double>(model_->weight_bytes()); }
  [[nodiscard]] double kept() const { return kept_; }
  // K, V and, merged, the bias of all heads; of one sequence.
  [[nodiscard]] double kv_bytes(bool compressed) const {
    const double slots = static_cast<double>(options_.context) * config_.layers * config_.kv_heads;
    const double slot = static_cast<double>(pool_->unit_bytes()) / kPageTokens;
    return compressed ? slots * kept_ * (slot + sizeof(float)) : slots * slot;
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  static SequenceId id_of(int i) { return SequenceId{static_cast<std::uint64_t>(i) + 1}; }

  [[nodiscard]] KvTable table_of(const std::vector<std::uint32_t>& pages) const {
    KvTable table;
    table.table = pages.data();
    table.scale = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
    table.head_step = 1;
    return table;
  }

  void make_pages() {
    const auto prompt = static_cast<std::uint32_t>(options_.context) / kPageTokens;
    const auto form = static_cast<std::uint32_t>(options_.budget * prompt) + 2;
    std::uint32_t next = 0;
    for (int i = 0; i < options_.batch; ++i)
      for (auto [list, count] : {std::pair{&prompts_, prompt + 1}, {&forms_, form}, {&tails_, 1U}}) {
        list->emplace_back(count);
        std::iota(list->back().begin(), list->back().end(), next);
        next += count;
      }
    const auto per_page = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
    const std::uint32_t units = next * per_page;
    auto pool = backend_->allocate_kv({units, config_.head_dim, DType::bf16, per_page});
    LEADLINE_CHECK(pool.has_value(), "the pages do not fit");
    pool_ = std::move(*pool);
    std::vector<std::uint32_t> words(static_cast<std::size_t>(pool_->unit_bytes()) / sizeof(std::uint32_t));
    for (std::uint32_t unit = 0; unit < units; ++unit) {  // bf16 of +-0.5 to 1: keys of all directions
      for (std::uint32_t& word : words)
        word = 0x3f003f00U | (static_cast<std::uint32_t>(random_()) & 0x807f807fU);
      backend_->write_unit(*pool_, unit, reinterpret_cast<const std::byte*>(words.data()));
    }
    auto made = Compressor::make({.layers = static_cast<std::uint32_t>(config_.layers),
                                  .kv_heads = static_cast<std::uint32_t>(config_.kv_heads),
                                  .query_heads = static_cast<std::uint32_t>(config_.query_heads),
                                  .local_kv_heads = static_cast<std::uint32_t>(config_.kv_heads),
                                  .pages = next},
                                 *pool_, ranks_);
    LEADLINE_CHECK(made.has_value(), "no compressor");
    compressor_ = std::move(*made);
  }

  double forward(std::span<const SequenceRows> sequences, int rows) {
    std::vector<std::int32_t> tokens(at(rows)), logit_rows;
    for (std::int32_t& token : tokens)
      token = static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(config_.vocab));
    for (const SequenceRows& s : sequences) logit_rows.push_back(s.first_row + s.rows - 1);
    const auto start = Clock::now();
    const auto logits = model_->forward(
        {tokens, sequences, static_cast<std::uint32_t>(config_.kv_heads), logit_rows}, *pool_);
    const double seconds = seconds_since(start);
    LEADLINE_CHECK(logits.has_value(), "forward failed");
    return seconds;
  }

  const Options options_;
  ModelConfig config_;
  transport::IdentityCommunicator ranks_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<WeightFile> weights_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Compressor> compressor_;
  std::vector<std::vector<std::uint32_t>> prompts_, forms_, tails_;  // pages of each sequence
  std::mt19937_64 random_{3};
  double kept_ = 1;
};

int run(const Options& options) {
  if (find_method(options.method) == nullptr) {
    std::fprintf(stderr, "--method %s: known are %s\n", options.method.c_str(), method_names().c_str());
    return 1;
  }
  Bench bench(options);
  std::vector<double> compressing;
  for (int i = 0; i < options.batch; ++i) compressing.push_back(bench.compress(i));
  std::printf("%s, %d tokens, batch %d: %s keeps %.3f of the slots; compressing one sequence %.3f s\n",
              options.shape.c_str(), options.context, options.batch, options.method.c_str(), bench.kept(),
              median(compressing));
  if (options.prefill_chunks > 0) {
    const double prefill = bench.prefill(options.prefill_chunks);
    std::printf("prefill %.2f s (from %d chunks of %d); compressing is %.2f %% of it\n", prefill,
                options.prefill_chunks, options.chunk, 100 * median(compressing) / prefill);
  }
  if (options.steps > 0) {
    std::vector<double> full, compressed, ratios;
    for (int step = -1; step < options.steps; ++step) {  // in turn, so that the machine's moods hit both
      const double a = bench.decode(false), b = bench.decode(true);
      if (step < 0) continue;
      full.push_back(a);
      compressed.push_back(b);
      ratios.push_back(a / b);
    }
    const double weights = bench.weight_bytes(), batch = options.batch;
    const double all = weights + batch * bench.kv_bytes(false), few = weights + batch * bench.kv_bytes(true);
    const int threads = options.threads > 0
                            ? options.threads
                            : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    const double bandwidth = deploy::probe_machine(threads).read_gb_per_s;
    std::printf("decode step: full %.1f ms, compressed %.1f ms, ratio %.2f (median of %d pairs)\n",
                1e3 * median(full), 1e3 * median(compressed), median(ratios), options.steps);
    std::printf("bound by bytes: %.2f GB against %.2f GB, ratio %.2f; at %.1f GB/s %.1f and %.1f ms\n",
                all / 1e9, few / 1e9, all / few, bandwidth, all / bandwidth / 1e6, few / bandwidth / 1e6);
  }
  return 0;
}

}  // namespace
}  // namespace leadline::tests

int main(int argc, char** argv) {
  CLI::App app{"Decoding behind compressed KV against the full cache, and the cost of compressing."};
  leadline::tests::Options o;
  app.add_option("--shape", o.shape, "Named shape: tiny, 1b, 3b, 8b")->capture_default_str();
  app.add_option("--method", o.method, "A method that reads no query")->capture_default_str();
  app.add_option("--context", o.context, "Tokens of each prompt")->check(CLI::Range(512, 1 << 20));
  app.add_option("--batch", o.batch, "Sequences")->check(CLI::Range(1, 64));
  app.add_option("--budget", o.budget, "Share of the slots that stays")->check(CLI::Range(0.01, 0.99));
  app.add_option("--steps", o.steps, "Pairs of decode steps; 0: none")->check(CLI::Range(0, 10000));
  app.add_option("--prefill-chunks", o.prefill_chunks, "Chunks of a prefill that are timed; 0: none");
  app.add_option("--delimiter-every", o.delimiter_every, "Tokens from one delimiter to the next; 0: none");
  app.add_option("--threads", o.threads, "0: all cores");
  CLI11_PARSE(app, argc, argv);
  return leadline::tests::run(o);
}
