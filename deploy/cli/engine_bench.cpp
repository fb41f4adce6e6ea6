#include "deploy/cli/engine_bench.h"

#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <set>

#include "deploy/cli/engine_bench_report.h"
#include "transport/collective/identity_communicator.h"
#include "worker/backend/cpu/machine_topology.h"
#include "worker/model/synthetic_weights.h"
#include "worker/model/transformer.h"

namespace leadline::deploy {
namespace {

using worker::DType;
using worker::Result;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSeed = 1;
constexpr int kVerifySteps = 8;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string machine_load() {
  std::ifstream file("/proc/loadavg");
  std::string one, five, fifteen;
  file >> one >> five >> fifteen;
  return one + " " + five + " " + fifteen;
}

DType kv_type(const std::string& name) {
  return name == "f32" ? DType::f32 : name == "f16" ? DType::f16 : name == "int8" ? DType::i8 : DType::bf16;
}

std::size_t median_of(const std::vector<double>& values) {  // index of the (upper) median
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  return order[order.size() / 2];
}

// One model and the KV pages of `batch` sequences, pages of each in a row.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> start(const EngineBenchOptions& options);

  // Prefills every sequence from its start, in steps of step_tokens rows.
  void prefill();
  // `rows` tokens more for each sequence whose KV has `slots` slots.
  void step(int slots, int rows);
  [[nodiscard]] std::vector<StageTotals> take_stages() { return timed_->take(); }
  [[nodiscard]] std::string logits_hash() const;
  [[nodiscard]] const worker::Backend& backend() const { return *backend_; }
  [[nodiscard]] const worker::Transformer& model() const { return *model_; }
  [[nodiscard]] int slots_before_decode() const { return std::max(options_.prompt, options_.context); }

 private:
  explicit Engine(const EngineBenchOptions& options) : options_(options) {}
  Result<void> load();
  Result<void> make_pages();
  void fill_pages(std::uint32_t units);
  [[nodiscard]] int last_slot() const {
    return slots_before_decode() + std::max(options_.generate, options_.verify);
  }
  [[nodiscard]] worker::SequenceRows rows_of(int sequence, int first_row, int slots, int rows) const;
  void run(std::span<const worker::SequenceRows> sequences, int rows);

  const EngineBenchOptions options_;
  worker::ModelConfig config_;
  std::unique_ptr<worker::Backend> backend_;
  std::unique_ptr<TimedBackend> timed_;
  transport::IdentityCommunicator ranks_;
  std::unique_ptr<worker::WeightFile> weights_;  // null: a checkpoint
  std::unique_ptr<worker::KvPool> pool_;
  std::unique_ptr<worker::Transformer> model_;
  std::vector<std::uint32_t> pages_;  // 0, 1, 2, ...
  std::uint32_t pages_each_ = 0;
  std::mt19937 random_{kSeed};
  std::vector<float> logits_;  // of the last step
};

Result<std::unique_ptr<Engine>> Engine::start(const EngineBenchOptions& options) {
  std::unique_ptr<Engine> engine(new Engine(options));
  if (auto loaded = engine->load(); !loaded) return tl::unexpected(loaded.error());
  if (auto made = engine->make_pages(); !made) return tl::unexpected(made.error());
  return engine;
}

Result<void> Engine::load() {
  auto config = options_.model.empty() ? worker::named_shape(options_.shape, last_slot())
                                       : worker::ModelConfig::load(options_.model);
  if (!config) return tl::unexpected(config.error());
  config_ = std::move(*config);
  worker::BackendOptions wanted;
  wanted.device = "cpu";  // stages are timed op by op: a device would be ahead of the clock
  wanted.threads = options_.threads;
  wanted.isa = options_.isa;
  auto backend = worker::make_backend(wanted);
  if (!backend) return tl::unexpected(backend.error());
  backend_ = std::move(*backend);
  timed_ = std::make_unique<TimedBackend>(*backend_);
  worker::TransformerOptions load;
  load.model_directory = options_.model;
  load.weights = options_.weights;
  load.max_rows = std::max({options_.step_tokens, options_.batch * std::max(options_.verify, 1)});
  load.max_logit_rows = options_.batch;
  load.max_positions = last_slot();
  if (options_.model.empty()) {
    weights_ = worker::synthetic_weights(config_, kSeed);
    load.source = weights_.get();
  }
  auto model = worker::Transformer::load(config_, load, *timed_, ranks_);
  if (!model) return tl::unexpected(model.error());
  model_ = std::move(*model);
  return {};
}

Result<void> Engine::make_pages() {
  pages_each_ = (static_cast<std::uint32_t>(last_slot()) + worker::kPageTokens - 1) / worker::kPageTokens;
  pages_.resize(std::size_t{pages_each_} * static_cast<std::size_t>(options_.batch));
  std::iota(pages_.begin(), pages_.end(), 0U);
  const auto per_page = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
  const auto units = static_cast<std::uint32_t>(pages_.size()) * per_page;
  auto pool = backend_->allocate_kv({units, config_.head_dim, kv_type(options_.kv_dtype), per_page});
  if (!pool) return tl::unexpected(pool.error());
  pool_ = std::move(*pool);
  fill_pages(units);
  return {};
}

// Small numbers in any format: pages that nothing was written to would all be one page of zeros, which stays
// in the cache.
void Engine::fill_pages(std::uint32_t units) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>(pool_->unit_bytes()) / sizeof(std::uint32_t));
  for (std::uint32_t& word : words) word = 0x3c003c00U | (random_() & 0x007f007fU);
  for (std::uint32_t unit = 0; unit < units; ++unit)
    backend_->write_unit(*pool_, unit, reinterpret_cast<const std::byte*>(words.data()));
}

