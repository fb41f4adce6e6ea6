#include "coordinator/text/tokenizer_json.h"

#include <algorithm>

#include "coordinator/text/json_field.h"
#include "coordinator/text/pipeline_tokenizer.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_steps.h"

namespace leadline::coordinator {
namespace {

constexpr std::size_t kMaxMerges = 4'000'000;
constexpr std::size_t kMaxTemplatePieces = 64;

Result<Vocabulary> read_vocabulary(const JsonField& field) {
  if (!field.value().is_object()) return field.malformed("an object");
  if (field.size() > kMaxVocabulary)
    return field.malformed("at most " + std::to_string(kMaxVocabulary) + " entries");
  std::vector<std::pair<std::string, TokenId>> entries;
  entries.reserve(field.size());
  for (const auto& [text, id] : field.value().items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
        id.get<std::int64_t>() >= static_cast<std::int64_t>(kMaxVocabulary)) {
      return JsonField(id, field.path() + "['" + text + "']")
          .malformed("an id below " + std::to_string(kMaxVocabulary));
    }
    entries.emplace_back(text, id.get<TokenId>());
  }
  return Vocabulary::create(std::move(entries), field.path());
}

// "left right" or ["left", "right"].
Result<std::pair<std::string, std::string>> read_pair(const JsonField& merge) {
  const nlohmann::json& value = merge.value();
  if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string()) {
    return std::make_pair(value[0].get<std::string>(), value[1].get<std::string>());
  }
  if (!value.is_string()) return merge.malformed("a pair of texts");
  const std::string& both = value.get_ref<const std::string&>();
  const std::size_t space = both.find(' ');
  if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
    return merge.malformed("'left right'");
  return std::make_pair(both.substr(0, space), both.substr(space + 1));
}

Result<std::vector<BpeMerge>> read_merges(const JsonField& field, const Vocabulary& vocabulary) {
  if (!field.value().is_array()) return field.malformed("an array");
  if (field.size() > kMaxMerges) return field.malformed("at most " + std::to_string(kMaxMerges) + " entries");
  std::vector<BpeMerge> out;
  out.reserve(field.size());
  for (std::size_t i = 0; i < field.size(); ++i) {
    const JsonField merge = field.at(i);
    auto pair = read_pair(merge);
    if (!pair) return tl::unexpected(pair.error());
    const TokenId left = vocabulary.find(pair->first), right = vocabulary.find(pair->second);
    const TokenId merged = vocabulary.find(pair->first + pair->second);
    if (left < 0 || right < 0 || merged < 0) return merge.malformed("texts of the vocabulary");
    out.push_back({left, right, merged, static_cast<std::uint32_t>(i)});
  }
  return out;
}

Result<BpeOptions> read_options(const JsonField& model, const Vocabulary& vocabulary, bool byte_level) {
  BpeOptions options;
  options.byte_level = byte_level;
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    auto text = model.string(key, "");
    if (!text) return tl::unexpected(text.error());
    if (!text->empty()) return model.at(key).unsupported();
  }
  const JsonField dropout = model.at("dropout");
  if (!dropout.null() && dropout.value() != 0) return dropout.unsupported();
  auto fallback = model.boolean("byte_fallback", false);
  auto fuse = model.boolean("fuse_unk", false);
  auto ignore = model.boolean("ignore_merges", false);
  for (const auto* flag : {&fallback, &fuse, &ignore}) {
    if (!*flag) return tl::unexpected(flag->error());
  }
  if (*fallback && byte_level) return model.at("byte_fallback").unsupported();
  options.byte_fallback = *fallback;
  options.fuse_unknown = *fuse;
  options.ignore_merges = *ignore;
  if (!model.at("unk_token").null()) {
    auto unknown = model.string("unk_token");
    if (!unknown) return tl::unexpected(unknown.error());
    options.unknown = vocabulary.find(*unknown);
    if (options.unknown < 0) return model.at("unk_token").malformed("a text of the vocabulary");
  }
  return options;
}

