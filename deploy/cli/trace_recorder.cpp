#include "deploy/cli/trace_recorder.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "coordinator/text/tokenizer.h"
#include "deploy/cli/lone_model.h"
#include "policy/exit_features.h"
#include "policy/trainer/decode_trace.h"
#include "worker/sampling/sampler.h"

namespace leadline::deploy {
namespace {

using policy::AnswerTrace;
using policy::DecodeTrace;
using policy::ExitTrace;
using policy::ProbeReading;
using worker::ConstFloatMatrix;
using worker::Result;

constexpr int kPromptLimit = 4096, kPrefillRows = 256, kBranchesAtOnce = 64;

ProbeReading target_reading(std::span<const float> logits) {
  return policy::read_probe(logits, 0);
}

// The model with one answer's pages and scratch pages for wrong drafts.
class Recorder {
 public:
  static Result<std::unique_ptr<Recorder>> start(const TraceOptions& options);
  Result<AnswerTrace> record(const TracePrompt& prompt, float temperature, std::uint64_t seed);
  [[nodiscard]] DecodeTrace header() const {
    return {model_.config.layers, options_.max_draft, exits_, model_.transformer->identity(), {}};
  }

 private:
  explicit Recorder(const TraceOptions& options) : options_(options) {}
  Result<void> load();

  struct Row {  // of the step being put together
    std::int32_t token = 0, slot = 0;
    std::span<const std::uint32_t> table;
  };
  Result<ConstFloatMatrix> run(std::span<const Row> rows, bool one_sequence, std::int32_t exit,
                               bool all_logits);
  std::int32_t draw(std::span<const float> logits, std::int32_t position, const AnswerTrace& answer);
  [[nodiscard]] std::span<const float> row(const ConstFloatMatrix& logits, std::int64_t r) const {
    return {logits.data + r * logits.row_stride, static_cast<std::size_t>(vocab_)};
  }
  Result<void> decode(std::span<const std::int32_t> prompt, AnswerTrace& answer);
  Result<void> read_exit(std::int32_t last_prompt_token, std::int32_t exit, const AnswerTrace& answer,
                         ExitTrace& trace);
  Result<void> follow(std::span<const std::int32_t> starts, std::span<const std::int32_t> drafts,
                      std::int32_t exit, const AnswerTrace& answer, ExitTrace& trace);