worker::SequenceRows Engine::rows_of(int sequence, int first_row, int slots, int rows) const {
  worker::SequenceRows s;
  s.first_row = first_row;
  s.rows = rows;
  s.first_position = s.kv_before = slots;
  s.kv.table = pages_.data() + std::size_t{pages_each_} * static_cast<std::size_t>(sequence);
  s.kv.scale = static_cast<std::uint32_t>(config_.layers * config_.kv_heads);
  s.kv.head_step = 1;
  return s;
}

void Engine::run(std::span<const worker::SequenceRows> sequences, int rows) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(rows)), logit_rows;
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(config_.vocab));
  for (const worker::SequenceRows& s : sequences) logit_rows.push_back(s.first_row + s.rows - 1);
  const auto logits =
      model_->forward({tokens, sequences, static_cast<std::uint32_t>(config_.kv_heads), logit_rows}, *pool_);
  if (!logits) return;  // one rank cannot be lost
  logits_.assign(logits->data, logits->data + logits->rows * logits->row_stride);
}

void Engine::prefill() {
  random_.seed(kSeed);
  for (int sequence = 0; sequence < options_.batch; ++sequence) {
    for (int at = 0; at < options_.prompt; at += options_.step_tokens) {
      const worker::SequenceRows s =
          rows_of(sequence, 0, at, std::min(options_.step_tokens, options_.prompt - at));
      run({&s, 1}, s.rows);
    }
  }
}

void Engine::step(int slots, int rows) {
  std::vector<worker::SequenceRows> sequences;
  for (int i = 0; i < options_.batch; ++i) sequences.push_back(rows_of(i, i * rows, slots, rows));
  run(sequences, options_.batch * rows);
}

std::string Engine::logits_hash() const {
  const XXH64_hash_t hash = XXH3_64bits(logits_.data(), logits_.size() * sizeof(float));
  char text[17];
  (void)std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

struct Run {
  double seconds = 0;
  std::vector<StageTotals> stages;
};

// A decode of `generate` steps; the run's numbers are those of one step.
Run decode(Engine& engine, int generate) {
  (void)engine.take_stages();
  const auto begin = Clock::now();
  for (int i = 0; i < generate; ++i) engine.step(engine.slots_before_decode() + i, 1);
  Run run{seconds_since(begin) / generate, engine.take_stages()};
  for (StageTotals& t : run.stages) {
    t.calls /= generate;
    for (double* value : {&t.seconds, &t.bytes, &t.weight_bytes, &t.operations}) *value /= generate;
  }
  return run;
}

double verify_step(Engine& engine, int rows) {
  const auto begin = Clock::now();
  for (int i = 0; i < kVerifySteps; ++i) engine.step(engine.slots_before_decode(), rows);
  return seconds_since(begin) / kVerifySteps;
}

void measure(Engine& engine, const EngineBenchOptions& o, EngineBenchResult& r) {
  std::vector<Run> prefills, decodes;
  std::vector<double> verifies;
  for (int i = -1; i < o.repeats; ++i) {  // -1: the memory's first touch, not counted
    (void)engine.take_stages();
    const auto begin = Clock::now();
    engine.prefill();
    Run prefill{seconds_since(begin), engine.take_stages()};
    Run decoded = decode(engine, o.generate);
    r.logits_hash = engine.logits_hash();
    const double verified = o.verify > 0 ? verify_step(engine, o.verify) : 0;
    if (i < 0) continue;
    prefills.push_back(std::move(prefill));
    decodes.push_back(std::move(decoded));
    verifies.push_back(verified);
  }
  for (const Run& run : prefills) r.prefill_runs.push_back(run.seconds);
  for (const Run& run : decodes) r.decode_runs.push_back(run.seconds);
  const Run &prefill = prefills[median_of(r.prefill_runs)], &decoded = decodes[median_of(r.decode_runs)];
  r.prefill_seconds = prefill.seconds;
  r.prefill = prefill.stages;
  r.decode_step_seconds = decoded.seconds;
  r.decode = decoded.stages;
  r.verify_step_seconds = verifies[median_of(verifies)];
}

}  // namespace