Result<void> read_model(const JsonField& model, bool byte_level, TokenizerParts& parts) {
  auto type = model.string("type", "BPE");  // old files do not say
  if (!type) return tl::unexpected(type.error());
  if (*type != "BPE") return model.at("type").unsupported();
  auto vocabulary = read_vocabulary(model.at("vocab"));
  if (!vocabulary) return tl::unexpected(vocabulary.error());
  auto merges = read_merges(model.at("merges"), *vocabulary);
  if (!merges) return tl::unexpected(merges.error());
  auto options = read_options(model, *vocabulary, byte_level);
  if (!options) return tl::unexpected(options.error());
  parts.vocabulary = std::make_shared<const Vocabulary>(std::move(*vocabulary));
  parts.model = std::make_unique<BpeModel>(parts.vocabulary, *merges, *options);
  return {};
}

Result<AddedToken> read_added_token(const JsonField& field) {
  AddedToken token;
  auto id = field.integer("id", 0, static_cast<std::int64_t>(kMaxVocabulary) - 1);
  auto content = field.string("content");
  if (!id) return tl::unexpected(id.error());
  if (!content) return tl::unexpected(content.error());
  token.id = static_cast<TokenId>(*id);
  token.content = std::move(*content);
  if (token.content.empty() || token.content.size() > kMaxTokenTextBytes) {
    return field.at("content").malformed("a text of 1 to 4096 bytes");
  }
  const std::pair<const char*, bool*> flags[] = {{"single_word", &token.single_word},
                                                 {"lstrip", &token.lstrip},
                                                 {"rstrip", &token.rstrip},
                                                 {"normalized", &token.normalized},
                                                 {"special", &token.special}};
  for (const auto& [key, target] : flags) {
    auto value = field.boolean(key, false);
    if (!value) return tl::unexpected(value.error());
    *target = *value;
  }
  return token;
}

Result<void> read_added_tokens(const JsonField& field, TokenizerParts& parts) {
  if (field.null()) return {};
  if (!field.value().is_array()) return field.malformed("an array");
  if (field.size() > kMaxAddedTokens)
    return field.malformed("at most " + std::to_string(kMaxAddedTokens) + " entries");
  std::vector<AddedToken> tokens;
  std::vector<std::string> written;
  for (std::size_t i = 0; i < field.size(); ++i) {
    auto token = read_added_token(field.at(i));
    if (!token) return tl::unexpected(token.error());
    const TokenId in_vocabulary = parts.vocabulary->find(token->content);
    if (in_vocabulary >= 0 ? in_vocabulary != token->id : parts.vocabulary->has(token->id)) {
      return field.at(i).at("id").malformed("the id of this text in the vocabulary or a free one");
    }
    written.push_back(token->content);
    if (token->normalized) {
      auto normalized = parts.normalizer.apply(token->content);
      if (!normalized) return tl::unexpected(normalized.error());
      written.back() = std::move(*normalized);
      if (written.back().empty()) return field.at(i).at("content").unsupported();
    }
    tokens.push_back(std::move(*token));
  }
  auto added = AddedTokens::create(std::move(tokens), written);
  if (!added) return tl::unexpected(added.error());
  parts.added = std::move(*added);
  parts.added_written = std::move(written);
  return {};
}

Result<void> append_special(const JsonField& processor, const JsonField& piece, std::vector<TokenId>& out) {
  auto name = piece.string("id");
  if (!name) return tl::unexpected(name.error());
  const JsonField ids = processor.at("special_tokens").at(name->c_str()).at("ids");
  if (!ids.value().is_array() || ids.size() > kMaxTemplatePieces)
    return ids.malformed("an array of at most 64 ids");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const nlohmann::json& id = ids.value()[i];
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kMaxVocabulary)
      return ids.at(i).malformed("an id");
    out.push_back(id.get<TokenId>());
  }
  return {};
}

Result<void> read_template(const JsonField& processor, PostProcessor& post) {
  const JsonField single = processor.at("single");
  if (!single.value().is_array() || single.size() > kMaxTemplatePieces) {
    return single.malformed("an array of at most 64 pieces");
  }
  SequenceTemplate out;
  bool sequence_seen = false;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const JsonField piece = single.at(i);
    if (piece.has("SpecialToken")) {
      auto ok = append_special(processor, piece.at("SpecialToken"), sequence_seen ? out.after : out.before);
      if (!ok) return ok;
      continue;
    }
    auto id = piece.at("Sequence").string("id");
    if (!id) return tl::unexpected(id.error());
    if (*id != "A" || sequence_seen) return piece.unsupported();
    sequence_seen = true;
  }
  if (!sequence_seen) return single.malformed("a template with the sequence A");
  post.wrap(out);
  return {};
}