  const TraceOptions options_;
  LoneModel model_;  // pages of the answer, then scratch
  std::unique_ptr<coordinator::Tokenizer> tokenizer_;
  std::vector<std::int32_t> exits_;
  std::int32_t vocab_ = 0;  // ids that the tokenizer has
  std::uint32_t answer_pages_ = 0, branch_pages_ = 0;
  worker::SamplingParams sampling_;
  worker::SamplerScratch scratch_;
};

Result<std::unique_ptr<Recorder>> Recorder::start(const TraceOptions& options) {
  std::unique_ptr<Recorder> recorder(new Recorder(options));
  if (auto loaded = recorder->load(); !loaded) return tl::unexpected(loaded.error());
  return recorder;
}

Result<void> Recorder::load() {
  if (auto read = model_.read_config(options_.model); !read) return read;
  auto tokenizer = coordinator::Tokenizer::load(options_.model);
  if (!tokenizer) return monitoring::fail(worker::Errc::malformed_file, tokenizer.error().message);
  tokenizer_ = std::move(*tokenizer);
  vocab_ = std::min(model_.config.vocab, static_cast<std::int32_t>(tokenizer_->vocab_size()));
  worker::TransformerOptions load;
  load.model_directory = options_.model;
  load.max_rows = std::max({kPrefillRows, options_.tokens, kBranchesAtOnce});
  load.max_logit_rows = std::max(options_.tokens, kBranchesAtOnce);
  load.max_positions = model_.config.max_positions;
  if (auto loaded = model_.load(load, options_.threads); !loaded) return loaded;
  exits_.assign(options_.exits.begin(), options_.exits.end());
  for (std::int32_t exit = 1; exit < model_.config.layers && options_.exits.empty(); ++exit)
    exits_.push_back(exit);
  for (std::size_t i = 0; i < exits_.size(); ++i)
    if (exits_[i] < 1 || exits_[i] >= model_.config.layers || (i > 0 && exits_[i] <= exits_[i - 1]))
      return monitoring::fail(worker::Errc::configuration,
                              "--exits: " + std::to_string(exits_[i]) + ": ascending layers in 1 to " +
                                  std::to_string(model_.config.layers - 1) + " are possible");
  answer_pages_ = pages_of(model_.config.max_positions);
  branch_pages_ = pages_of(options_.max_draft) + 1;
  return model_.make_pages(answer_pages_ + kBranchesAtOnce * branch_pages_);
}

// Rows of one sequence in order of slots, or one row of each of several; up to layer `exit`.
Result<ConstFloatMatrix> Recorder::run(std::span<const Row> rows, bool one_sequence, std::int32_t exit,
                                       bool all_logits) {
  std::vector<std::int32_t> tokens, logit_rows;
  std::vector<worker::SequenceRows> sequences;
  for (const Row& row : rows) {
    if (!one_sequence || sequences.empty()) {
      worker::SequenceRows s;
      s.first_row = static_cast<std::int32_t>(tokens.size());
      s.first_position = s.kv_before = row.slot;
      s.kv.table = row.table.data();
      s.kv.scale = model_.units_per_page();
      s.kv.head_step = 1;
      s.decode = true;
      sequences.push_back(s);
    }
    ++sequences.back().rows;
    tokens.push_back(row.token);
  }
  for (std::int32_t r = all_logits ? 0 : static_cast<std::int32_t>(rows.size()) - 1;
       r < static_cast<std::int32_t>(rows.size()); ++r)
    logit_rows.push_back(r);
  const std::vector<worker::LayerRange> layers(sequences.size(), worker::LayerRange{0, exit});
  worker::StepBatch batch{tokens, sequences, static_cast<std::uint32_t>(model_.config.kv_heads), logit_rows};
  if (exit < model_.config.layers) batch.layers = layers;
  return model_.transformer->forward(batch, *model_.pool);
}

std::int32_t Recorder::draw(std::span<const float> logits, std::int32_t position, const AnswerTrace& answer) {
  worker::SamplingRow row;
  row.logits = logits;
  row.allowed_vocab = vocab_;
  row.position = static_cast<std::uint64_t>(position);
  (void)answer;
  return worker::sample(row, sampling_, scratch_).token;
}

// Prefill, then one token after another through all layers.
Result<void> Recorder::decode(std::span<const std::int32_t> prompt, AnswerTrace& answer) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    rows.push_back({prompt[i], static_cast<std::int32_t>(i), model_.pages});
    if (rows.size() < kPrefillRows && i + 2 < prompt.size()) continue;
    if (auto ran = run(rows, true, model_.config.layers, false); !ran) return tl::unexpected(ran.error());
    rows.clear();
  }
  std::int32_t token = prompt.back();
  for (int i = 0; i < options_.tokens; ++i) {
    const auto slot = answer.prompt_tokens - 1 + i;
    const Row one{token, slot, model_.pages};
    auto logits = run({&one, 1}, true, model_.config.layers, true);
    if (!logits) return tl::unexpected(logits.error());
    token = draw(row(*logits, 0), slot + 1, answer);
    const ProbeReading reading = target_reading(row(*logits, 0));
    answer.tokens.push_back(token);
    answer.target_top1.push_back(reading.top1_probability);
    answer.target_margin.push_back(reading.margin);
  }
  return {};
}

// One exit's drafts along the true tokens, in one pass, and what follows the wrong ones.
Result<void> Recorder::read_exit(std::int32_t last_prompt_token, std::int32_t exit, const AnswerTrace& answer,
                                 ExitTrace& trace) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < answer.tokens.size(); ++i)
    rows.push_back({i == 0 ? last_prompt_token : answer.tokens[i - 1],
                    answer.prompt_tokens - 1 + static_cast<std::int32_t>(i), model_.pages});
  auto logits = run(rows, true, exit, true);
  if (!logits) return tl::unexpected(logits.error());
  std::vector<std::int32_t> starts, drafts;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto values = row(*logits, static_cast<std::int64_t>(i));
    const std::int32_t drawn = draw(values, rows[i].slot + 1, answer);
    const bool matches = drawn == answer.tokens[i];
    trace.matches.push_back(matches ? 1 : 0);
    trace.readings.push_back(policy::read_probe(values, drawn));
    trace.branch.push_back(matches ? -1 : static_cast<std::int32_t>(starts.size()));
    if (matches) continue;
    starts.push_back(static_cast<std::int32_t>(i));
    drafts.push_back(drawn);
  }
  trace.branches.resize(starts.size() * static_cast<std::size_t>(options_.max_draft - 1));
  return follow(starts, drafts, exit, answer, trace);
}

