#include "coordinator/text/tokenizer_config.h"

#include "coordinator/text/json_field.h"
#include "coordinator/text/vocabulary.h"

namespace leadline::coordinator {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;

// A token is a string or an object with "content".
std::string token_text(const JsonField& field) {
  if (field.value().is_string()) return field.value().get<std::string>();
  const JsonField content = field.at("content");
  return content.value().is_string() ? content.value().get<std::string>() : "";
}

Result<std::optional<bool>> optional_flag(const JsonField& root, const char* key) {
  if (root.at(key).null()) return std::optional<bool>{};
  auto value = root.boolean(key, false);
  if (!value) return tl::unexpected(value.error());
  return std::optional<bool>(*value);
}

Result<void> read_added(const JsonField& field, std::vector<AddedToken>& out) {
  if (field.null()) return {};
  if (!field.value().is_object() || field.size() > kMaxAddedTokens)
    return field.malformed("an object of tokens");
  for (const auto& [key, value] : field.value().items()) {
    const JsonField entry(value, field.path() + "." + key);
    AddedToken token;
    if (key.empty() || key.size() > 7 || key.find_first_not_of("0123456789") != std::string::npos ||
        std::stoul(key) >= kMaxVocabulary) {
      return entry.malformed("an id as key");
    }
    token.id = static_cast<TokenId>(std::stoul(key));
    token.content = token_text(entry);
    if (token.content.empty() || token.content.size() > kMaxTokenTextBytes)
      return entry.malformed("a token with content");
    const std::pair<const char*, bool*> flags[] = {{"single_word", &token.single_word},
                                                   {"lstrip", &token.lstrip},
                                                   {"rstrip", &token.rstrip},
                                                   {"normalized", &token.normalized},
                                                   {"special", &token.special}};
    for (const auto& [name, target] : flags) {
      auto flag = entry.boolean(name, false);
      if (!flag) return tl::unexpected(flag.error());
      *target = *flag;
    }
    out.push_back(std::move(token));
  }
  return {};
}

Result<TokenizerConfig> read(const JsonField& root) {
  TokenizerConfig out;
  const JsonField name = root.at("tokenizer_class");
  const std::string text = name.value().is_string() ? name.value().get<std::string>() : "";
  out.llama_class = text == "LlamaTokenizer" || text == "LlamaTokenizerFast" ||
                    text == "CodeLlamaTokenizer" || text == "CodeLlamaTokenizerFast";
  auto bos = optional_flag(root, "add_bos_token");
  auto eos = optional_flag(root, "add_eos_token");
  auto legacy = root.boolean("legacy", true);
  if (!bos) return tl::unexpected(bos.error());
  if (!eos) return tl::unexpected(eos.error());
  if (!legacy) return tl::unexpected(legacy.error());
  out.add_bos_token = *bos;
  out.add_eos_token = *eos;
  out.legacy = *legacy;
  out.bos_token = token_text(root.at("bos_token"));
  out.eos_token = token_text(root.at("eos_token"));
  if (auto ok = read_added(root.at("added_tokens_decoder"), out.added_tokens); !ok)
    return tl::unexpected(ok.error());
  return out;
}

}  // namespace

Result<TokenizerConfig> parse_tokenizer_config(std::string_view file) {
  if (file.empty()) return TokenizerConfig{};
  if (file.size() > kMaxConfigBytes)
    return fail(Errc::malformed_file, "tokenizer_config.json: larger than 16 MiB");
  const nlohmann::json document = nlohmann::json::parse(file, nullptr, false);
  if (!document.is_object()) return fail(Errc::malformed_file, "tokenizer_config.json: not a JSON object");
  auto out = read(JsonField(document, ""));
  if (!out) out.error().message = "tokenizer_config.json: " + out.error().message;
  return out;
}

}  // namespace leadline::coordinator
