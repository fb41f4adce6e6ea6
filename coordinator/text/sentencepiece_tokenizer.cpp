#include "coordinator/text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <functional>

#include "coordinator/text/pipeline_tokenizer.h"
#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_json.h"

namespace leadline::coordinator {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";
constexpr std::size_t kMaxMerges = 16'000'000;

Result<void> check_supported(const SentencePieceFile& file) {
  const auto refuse = [](const std::string& what) {
    return tl::unexpected<Error>(
        Error{Errc::unsupported, "tokenizer.model: " + what + " is not supported", ""});
  };
  if (file.model_type != 2)
    return refuse("trainer_spec.model_type " + std::to_string(file.model_type) + " (only 2, BPE)");
  if (file.whitespace_as_suffix) return refuse("trainer_spec.treat_whitespace_as_suffix true");
  if (file.has_charsmap) return refuse("normalizer_spec.precompiled_charsmap (only the identity)");
  if (file.has_denormalizer) return refuse("denormalizer_spec.precompiled_charsmap");
  if (!file.escape_whitespaces) return refuse("normalizer_spec.escape_whitespaces false");
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (file.pieces[id].type == PieceType::unused)
      return refuse("pieces[" + std::to_string(id) + "].type 5 (unused)");
  }
  return {};
}

// SentencePiece merges two neighbours whenever their joined text is a piece, best score first: every way to
// cut a piece into two pieces is a merge, and equal scores share a rank.
Result<std::vector<BpeMerge>> merges_of(const SentencePieceFile& file, const Vocabulary& vocabulary) {
  std::vector<float> scores;
  for (const SentencePiece& piece : file.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  const auto mergeable = [&](TokenId id) {
    return id >= 0 &&
           (file.pieces[id].type == PieceType::normal || file.pieces[id].type == PieceType::user_defined);
  };
  std::vector<BpeMerge> out;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    if (!mergeable(static_cast<TokenId>(id))) continue;
    const std::string_view text = file.pieces[id].text;
    const auto rank = static_cast<std::uint32_t>(
        std::lower_bound(scores.begin(), scores.end(), file.pieces[id].score, std::greater<>()) -
        scores.begin());
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) continue;
      const TokenId left = vocabulary.find(text.substr(0, cut)), right = vocabulary.find(text.substr(cut));
      if (!mergeable(left) || !mergeable(right)) continue;
      if (out.size() >= kMaxMerges)
        return fail(Errc::malformed_file, "tokenizer.model: more than 16000000 merges");
      out.push_back({left, right, static_cast<TokenId>(id), rank});
    }
  }
  return out;
}

Result<void> add_tokens(const SentencePieceFile& file, const TokenizerConfig& config, TokenizerParts& parts) {
  std::vector<AddedToken> tokens;
  std::vector<bool> taken(file.pieces.size());
  for (const AddedToken& token : config.added_tokens) {
    const TokenId in_file = parts.vocabulary->find(token.content);
    if (in_file >= 0 ? in_file != token.id : parts.vocabulary->has(token.id)) {
      return fail(Errc::malformed_file, "tokenizer_config.json: added_tokens_decoder." +
                                            std::to_string(token.id) + ": '" + token.content +
                                            "' has another id in tokenizer.model");
    }
    if (in_file >= 0) taken[in_file] = true;
    tokens.push_back(token);
    tokens.back().normalized = false;  // a raw match, as the reference's slow class does
  }
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    const bool special = piece.type == PieceType::control || piece.type == PieceType::unknown;
    if (taken[id] || (!special && piece.type != PieceType::user_defined)) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = piece.text;
    token.special = special;
    token.normalized = !special;  // user-defined symbols are found in the escaped text
    tokens.push_back(std::move(token));
  }
  if (tokens.size() > kMaxAddedTokens)
    return fail(Errc::malformed_file, "tokenizer.model: more than 100000 special pieces");
  for (const AddedToken& token : tokens) parts.added_written.push_back(token.content);
  auto added = AddedTokens::create(std::move(tokens), parts.added_written);
  if (!added) return tl::unexpected(added.error());
  parts.added = std::move(*added);
  return {};
}

