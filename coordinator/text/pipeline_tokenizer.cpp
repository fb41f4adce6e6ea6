#include "coordinator/text/pipeline_tokenizer.h"

#include <algorithm>

#include "coordinator/text/utf8.h"

namespace leadline::coordinator {

// One encode call.
struct PipelineTokenizer::Call {
  Call(std::size_t text_bytes, std::size_t limit) : scratch(text_bytes), limit(limit) {}

  PreTokenizer::Work work;
  BpeModel::Scratch scratch;
  std::vector<TokenId> out;
  std::size_t limit;

  Result<void> check() const {
    if (out.size() <= limit) return {};
    return fail(Errc::too_large, "text has more than " + std::to_string(limit) + " tokens");
  }
};

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  std::size_t size = parts_.vocabulary->id_limit();
  for (const AddedToken& token : parts_.added.all())
    size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  written_.resize(size);
  bytes_.resize(size);
  present_.resize(size);
  special_.resize(size);
  for (std::size_t id = 0; id < parts_.vocabulary->id_limit(); ++id) {
    present_[id] = parts_.vocabulary->has(static_cast<TokenId>(id));
    written_[id] = parts_.vocabulary->text(static_cast<TokenId>(id));
  }
  for (std::size_t i = 0; i < parts_.added.all().size(); ++i) {
    const AddedToken& token = parts_.added.all()[i];
    present_[token.id] = true;
    written_[token.id] = parts_.added_written[i];
  }
  for (std::size_t id = 0; id < size; ++id) {
    bytes_[id] = present_[id] ? parts_.decoder.piece_bytes(written_[id]) : "";
    const AddedToken* token =
        parts_.added.find_content(written_[id]);  // special is a property of the text, as in the reference
    special_[id] = present_[id] && token != nullptr && token->special;
  }
  strips_leading_space_ = parts_.decoder.strips_leading_space();
}

Result<std::vector<TokenId>> PipelineTokenizer::encode(std::string_view text, bool add_special_tokens,
                                                       std::size_t limit) const {
  if (text.size() > kMaxEncodeBytes) {
    return fail(Errc::too_large, "text of " + std::to_string(text.size()) + " bytes, limit " +
                                     std::to_string(kMaxEncodeBytes));
  }
  std::string repaired;
  if (well_formed_prefix(text) != text.size()) {
    append_lossy(text, repaired);
    text = repaired;
  }
  Call call(text.size(), limit);
  const PostProcessor& post = parts_.post;
  if (add_special_tokens) call.out = post.before;
  for (const TextCut& cut : parts_.added.cut(text, false)) {
    if (cut.id >= 0) {
      call.out.push_back(cut.id);
    } else if (auto ok = encode_plain(text.substr(cut.begin, cut.end - cut.begin), cut.begin == 0, call);
               !ok) {
      return tl::unexpected(ok.error());
    }
    if (auto ok = call.check(); !ok) return tl::unexpected(ok.error());
  }
  if (add_special_tokens) call.out.insert(call.out.end(), post.after.begin(), post.after.end());
  if (auto ok = call.check(); !ok) return tl::unexpected(ok.error());
  return std::move(call.out);
}

// Text between raw added tokens: normalise, then cut at the tokens that are looked for in normalised text.
Result<void> PipelineTokenizer::encode_plain(std::string_view text, bool at_origin, Call& call) const {
  if (!parts_.normalizer.empty()) {
    auto normalized = parts_.normalizer.apply(std::string(text));
    if (!normalized) return tl::unexpected(normalized.error());
    call.work.kept.push_back(std::move(*normalized));
    text = call.work.kept.back();
  }
  if (!parts_.added.any_normalized()) return encode_words(text, at_origin, call);
  for (const TextCut& cut : parts_.added.cut(text, true)) {
    if (cut.id >= 0) {
      call.out.push_back(cut.id);
    } else if (auto ok = encode_words(text.substr(cut.begin, cut.end - cut.begin),
                                      at_origin && cut.begin == 0, call);
               !ok) {
      return ok;
    }
    if (auto ok = call.check(); !ok) return ok;
  }
  return {};
}

Result<void> PipelineTokenizer::encode_words(std::string_view text, bool at_origin, Call& call) const {
  return parts_.pre_tokenizer.run(text, at_origin, call.work, [&](std::string_view word) -> Result<void> {
    parts_.model->encode_word(word, call.scratch, call.out);
    return call.check();
  });
}

std::string PipelineTokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= written_.size() || !present_[id]) continue;
    if (skip_special_tokens && special_[id]) continue;
    tokens.push_back(written_[id]);
  }
  return parts_.decoder.decode(std::move(tokens));
}

void PipelineTokenizer::append_bytes(TokenId id, bool skip_special_tokens, std::string& out) const {
  if (id < 0 || static_cast<std::size_t>(id) >= bytes_.size() || (skip_special_tokens && special_[id]))
    return;
  out += bytes_[id];
}

std::optional<TokenId> PipelineTokenizer::token_to_id(std::string_view content) const {
  if (const AddedToken* token = parts_.added.find_content(content)) return token->id;
  const TokenId id = parts_.vocabulary->find(content);
  return id >= 0 ? std::optional<TokenId>(id) : std::nullopt;
}

std::string_view PipelineTokenizer::id_to_token(TokenId id) const {
  if (const AddedToken* token = parts_.added.find_id(id)) return token->content;
  return parts_.vocabulary->text(id);
}

bool PipelineTokenizer::is_special(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= special_.size()) return false;
  const AddedToken* token = parts_.added.find_id(id);
  return special_[id] || (token != nullptr && token->special);
}

}  // namespace leadline::coordinator