Result<void> read_post_processor(const JsonField& field, PostProcessor& post, int depth) {
  if (field.null()) return {};
  auto type = field.string("type");
  if (!type) return tl::unexpected(type.error());
  if (*type == "ByteLevel") return {};  // only trims offsets, which nobody asks for here
  if (*type == "TemplateProcessing") return read_template(field, post);
  const JsonField list = field.at("processors");
  if (*type != "Sequence") return field.unsupported();
  if (!list.value().is_array() || list.size() > kMaxSteps || depth > 4)
    return list.malformed("an array of at most 64 processors");
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto ok = read_post_processor(list.at(i), post, depth + 1); !ok) return ok;
  }
  return {};
}

// The Llama classes of the reference library write their own post-processor from these two flags.
Result<void> apply_config(const TokenizerConfig& config, TokenizerParts& parts) {
  if (!config.llama_class || (!config.add_bos_token && !config.add_eos_token)) return {};
  PostProcessor post;
  const auto add = [&](bool wanted, const std::string& token, const char* field,
                       std::vector<TokenId>& out) -> Result<void> {
    if (!wanted) return {};
    const AddedToken* added = parts.added.find_content(token);
    const TokenId id = added != nullptr ? added->id : parts.vocabulary->find(token);
    if (id < 0)
      return fail(Errc::malformed_file,
                  std::string("tokenizer_config.json: ") + field + ": '" + token + "' is no token");
    out.push_back(id);
    return {};
  };
  if (auto ok = add(config.add_bos_token.value_or(true), config.bos_token, "bos_token", post.before); !ok)
    return ok;
  if (auto ok = add(config.add_eos_token.value_or(false), config.eos_token, "eos_token", post.after); !ok)
    return ok;
  parts.post = std::move(post);
  return {};
}

Result<TokenizerParts> read_parts(const JsonField& root, const TokenizerConfig& config) {
  TokenizerParts parts;
  auto normalizer = read_normalizer(root.at("normalizer"));
  if (!normalizer) return tl::unexpected(normalizer.error());
  auto plan = read_pre_tokenizer(root.at("pre_tokenizer"));
  if (!plan) return tl::unexpected(plan.error());
  auto decoder = read_decoder(root.at("decoder"));
  if (!decoder) return tl::unexpected(decoder.error());
  parts.normalizer = Normalizer(std::move(*normalizer));
  parts.pre_tokenizer = PreTokenizer(std::move(plan->steps));
  parts.decoder = TokenDecoder(std::move(*decoder));
  if (auto ok = read_model(root.at("model"), plan->byte_level, parts); !ok) return tl::unexpected(ok.error());
  if (auto ok = read_added_tokens(root.at("added_tokens"), parts); !ok) return tl::unexpected(ok.error());
  if (auto ok = read_post_processor(root.at("post_processor"), parts.post, 0); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = apply_config(config, parts); !ok) return tl::unexpected(ok.error());
  return parts;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view file, std::string_view config_file) {
  if (file.size() > kMaxTokenizerFileBytes) {
    return fail(Errc::malformed_file, "tokenizer.json: " + std::to_string(file.size()) + " bytes, limit " +
                                          std::to_string(kMaxTokenizerFileBytes));
  }
  const nlohmann::json document = nlohmann::json::parse(file, nullptr, false);
  if (document.is_discarded()) return fail(Errc::malformed_file, "tokenizer.json: not JSON");
  if (!document.is_object()) return fail(Errc::malformed_file, "tokenizer.json: not an object");
  auto config = parse_tokenizer_config(config_file);
  if (!config) return tl::unexpected(config.error());
  auto parts = read_parts(JsonField(document, ""), *config);
  if (!parts) {
    parts.error().message = "tokenizer.json: " + parts.error().message;
    return tl::unexpected(parts.error());
  }
  return std::make_unique<PipelineTokenizer>(std::move(*parts));
}

}  // namespace leadline::coordinator
