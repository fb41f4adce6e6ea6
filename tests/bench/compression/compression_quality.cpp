// compression_quality: answers of compressed prompts. Reads items as JSON lines
// (tests/bench/compression/quality.py makes them), computes each text once, puts its questions behind it,
// forks every prompt for every method and budget, appends one JSON line per item, mode and variant.
// Resumable: rows that the output file has are skipped. Run by quality.py; --help says the rest.
//
// An answer is right if the greedy answer is the expected one, token for token. That is so exactly if, with
// the expected answer fed in, every token is the greedy one behind those before it: one pass instead of one
// per token. A later question's history holds the expected answers, whatever was answered.

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "tests/bench/compression/forked_prompt.h"

namespace leadline::tests {
namespace {

using nlohmann::json;
using namespace leadline::worker;
using Tokens = std::vector<std::int32_t>;

struct Variant {
  std::string name;  // of the row in tables
  const CompressionMethod* method = nullptr;
  CompressionParams params;
  float ratio = 1;     // of the bytes; 0: the threshold decides
  bool weighs = true;  // merged slots by the log of their number
  std::string delimiters;
};

struct Item {
  std::string id;
  Tokens text;
  struct Question {
    Tokens ask, again;  // behind the text; as a later turn of a conversation
    Tokens answer;
  };
  std::vector<Question> questions;
  Tokens continued;  // or: text whose loss is measured
};

Item item_of(const json& j) {
  Item item;
  item.id = j.at("id");
  item.text = j.at("text").get<Tokens>();
  item.continued = j.value("continued", Tokens{});
  for (const json& q : j.value("questions", json::array()))
    item.questions.push_back(
        {q.at("ask").get<Tokens>(), q.at("again").get<Tokens>(), q.at("answer").get<Tokens>()});
  return item;
}

// Token ids that are delimiters, by rule.
using Delimiters = std::map<std::string, std::set<std::int32_t>>;

class Run {
 public:
  Run(ForkedPrompt& model, const Delimiters& delimiters, std::ostream& out)
      : model_(model), delimiters_(delimiters), out_(out) {}

  void item(const Item& item, std::span<const Variant* const> agnostic, std::span<const Variant* const> aware,
            std::size_t aware_questions) {
    bool columns = false;
    for (const auto& list : {agnostic, aware})
      for (const Variant* v : list) columns = columns || (v->method->traits.taps & kTapColumns) != 0;
    model_.read(item.text, columns);
    if (!agnostic.empty()) {
      model_.ask({});
      for (const Variant* v : agnostic) ask_behind(item, *v);
    }
    std::map<std::string, json> rows;
    for (std::size_t q = 0; !aware.empty() && q < std::min(aware_questions, item.questions.size()); ++q) {
      const std::int32_t first = model_.ask(item.questions[q].ask);
      for (const Variant* v : aware) {
        json& row = rows[v->name];
        if (row.is_null()) row = {{"id", item.id}, {"mode", "aware"}, {"variant", v->name}};
        ask_within(item, q, first, *v, row);
      }
    }
    for (const Variant* v : aware) out_ << rows[v->name].dump() << "\n";
    out_.flush();
  }

 private:
  ForkOutcome fork(const Tokens& text, const Tokens& question, const Variant& v) {
    std::vector<std::uint8_t> flags;
    const std::set<std::int32_t>& ids = delimiters_.at(v.delimiters);
    for (const Tokens* part : {&text, &question})
      for (const std::int32_t token : *part) flags.push_back(ids.contains(token) ? 1 : 0);
    CompressionParams params = v.params;
    const auto tokens = static_cast<std::uint32_t>(flags.size());
    const std::uint32_t units = (tokens + kPageTokens - 1) / kPageTokens;
    if (!params.by_threshold)  // whole units: what a budget of bytes leaves room for
      params.tokens =
          std::max(1U, static_cast<std::uint32_t>(v.ratio * static_cast<float>(units) + 1e-3F)) * kPageTokens;
    return model_.fork(v.ratio >= 1 ? nullptr : v.method, params, flags, v.weighs);
  }

  // Whether the answer that was fed at `start` is right; `next` is what follows each fed token.
  static int right(const Tokens& next, std::size_t start, const Tokens& answer) {
    for (std::size_t i = 0; i < answer.size(); ++i)
      if (next[start + i - 1] != answer[i]) return 0;
    return 1;
  }

  // Questions asked one after the other, the first `from` of them known; one bit per question.
  json conversation(const Item& item, std::size_t from, Tokens fed) {
    std::vector<std::size_t> starts;
    std::vector<std::uint8_t> wanted(fed.size());
    for (std::size_t q = from; q < item.questions.size(); ++q) {
      const auto& question = item.questions[q];
      const Tokens& ask = q == 0 ? question.ask : question.again;
      fed.insert(fed.end(), ask.begin(), ask.end());
      starts.push_back(fed.size());
      fed.insert(fed.end(), question.answer.begin(), question.answer.end());
      wanted.resize(starts.back() - 1);
      wanted.resize(fed.size() - 1, 1);
      wanted.push_back(0);
    }
    const Tokens next = model_.next_tokens(fed, wanted);
    json bits = json::array();
    for (std::size_t i = 0; i < starts.size(); ++i)
      bits.push_back(right(next, starts[i], item.questions[from + i].answer));
    return bits;
  }