// From wrong draft drafts[b] at position starts[b] on: max_draft - 1 more passes, many branches at once, each
// on a copy of the page that it begins in.
Result<void> Recorder::follow(std::span<const std::int32_t> starts, std::span<const std::int32_t> drafts,
                              std::int32_t exit, const AnswerTrace& answer, ExitTrace& trace) {
  const auto units = model_.units_per_page();
  const auto passes = static_cast<std::size_t>(options_.max_draft - 1);
  for (std::size_t begin = 0; begin < starts.size(); begin += kBranchesAtOnce) {
    const std::size_t count = std::min<std::size_t>(kBranchesAtOnce, starts.size() - begin);
    std::vector<std::vector<std::uint32_t>> tables(count);
    std::vector<Row> rows(count);
    for (std::size_t b = 0; b < count; ++b) {
      const std::int32_t slot = answer.prompt_tokens + starts[begin + b];  // of the wrong draft
      const std::uint32_t shared = static_cast<std::uint32_t>(slot) / worker::kPageTokens;
      tables[b].assign(model_.pages.begin(), model_.pages.begin() + shared);
      for (std::uint32_t p = 0; p < branch_pages_; ++p)
        tables[b].push_back(answer_pages_ + static_cast<std::uint32_t>(b) * branch_pages_ + p);
      for (std::uint32_t unit = 0; unit < static_cast<std::uint32_t>(exit * model_.config.kv_heads); ++unit)
        model_.backend->copy_unit(*model_.pool, model_.pages[shared] * units + unit,
                                  tables[b][shared] * units + unit);
      rows[b] = {drafts[begin + b], slot, tables[b]};
    }
    for (std::size_t pass = 0; pass < passes; ++pass) {
      auto logits = run(rows, false, exit, true);
      if (!logits) return tl::unexpected(logits.error());
      for (std::size_t b = 0; b < count; ++b) {
        const auto values = row(*logits, static_cast<std::int64_t>(b));
        rows[b].token = draw(values, ++rows[b].slot, answer);
        trace.branches[(begin + b) * passes + pass] = policy::read_probe(values, rows[b].token);
      }
    }
  }
  return {};
}

Result<AnswerTrace> Recorder::record(const TracePrompt& prompt, float temperature, std::uint64_t seed) {
  auto ids = tokenizer_->encode(prompt.text, false, kPromptLimit);
  if (!ids) return monitoring::fail(worker::Errc::configuration, ids.error().message);
  const std::vector<std::int32_t> tokens(ids->begin(), ids->end());
  const auto room = model_.config.max_positions - options_.tokens - options_.max_draft;
  if (tokens.empty() || static_cast<std::int32_t>(tokens.size()) > room)
    return monitoring::fail(worker::Errc::configuration, "a prompt of " + std::to_string(tokens.size()) +
                                                             " tokens: 1 to " + std::to_string(room));
  AnswerTrace answer;
  answer.task = prompt.task;
  answer.split = prompt.split;
  answer.temperature = temperature;
  answer.prompt_tokens = static_cast<std::int32_t>(tokens.size());
  sampling_.temperature = temperature;
  sampling_.seed = seed;
  if (auto decoded = decode(tokens, answer); !decoded) return tl::unexpected(decoded.error());
  answer.exits.resize(exits_.size());
  for (std::size_t e = exits_.size(); e-- > 0;)
    if (auto read = read_exit(tokens.back(), exits_[e], answer, answer.exits[e]); !read)
      return tl::unexpected(read.error());
  return answer;
}

int fail_with(const std::string& message) {
  std::fprintf(stderr, "leadline: %s\n", message.c_str());
  return 1;
}

