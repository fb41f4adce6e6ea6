#pragma once
// PipelineTokenizer: the one implementation of Tokenizer: added tokens, normaliser, pre-tokeniser, BPE,
// post-processor, decoder, put together by the readers (tokenizer_json, sentencepiece_file). Reads no files
// itself. Thread: immutable after create.

#include "coordinator/text/added_tokens.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/post_processor.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/token_decoder.h"
#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

inline constexpr std::size_t kMaxEncodeBytes = std::size_t{64} << 20;

struct TokenizerParts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::shared_ptr<const Vocabulary> vocabulary;  // also held by the model
  std::unique_ptr<BpeModel> model;
  AddedTokens added;
  std::vector<std::string>
      added_written;  // added.all()[i] as decoders see it (normalised where it is looked for so)
  PostProcessor post;
  TokenDecoder decoder;
};

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special_tokens,
                                      std::size_t limit) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  void append_bytes(TokenId id, bool skip_special_tokens, std::string& out) const override;
  bool strips_leading_space() const override { return strips_leading_space_; }
  std::size_t vocab_size() const override { return written_.size(); }
  std::optional<TokenId> token_to_id(std::string_view content) const override;
  std::string_view id_to_token(TokenId id) const override;
  bool is_special(TokenId id) const override;

 private:
  struct Call;
  Result<void> encode_plain(std::string_view text, bool at_origin, Call& call) const;
  Result<void> encode_words(std::string_view text, bool at_origin, Call& call) const;

  TokenizerParts parts_;
  std::vector<std::string> written_;  // per id: what decoders see; added tokens win over the vocabulary
  std::vector<std::string> bytes_;    // per id: what append_bytes adds
  std::vector<bool> present_, special_;
  bool strips_leading_space_ = false;
};

}  // namespace leadline::coordinator
