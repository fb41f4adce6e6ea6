#include "worker/model/token_strings.h"

#include <nlohmann/json.hpp>

#include "worker/model/json_fields.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kLargestFile = 128LL << 20;
const std::string kName = "tokenizer.json";

tl::unexpected<Error> malformed(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, kName + ": " + what);
}

void put(std::vector<std::string>& strings, std::size_t id, std::string text) {
  if (id < strings.size()) strings[id] = std::move(text);
}

bool read_vocabulary(const nlohmann::json& vocab, std::vector<std::string>& strings) {
  if (vocab.is_object()) {
    for (const auto& [text, id] : vocab.items()) {
      if (!id.is_number_unsigned()) return false;
      put(strings, id.get<std::size_t>(), text);
    }
    return true;
  }
  if (!vocab.is_array()) return false;
  std::size_t id = 0;
  for (const nlohmann::json& piece : vocab) {
    if (!piece.is_array() || piece.empty() || !piece[0].is_string()) return false;
    put(strings, id++, piece[0].get<std::string>());
  }
  return true;
}

}  // namespace

Result<std::vector<std::string>> token_strings_of(std::string_view tokenizer_json, std::size_t vocab) {
  auto parsed = parse_json_object(tokenizer_json, kName);
  if (!parsed) return tl::unexpected(parsed.error());
  const auto model = parsed->find("model");
  if (model == parsed->end() || !model->is_object() || !model->contains("vocab"))
    return malformed("no model.vocab");
  std::vector<std::string> strings(vocab);
  if (!read_vocabulary((*model)["vocab"], strings))
    return malformed("model.vocab is neither ids by token nor pieces");
  const auto added = parsed->find("added_tokens");
  if (added != parsed->end() && added->is_array())
    for (const nlohmann::json& token : *added)
      if (token.is_object() && token.contains("id") && token["id"].is_number_unsigned())
        put(strings, token["id"].get<std::size_t>(), "");
  return strings;
}

Result<std::vector<std::string>> token_strings(const std::string& model_directory, std::size_t vocab) {
  auto text = read_small_file(model_directory + "/" + kName, kLargestFile);
  if (!text) return tl::unexpected(text.error());
  return token_strings_of(*text, vocab);
}

}  // namespace leadline::worker
