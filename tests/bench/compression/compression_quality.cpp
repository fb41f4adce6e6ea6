// compression_quality: answers of compressed prompts. Reads items as JSON lines
// (tests/bench/compression/quality.py makes them), computes each prompt once, forks it for every method and
// budget, appends one JSON line per item and variant. Resumable: items that the output file has are skipped.
// Run by quality.py; --help says the rest.

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "tests/bench/compression/forked_prompt.h"

namespace leadline::tests {
namespace {

using nlohmann::json;
using namespace leadline::worker;

struct Variant {
  std::string name;  // of the row in tables
  const CompressionMethod* method = nullptr;
  CompressionParams params;
};

struct Item {
  std::string id;
  std::vector<std::int32_t> prompt;
  std::vector<std::uint8_t> delimiters;
  struct Question {
    std::vector<std::int32_t> tokens, answer;
  };
  std::vector<Question> questions;  // asked one after the other behind the prompt
  bool aware = false;  // the first question ends the prompt: its first token is the exact prefill's
  std::vector<std::int32_t> continued;  // or: text whose loss is measured
};

Item item_of(const json& j) {
  Item item;
  item.id = j.at("id");
  item.prompt = j.at("prompt").get<std::vector<std::int32_t>>();
  item.delimiters = j.at("delimiters").get<std::vector<std::uint8_t>>();
  item.aware = j.value("aware", false);
  if (j.contains("continued")) item.continued = j.at("continued").get<std::vector<std::int32_t>>();
  for (const json& q : j.value("questions", json::array()))
    item.questions.push_back(
        {q.at("tokens").get<std::vector<std::int32_t>>(), q.at("answer").get<std::vector<std::int32_t>>()});
  return item;
}

// Greedy answer of the right length; right if all its tokens are.
bool answers(ForkedPrompt& model, std::int32_t next, const std::vector<std::int32_t>& answer) {
  bool right = true;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (next != answer[i]) right = false;
    if (!right && i + 1 < answer.size()) {  // the history of the next question is the right answer's anyway
      model.feed(std::span(answer).subspan(i));
      return false;
    }
    next = model.feed({&answer[i], 1});
  }
  return right;
}

json run_variant(ForkedPrompt& model, const Item& item, const Variant& variant, std::int32_t first_token) {
  const ForkOutcome outcome = model.fork(variant.method, variant.params, item.delimiters);
  json row{{"id", item.id},
           {"variant", variant.name},
           {"slots", outcome.slot_share},
           {"bytes", outcome.byte_share},
           {"seconds", outcome.seconds}};
  if (!item.continued.empty()) {
    std::vector<double> logprobs;
    model.feed(item.continued, &logprobs);
    row["loss"] =
        -std::accumulate(logprobs.begin(), logprobs.end(), 0.0) / static_cast<double>(logprobs.size());
    return row;
  }
  json right = json::array();
  for (std::size_t q = 0; q < item.questions.size(); ++q) {
    const Item::Question& question = item.questions[q];
    std::int32_t next = first_token;
    if (!question.tokens.empty()) next = model.feed(question.tokens);
    right.push_back(answers(model, next, question.answer) ? 1 : 0);
  }
  row["right"] = right;
  return row;
}

std::vector<Variant> variants_of(const json& list) {
  std::vector<Variant> variants;
  for (const json& v : list) {
    Variant variant;
    variant.name = v.at("name");
    variant.method = find_method(v.at("method").get<std::string>());
    if (variant.method == nullptr) throw std::runtime_error("unknown method in variant " + variant.name);
    variant.params.ratio = v.value("ratio", 1.0F);
    variant.params.by_threshold = v.contains("threshold");
    variant.params.threshold = v.value("threshold", 1.0F);
    variant.params.window = v.value("window", 32U);
    variant.params.task = v.value("task", 0);
    variant.params.pins.first = v.value("first", 4U);
    variant.params.pins.recent = v.value("recent", 32U);
    variants.push_back(std::move(variant));
  }
  return variants;
}

int run(const std::string& model_directory, const std::string& items_path, const std::string& variants_text,
        const std::string& out_path) {
  const std::vector<Variant> variants = variants_of(json::parse(variants_text));
  std::set<std::pair<std::string, std::string>> known;
  if (std::ifstream done(out_path); done)
    for (std::string line; std::getline(done, line);)
      if (const json row = json::parse(line, nullptr, false); row.is_object())
        known.emplace(row.at("id"), row.at("variant"));
  ForkedPrompt::Options options;
  options.model_directory = model_directory;
  auto model = ForkedPrompt::open(options);
  if (!model) {
    std::cerr << model.error().message << "\n";
    return 1;
  }
  std::ofstream out(out_path, std::ios::app);
  std::ifstream items(items_path);
  for (std::string line; std::getline(items, line);) {
    const Item item = item_of(json::parse(line));
    std::vector<const Variant*> open;
    bool columns = false;
    for (const Variant& v : variants)
      if (!known.contains({item.id, v.name})) {
        open.push_back(&v);
        columns = columns || (v.method->traits.taps & kTapColumns) != 0;
      }
    if (open.empty()) continue;
    const std::int32_t next = (*model)->prefill(item.prompt, columns);
    for (const Variant* v : open) {
      json row = run_variant(**model, item, *v, next);
      row["prefill_seconds"] = (*model)->prefill_seconds();
      out << row.dump() << "\n";
    }
    out.flush();
  }
  return 0;
}

}  // namespace
}  // namespace leadline::tests

int main(int argc, char** argv) {
  CLI::App app{"Answers of compressed prompts; see tests/bench/compression/quality.py."};
  std::string model, items, variants, out;
  app.add_option("--model", model, "Checkpoint directory")->required();
  app.add_option("--items", items, "JSON lines of prompts")->required();
  app.add_option("--variants", variants, "JSON list of methods and budgets")->required();
  app.add_option("--out", out, "JSON lines, appended to")->required();
  CLI11_PARSE(app, argc, argv);
  return leadline::tests::run(model, items, variants, out);
}