  void ask_behind(const Item& item, const Variant& v) {
    const ForkOutcome outcome = fork(item.text, {}, v);
    json row{{"id", item.id},
             {"mode", "agnostic"},
             {"variant", v.name},
             {"slots", outcome.slot_share},
             {"bytes", outcome.byte_share},
             {"seconds", outcome.seconds},
             {"read_seconds", model_.read_seconds()}};
    if (!item.continued.empty()) {
      const std::vector<double> losses = model_.losses(item.continued);
      row["loss"] = std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
    } else {
      json single = json::array();
      for (const auto& question : item.questions) {
        Tokens fed = question.ask;
        fed.insert(fed.end(), question.answer.begin(), question.answer.end());
        std::vector<std::uint8_t> wanted(question.ask.size() - 1);
        wanted.resize(fed.size(), 1);
        single.push_back(right(model_.next_tokens(fed, wanted), question.ask.size(), question.answer));
      }
      row["single"] = single;
      row["turns"] = conversation(item, 0, {});
    }
    out_ << row.dump() << "\n";
    out_.flush();
  }

  // The question is part of the prompt: the first token is the exact prefill's. After the first of an item
  // the others follow as turns.
  void ask_within(const Item& item, std::size_t q, std::int32_t first, const Variant& v, json& row) {
    const auto& question = item.questions[q];
    const ForkOutcome outcome = fork(item.text, question.ask, v);
    for (const auto& [key, value] : {std::pair{"slots", outcome.slot_share},
                                     {"bytes", outcome.byte_share},
                                     {"seconds", outcome.seconds}})
      row[key] = row.value(key, 0.0) + value;
    const Tokens next =
        model_.next_tokens(question.answer, std::vector<std::uint8_t>(question.answer.size(), 1));
    bool good = first == question.answer.front();
    for (std::size_t i = 1; i < question.answer.size(); ++i) good = good && next[i - 1] == question.answer[i];
    row["single"].push_back(good ? 1 : 0);
    if (q == 0) row["turns"] = conversation(item, 1, question.answer);
  }

  ForkedPrompt& model_;
  const Delimiters& delimiters_;
  std::ostream& out_;
};

std::vector<Variant> variants_of(const json& list) {
  std::vector<Variant> variants;
  for (const json& v : list) {
    Variant variant;
    variant.name = v.at("name");
    variant.method = find_method(v.at("method").get<std::string>());
    if (variant.method == nullptr) throw std::runtime_error("unknown method in variant " + variant.name);
    variant.params.by_threshold = v.contains("threshold");
    variant.params.threshold = v.value("threshold", 1.0F);
    variant.ratio = v.value("ratio", variant.params.by_threshold ? 0.0F : 1.0F);
    variant.params.window = v.value("window", 32U);
    variant.params.task = v.value("task", std::uint8_t{0});
    variant.params.pins.first = v.value("first", 4U);
    variant.params.pins.recent = v.value("recent", 32U);
    variant.delimiters = v.value("delimiters", "only");
    variant.weighs = v.value("weighs", true);
    variants.push_back(std::move(variant));
  }
  return variants;
}

struct Paths {
  std::string model, items, variants, delimiters, out;
  std::size_t aware_questions = 0;
};

int run(const Paths& paths) {
  const std::vector<Variant> variants = variants_of(json::parse(paths.variants));
  Delimiters delimiters;
  const json rules = json::parse(std::ifstream(paths.delimiters));
  for (const auto& [rule, ids] : rules.items()) delimiters[rule] = ids.get<std::set<std::int32_t>>();
  std::set<std::string> known;
  const auto key = [](const std::string& id, const std::string& mode, const std::string& variant) {
    return id + "|" + mode + "|" + variant;
  };
  if (std::ifstream done(paths.out); done)
    for (std::string line; std::getline(done, line);)
      if (const json row = json::parse(line, nullptr, false); row.is_object())
        known.insert(key(row.at("id"), row.at("mode"), row.at("variant")));
  ForkedPrompt::Options options;
  options.model_directory = paths.model;
  auto model = ForkedPrompt::open(options);
  if (!model) {
    std::cerr << model.error().message << "\n";
    return 1;
  }
  std::ofstream out(paths.out, std::ios::app);
  Run run(**model, delimiters, out);
  std::ifstream items(paths.items);
  for (std::string line; std::getline(items, line);) {
    const Item item = item_of(json::parse(line));
    std::vector<const Variant*> agnostic, aware;
    for (const Variant& v : variants) {
      if (!known.contains(key(item.id, "agnostic", v.name))) agnostic.push_back(&v);
      if (paths.aware_questions > 0 && item.continued.empty() &&
          !known.contains(key(item.id, "aware", v.name)))
        aware.push_back(&v);
    }
    if (!agnostic.empty() || !aware.empty()) run.item(item, agnostic, aware, paths.aware_questions);
  }
  return 0;
}

}  // namespace
}  // namespace leadline::tests

int main(int argc, char** argv) {
  CLI::App app{"Answers of compressed prompts; see tests/bench/compression/quality.py."};
  leadline::tests::Paths paths;
  app.add_option("--model", paths.model, "Checkpoint directory")->required();
  app.add_option("--items", paths.items, "JSON lines of texts and questions")->required();
  app.add_option("--variants", paths.variants, "JSON list of methods and budgets")->required();
  app.add_option("--delimiters", paths.delimiters, "JSON file: rule to token ids")->required();
  app.add_option("--out", paths.out, "JSON lines, appended to")->required();
  app.add_option("--aware", paths.aware_questions, "Questions per text that also end a prompt");
  CLI11_PARSE(app, argc, argv);
  return leadline::tests::run(paths);
}
