#include "deploy/cli/cost_probe.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "coordinator/text/tokenizer.h"
#include "deploy/cli/lone_model.h"
#include "policy/byte_file.h"
#include "policy/exit_features.h"
#include "policy/trainer/cost_table.h"
#include "worker/sampling/sampler.h"

namespace leadline::deploy {
namespace {

using worker::Result;
using Clock = std::chrono::steady_clock;

constexpr int kContexts[] = {64, 512, 1536};
constexpr int kRows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};
constexpr int kLeastLayers = 4;
constexpr int kMostLayers = 32;  // timed together, less the first: a pass of the engine reads as much
constexpr int kSequences = 16;   // at most, that rows are spread over

class CostProbe {
 public:
  static Result<std::unique_ptr<CostProbe>> start(const CostOptions& options);
  // Seconds of one pass of `rows` rows over layers [0, last), logits of `heads` rows.
  Result<double> pass(int rows, int context, int last, int heads);
  double probe();  // seconds of statistics and draw of one row
  [[nodiscard]] int layers() const { return model_.config.layers; }
  [[nodiscard]] int many() const { return std::min(layers(), kMostLayers); }
  [[nodiscard]] std::string identity() const { return model_.transformer->identity(); }
  [[nodiscard]] std::string made_by() const {
    return std::string(model_.backend->name()) + " " + model_.backend->arithmetic_id() + ", " +
           options_.model;
  }

 private:
  explicit CostProbe(const CostOptions& options) : options_(options) {}
  Result<void> load();

  const CostOptions options_;
  LoneModel model_;
  std::uint32_t pages_each_ = 0;
};

Result<std::unique_ptr<CostProbe>> CostProbe::start(const CostOptions& options) {
  std::unique_ptr<CostProbe> probe(new CostProbe(options));
  if (auto loaded = probe->load(); !loaded) return tl::unexpected(loaded.error());
  return probe;
}

Result<void> CostProbe::load() {
  if (auto read = model_.read_config(options_.model); !read) return read;
  if (model_.config.layers < kLeastLayers)
    return monitoring::fail(worker::Errc::unsupported_model,
                            "num_hidden_layers = " + std::to_string(model_.config.layers) +
                                ": costs need at least " + std::to_string(kLeastLayers));
  const int last_slot = kContexts[std::size(kContexts) - 1] + options_.max_rows;
  worker::TransformerOptions load;
  load.model_directory = options_.model;
  load.max_rows = load.max_logit_rows = options_.max_rows;
  load.max_positions = last_slot;
  if (auto loaded = model_.load(load, options_.threads); !loaded) return loaded;
  pages_each_ = pages_of(last_slot);
  return model_.make_pages(pages_each_ * kSequences);
}

Result<double> CostProbe::pass(int rows, int context, int last, int heads) {
  const int sequences = std::min(kSequences, std::max(1, rows / 8));
  std::vector<worker::SequenceRows> all;
  for (int i = 0, row = 0; i < sequences; ++i) {
    worker::SequenceRows s;
    s.first_row = row;
    s.rows = rows / sequences + (i < rows % sequences ? 1 : 0);
    s.first_position = s.kv_before = context;
    s.kv.table = model_.pages.data() + pages_each_ * static_cast<std::uint32_t>(i);
    s.kv.scale = model_.units_per_page();
    s.kv.head_step = 1;
    s.decode = true;
    row += s.rows;
    all.push_back(s);
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows)),
      logit_rows(static_cast<std::size_t>(heads));
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(100 + 7 * i) % model_.config.vocab;
  std::iota(logit_rows.begin(), logit_rows.end(), 0);
  const std::vector<worker::LayerRange> layers(all.size(), worker::LayerRange{0, last});
  worker::StepBatch batch{tokens, all, static_cast<std::uint32_t>(model_.config.kv_heads), logit_rows};
  if (last < model_.config.layers) batch.layers = layers;
  const auto begin = Clock::now();
  auto ran = model_.transformer->forward(batch, *model_.pool);
  if (!ran) return tl::unexpected(ran.error());
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Of the ids that the tokenizer has: others are never looked at.
double CostProbe::probe() {
  std::int32_t allowed = model_.config.vocab;
  if (const auto tokenizer = coordinator::Tokenizer::load(options_.model))
    allowed = std::min(allowed, static_cast<std::int32_t>((*tokenizer)->vocab_size()));
  std::vector<float> logits(static_cast<std::size_t>(allowed));
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((i * 7919) % 1000) * 0.01F;
  worker::SamplerScratch scratch;
  worker::SamplingParams params;
  params.temperature = 0;
  constexpr int kRowsTimed = 32;
  const auto begin = Clock::now();
  for (int i = 0; i < kRowsTimed; ++i) {
    worker::SamplingRow row;
    row.logits = logits;
    row.allowed_vocab = allowed;
    (void)policy::read_probe(logits, worker::sample(row, params, scratch).token);
  }
  return std::chrono::duration<double>(Clock::now() - begin).count() / kRowsTimed;
}

// Of repeats under other people's load the least is nearest to the machine's own time, the median to what
// runs under the same load take.
double of_repeats(std::vector<double> values, bool median) {
  std::ranges::sort(values);
  return values[median ? values.size() / 2 : 0];
}

struct Cell {
  int rows, context;
  std::vector<double> many, one, headed;  // seconds of each repeat: so many layers, one, one and the head
};

Result<void> measure(CostProbe& probe, const CostOptions& options, std::vector<Cell>& cells) {
  for (int repeat = -1; repeat < options.repeats; ++repeat) {  // -1: first touch, not counted; interleaved
    for (Cell& cell : cells) {
      const auto many = probe.pass(cell.rows, cell.context, probe.many(), 0);
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
  command.add_flag("--median", o.median,
                   "The median of the repeats: for comparing with runs on the same busy machine");
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
  const auto taken = [&](const std::vector<double>& seconds) { return of_repeats(seconds, options.median); };
  for (const Cell& cell : cells) {
    const double per_layer = (taken(cell.many) - taken(cell.one)) / ((*probe)->many() - 1) * 1e6;
    layer.push_back({double(cell.rows), double(cell.context), std::max(per_layer, 1e-3)});
    if (cell.context != kContexts[0]) continue;
    head.push_back({double(cell.rows), 0, std::max((taken(cell.headed) - taken(cell.one)) * 1e6, 1e-3)});
    if (cell.rows == 1) pass_us = std::max(0.0, taken(cell.one) * 1e6 - per_layer);
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
