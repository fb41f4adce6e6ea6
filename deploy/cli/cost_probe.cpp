#include "deploy/cli/cost_probe.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <vector>

#include "policy/byte_file.h"
#include "policy/exit_features.h"
#include "policy/trainer/cost_table.h"
#include "transport/collective/identity_communicator.h"
#include "worker/model/transformer.h"
#include "worker/sampling/sampler.h"

namespace leadline::deploy {
namespace {

using worker::Result;
using Clock = std::chrono::steady_clock;

constexpr int kContexts[] = {64, 512, 1536};
constexpr int kRows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};
constexpr int kManyLayers = 9;  // timed together, less the first
constexpr int kSequences = 16;  // at most, that rows are spread over

class CostProbe {
 public:
  static Result<std::unique_ptr<CostProbe>> start(const CostOptions& options);
  // Seconds of one pass of `rows` rows over layers [0, last), logits of `heads` rows.
  Result<double> pass(int rows, int context, int last, int heads);
  double probe();  // seconds of statistics and draw of one row
  [[nodiscard]] int layers() const { return config_.layers; }
  [[nodiscard]] std::string identity() const { return model_->identity(); }
  [[nodiscard]] std::string made_by() const {
    return std::string(backend_->name()) + " " + backend_->arithmetic_id() + ", " + options_.model;
  }

 private:
  explicit CostProbe(const CostOptions& options) : options_(options) {}
  Result<void> load();

  const CostOptions options_;
  worker::ModelConfig config_;
  std::unique_ptr<worker::Backend> backend_;
  transport::IdentityCommunicator ranks_;
  std::unique_ptr<worker::KvPool> pool_;
  std::unique_ptr<worker::Transformer> model_;
  std::vector<std::uint32_t> pages_;
  std::uint32_t pages_each_ = 0;
};

Result<std::unique_ptr<CostProbe>> CostProbe::start(const CostOptions& options) {
  std::unique_ptr<CostProbe> probe(new CostProbe(options));
  if (auto loaded = probe->load(); !loaded) return tl::unexpected(loaded.error());
  return probe;
}

Result<void> CostProbe::load() {
  auto config = worker::ModelConfig::load(options_.model);
  if (!config) return tl::unexpected(config.error());
  config_ = std::move(*config);
  if (config_.layers < kManyLayers)
    return monitoring::fail(worker::Errc::unsupported_model,
                            "num_hidden_layers = " + std::to_string(config_.layers) +
                                ": costs need at least " + std::to_string(kManyLayers));
  worker::BackendOptions wanted;
  wanted.device = "cpu";
  wanted.threads = options_.threads;
  auto backend = worker::make_backend(wanted);
  if (!backend) return tl::unexpected(backend.error());
  backend_ = std::move(*backend);
  const int last_slot = kContexts[std::size(kContexts) - 1] + options_.max_rows;
  worker::TransformerOptions load;
  load.model_directory = options_.model;
  load.max_rows = load.max_logit_rows = options_.max_rows;
  load.max_positions = last_slot;
  auto model = worker::Transformer::load(config_, load, *backend_, ranks_);
  if (!model) return tl::unexpected(model.error());
  model_ = std::move(*model);
  pages_each_ = (static_cast<std::uint32_t>(last_slot) + worker::kPageTokens - 1) / worker::kPageTokens;
  pages_.resize(pages_each_ * kSequences);
  std::iota(pages_.begin(), pages_.end(), 0U);
  const auto per_page = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
  auto pool = backend_->allocate_kv({static_cast<std::uint32_t>(pages_.size()) * per_page, config_.head_dim,
                                     worker::DType::bf16, per_page});
  if (!pool) return tl::unexpected(pool.error());
  pool_ = std::move(*pool);
  return {};
}

Result<double> CostProbe::pass(int rows, int context, int last, int heads) {
  const int sequences = std::min(kSequences, std::max(1, rows / 8));
  std::vector<worker::SequenceRows> all;
  for (int i = 0, row = 0; i < sequences; ++i) {
    worker::SequenceRows s;
    s.first_row = row;
    s.rows = rows / sequences + (i < rows % sequences ? 1 : 0);
    s.first_position = s.kv_before = context;
    s.kv.table = pages_.data() + pages_each_ * static_cast<std::uint32_t>(i);
    s.kv.scale = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
    s.kv.head_step = 1;
    s.decode = true;
    row += s.rows;
    all.push_back(s);
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows)),
      logit_rows(static_cast<std::size_t>(heads));
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(100 + 7 * i) % config_.vocab;
  std::iota(logit_rows.begin(), logit_rows.end(), 0);
  const std::vector<worker::LayerRange> layers(all.size(), worker::LayerRange{0, last});
  worker::StepBatch batch{tokens, all, static_cast<std::uint32_t>(config_.kv_heads), logit_rows};
  if (last < config_.layers) batch.layers = layers;
  const auto begin = Clock::now();
  auto ran = model_->forward(batch, *pool_);
  if (!ran) return tl::unexpected(ran.error());
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double CostProbe::probe() {
  std::vector<float> logits(static_cast<std::size_t>(config_.vocab));
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((i * 7919) % 1000) * 0.01F;
  worker::SamplerScratch scratch;
  worker::SamplingParams params;
  params.temperature = 0;
  constexpr int kRowsTimed = 32;
  const auto begin = Clock::now();
  for (int i = 0; i < kRowsTimed; ++i) {
    worker::SamplingRow row;
    row.logits = logits;
    row.allowed_vocab = config_.vocab;
    (void)policy::read_probe(logits, worker::sample(row, params, scratch).token);
  }
  return std::chrono::duration<double>(Clock::now() - begin).count() / kRowsTimed;
}

// Of repeats under other people's load the least is nearest to the machine's own time.
double least(const std::vector<double>& values) {
  return *std::ranges::min_element(values);
}

struct Cell {
  int rows, context;
  std::vector<double> many, one, headed;  // seconds of each repeat: so many layers, one, one and the head
};

Result<void> measure(CostProbe& probe, const CostOptions& options, std::vector<Cell>& cells) {
  for (int repeat = -1; repeat < options.repeats; ++repeat) {  // -1: first touch, not counted; interleaved
    for (Cell& cell : cells) {
      const auto many = probe.pass(cell.rows, cell.context, kManyLayers, 0);
      const auto one = probe.pass(cell.rows, cell.context, 1, 0);
      const auto headed =
          cell.context == kContexts[0] ? probe.pass(cell.rows, cell.context, 1, cell.rows) : one;
      for (const auto* timed : {&many, &one, &headed})
        if (!*timed) return tl::unexpected(timed->error());
      if (repeat < 0) continue;
      cell.many.push_back(*many);
      cell.one.push_back(*one);
      cell.headed.push_back(*headed);
    }
    std::fprintf(stderr, "leadline: costs: round %d of %d\n", repeat + 1, options.repeats);
  }
  return {};
}

// More rows or a longer context never take less time: what was measured so was disturbed, and the least of
// all larger passes is nearer to the truth.
void make_monotone(std::vector<policy::CostTable::Point>& points) {
  for (policy::CostTable::Point& point : points)
    for (const policy::CostTable::Point& larger : points)
      if (larger.rows >= point.rows && larger.context >= point.context)
        point.us = std::min(point.us, larger.us);
}

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

}  // namespace