// Share of drafts that match, by task and exit: what a reader checks first.
void print_matches(const DecodeTrace& trace) {
  std::map<std::string, std::pair<std::vector<double>, double>> tasks;
  for (const AnswerTrace& answer : trace.answers) {
    auto& [matches, tokens] = tasks[answer.task + (answer.temperature > 0 ? " sampled" : " greedy")];
    matches.resize(trace.exits.size());
    tokens += static_cast<double>(answer.tokens.size());
    for (std::size_t e = 0; e < trace.exits.size(); ++e)
      matches[e] += std::accumulate(answer.exits[e].matches.begin(), answer.exits[e].matches.end(), 0.0);
  }
  std::printf("%-20s", "drafts that match");
  for (const auto exit : trace.exits) std::printf(" %5d", exit);
  for (const auto& [task, counted] : tasks) {
    std::printf("\n%-20s", task.c_str());
    for (const double matches : counted.first) std::printf(" %5.2f", matches / counted.second);
  }
  std::printf("\n");
}

}  // namespace

bool read_trace_prompts(const TraceOptions& options, std::vector<TracePrompt>& prompts, std::string& error) {
  const std::string& path = options.prompts;
  std::ifstream file(path);
  if (!file) {
    error = "cannot open " + path;
    return false;
  }
  std::map<std::string, int> taken;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto text = [&](const char* key) {
      return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>()
                                                                             : "";
    };
    const auto split = policy::split_of(text("split"));
    if (text("task").empty() || text("text").empty() || !split) {
      error =
          path + ":" + std::to_string(number) +
          ": task and text must be strings that are not empty, split train, selection or held-out, not \"" +
          text("split") + "\"";
      return false;
    }
    if (!options.split.empty() && options.split != text("split")) continue;
    const int earlier = taken[text("task") + ' ' + text("split")]++;
    if (earlier < options.skip || (options.limit > 0 && earlier >= options.skip + options.limit)) continue;
    prompts.push_back({text("task"), text("text"), *split, static_cast<std::uint64_t>(number)});
  }
  return true;
}

void add_trace_flags(CLI::App& command, TraceOptions& o) {
  command.option_defaults()->always_capture_default();
  command.add_option("--model", o.model, "Hugging Face checkpoint directory")->required();
  command.add_option("--prompts", o.prompts, "JSON lines of {task, split, text}")->required();
  command.add_option("-o,--out", o.out, "Trace file to write")->required();
  command.add_option("--temperature", o.temperatures, "One pass over the prompts for each; 0 = greedy")
      ->check(CLI::Range(0.0F, 2.0F));
  command.add_option("--tokens", o.tokens, "Of each answer, past its ends of turn")
      ->check(CLI::Range(8, 2048));
  command.add_option("--max-draft", o.max_draft, "Drafts of one round")->check(CLI::Range(2, 16));
  command.add_option("--limit", o.limit, "Prompts of each task and split; 0: all")
      ->check(CLI::Range(0, 1 << 20));
  command.add_option("--skip", o.skip, "And so many of the first of each left out")
      ->check(CLI::Range(0, 1 << 20));
  command.add_option("--split", o.split, "Only prompts of this split; default: all");
  command.add_option("--exits", o.exits, "Exits to record; default: every layer")->delimiter(',');
  command.add_option("--seeds", o.seeds, "Sampled answers of each training prompt")->check(CLI::Range(1, 64));
  command.add_option("--threads", o.threads, "Kernel threads; 0: all cores")->check(CLI::Range(0, 256));
}

int run_trace(const TraceOptions& options) {
  std::vector<TracePrompt> prompts;
  std::string error;
  if (!read_trace_prompts(options, prompts, error)) return fail_with(error);
  auto recorder = Recorder::start(options);
  if (!recorder) return fail_with(recorder.error().message);
  DecodeTrace trace = (*recorder)->header();
  for (const float temperature : options.temperatures) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const bool many = temperature > 0 && prompts[i].split == policy::Split::train;
      for (int s = 0; s < (many ? options.seeds : 1); ++s) {
        auto answer =
            (*recorder)->record(prompts[i], temperature,
                                prompts[i].seed + (std::uint64_t{1} << 32U) * static_cast<std::uint64_t>(s));
        if (!answer) return fail_with(answer.error().message);
        trace.answers.push_back(std::move(*answer));
        if (trace.answers.size() % 32 == 0)
          std::fprintf(stderr, "leadline: traced %zu answers\n", trace.answers.size());
      }
    }
  }
  if (auto saved = policy::save_trace(trace, options.out); !saved) return fail_with(saved.error().message);
  print_matches(trace);
  return 0;
}

}  // namespace leadline::deploy