void set_normalizer(const SentencePieceFile& file, bool legacy, TokenizerParts& parts) {
  std::vector<NormalizerStep> steps;
  if (file.remove_extra_whitespaces) steps.emplace_back(CollapseSpaces{});
  if (file.add_dummy_prefix && legacy) steps.emplace_back(PrependText{std::string(kMetaspace)});
  steps.emplace_back(ReplaceText{" ", std::nullopt, std::string(kMetaspace)});
  parts.normalizer = Normalizer(std::move(steps));
  if (file.add_dummy_prefix && !legacy) {
    MetaspaceSplit first;
    first.prepend = MetaspaceSplit::Prepend::first;
    first.split = false;
    std::vector<PreTokenizerStep> split;
    split.emplace_back(std::move(first));
    parts.pre_tokenizer = PreTokenizer(std::move(split));
  }
}

Result<void> set_post_processor(const SentencePieceFile& file, const TokenizerConfig& config,
                                TokenizerParts& parts) {
  const auto add = [&](bool wanted, std::int64_t id, const char* name,
                       std::vector<TokenId>& out) -> Result<void> {
    if (!wanted || id < 0) return {};
    if (static_cast<std::size_t>(id) >= file.pieces.size()) {
      return fail(Errc::malformed_file, std::string("tokenizer.model: trainer_spec.") + name + " " +
                                            std::to_string(id) + " is no piece");
    }
    out.push_back(static_cast<TokenId>(id));
    return {};
  };
  if (auto ok = add(config.add_bos_token.value_or(true), file.bos_id, "bos_id", parts.post.before); !ok)
    return ok;
  return add(config.add_eos_token.value_or(false), file.eos_id, "eos_id", parts.post.after);
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> parse_sentencepiece_model(std::string_view bytes,
                                                             std::string_view config_file) {
  if (bytes.size() > kMaxTokenizerFileBytes)
    return fail(Errc::malformed_file, "tokenizer.model: larger than 128 MiB");
  auto config = parse_tokenizer_config(config_file);
  if (!config) return tl::unexpected(config.error());
  auto file = parse_sentencepiece_file(bytes);
  if (!file) return fail(file.error().code, "tokenizer.model: " + file.error().message);
  if (auto ok = check_supported(*file); !ok) return tl::unexpected(ok.error());
  std::vector<std::pair<std::string, TokenId>> entries;
  BpeOptions options;
  options.byte_fallback = file->byte_fallback;
  options.fuse_unknown = true;
  for (std::size_t id = 0; id < file->pieces.size(); ++id) {
    entries.emplace_back(file->pieces[id].text, static_cast<TokenId>(id));
    if (file->pieces[id].type == PieceType::unknown) options.unknown = static_cast<TokenId>(id);
  }
  if (options.unknown < 0) return fail(Errc::malformed_file, "tokenizer.model: no unknown piece");
  auto vocabulary = Vocabulary::create(std::move(entries), "tokenizer.model: pieces");
  if (!vocabulary) return tl::unexpected(vocabulary.error());
  auto merges = merges_of(*file, *vocabulary);
  if (!merges) return tl::unexpected(merges.error());
  TokenizerParts parts;
  parts.vocabulary = std::make_shared<const Vocabulary>(std::move(*vocabulary));
  parts.model = std::make_unique<BpeModel>(parts.vocabulary, *merges, options);
  std::vector<DecoderStep> decoder;
  decoder.emplace_back(DecodeSentencePiece{file->add_dummy_prefix || file->remove_extra_whitespaces,
                                           file->remove_extra_whitespaces});
  parts.decoder = TokenDecoder(std::move(decoder));
  set_normalizer(*file, config->legacy, parts);
  if (auto ok = add_tokens(*file, *config, parts); !ok) return tl::unexpected(ok.error());
  if (auto ok = set_post_processor(*file, *config, parts); !ok) return tl::unexpected(ok.error());
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace leadline::coordinator