void add_cost_flags(CLI::App& command, CostOptions& o) {
  command.option_defaults()->always_capture_default();
  command.add_option("--model", o.model, "Hugging Face checkpoint directory")->required();
  command.add_option("-o,--out", o.out, "Cost table to write")->required();
  command.add_option("--repeats", o.repeats, "The least of so many")->check(CLI::Range(1, 1000));
  command.add_option("--max-rows", o.max_rows, "Rows of the largest pass")->check(CLI::Range(1, 256));
  command.add_option("--threads", o.threads, "Kernel threads; 0: all cores")->check(CLI::Range(0, 256));
}

int run_costs(const CostOptions& options) {
  auto probe = CostProbe::start(options);
  if (!probe) return fail_with(probe.error().message);
  std::vector<Cell> cells;
  for (const int context : kContexts)
    for (const int rows : kRows)
      if (rows <= options.max_rows) cells.push_back({rows, context, {}, {}, {}});
  if (auto done = measure(**probe, options, cells); !done) return fail_with(done.error().message);
  const int layers = (*probe)->layers();
  std::vector<policy::CostTable::Point> layer, head;
  double pass_us = 1e12;
  for (const Cell& cell : cells) {
    const double per_layer = (least(cell.many) - least(cell.one)) / (kManyLayers - 1) * 1e6;
    layer.push_back({double(cell.rows), double(cell.context), std::max(per_layer, 1e-3)});
    if (cell.context != kContexts[0]) continue;
    head.push_back({double(cell.rows), 0, std::max((least(cell.headed) - least(cell.one)) * 1e6, 1e-3)});
    if (cell.rows == 1) pass_us = std::max(0.0, least(cell.one) * 1e6 - per_layer);
  }
  make_monotone(layer);
  make_monotone(head);
  (*probe)->probe();
  auto table =
      policy::CostTable::make(layers, layer, head, (*probe)->probe() * 1e6, pass_us, (*probe)->made_by());
  if (!table) return fail_with(table.error().message);
  table->set_model((*probe)->identity());
  const std::string text = table->text();
  if (auto saved = policy::write_file(options.out, std::as_bytes(std::span(text))); !saved)
    return fail_with(saved.error().message);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace leadline::deploy