void add_engine_bench_flags(CLI::App& command, EngineBenchOptions& o) {
  command.option_defaults()->always_capture_default();
  auto* model = command.add_option("--model", o.model, "Hugging Face checkpoint directory");
  auto* shape = command.add_option("--shape", o.shape, "Random weights of a known shape: tiny, 1b, 3b, 8b")
                    ->excludes(model);
  (void)shape;
  const auto one_of = [](std::set<std::string> names) { return CLI::IsMember(std::move(names)); };
  command.add_option("--weights", o.weights, "Weight format")
      ->check(one_of({"auto", "f32", "bf16", "f16", "int8", "int4"}));
  command.add_option("--kv-dtype", o.kv_dtype, "KV pages' format")
      ->check(one_of({"f32", "bf16", "f16", "int8"}));
  command.add_option("--isa", o.isa, "Kernel table; default: the best of this machine");
  command.add_option("--prompt", o.prompt, "Tokens to prefill, each sequence")->check(CLI::Range(1, 1 << 20));
  command.add_option("--generate", o.generate, "Decode steps")->check(CLI::Range(1, 1 << 20));
  command.add_option("--batch", o.batch, "Sequences")->check(CLI::Range(1, 1024));
  command.add_option("--context", o.context, "KV slots before decode; 0: the prompt")
      ->check(CLI::Range(0, 1 << 20));
  command.add_option("--step-tokens", o.step_tokens, "Rows of one prefill step")->check(CLI::Range(1, 8192));
  command.add_option("--verify", o.verify, "Also time steps of so many rows of one sequence")
      ->check(CLI::Range(0, 64));
  command.add_option("--threads", o.threads, "Kernel threads; 0: all cores")->check(CLI::Range(0, 256));
  command.add_option("--repeats", o.repeats, "Medians over so many")->check(CLI::Range(1, 1000));
  command.add_flag("--json", o.json, "JSON instead of a table");
}

int run_engine_bench(const EngineBenchOptions& options) {
  if (options.model.empty() && options.shape.empty()) {
    std::fputs("leadline: bench engine: give --model DIR or --shape NAME\n", stderr);
    return 2;
  }
  EngineBenchResult result;
  result.threads = options.threads > 0 ? options.threads : worker::cpu::available_cores();
  result.load_before = machine_load();
  const auto begin = Clock::now();
  auto engine = Engine::start(options);
  if (!engine) {
    std::fprintf(stderr, "leadline: %s\n", engine.error().message.c_str());
    return 1;
  }
  result.load_seconds = seconds_since(begin);
  result.backend = (*engine)->backend().name();
  result.arithmetic = (*engine)->backend().arithmetic_id();
  result.fingerprint = (*engine)->model().fingerprint();
  result.weight_bytes = static_cast<double>((*engine)->model().weight_bytes());
  const MachineProbe before = probe_machine(result.threads);
  measure(**engine, options, result);
  result.ceilings = best_of(before, probe_machine(result.threads));
  result.load_after = machine_load();
  std::fputs((options.json ? engine_bench_json(options, result) : engine_bench_text(options, result)).c_str(),
             stdout);
  return 0;
}

}  // namespace leadline::deploy
