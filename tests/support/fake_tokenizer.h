#pragma once
// FakeTokenizer: ids 0..255 are bytes; 256.. are special tokens. A Tokenizer for tests of everything that
// only needs one. Thread: immutable.

#include <array>

#include "coordinator/text/tokenizer.h"

namespace leadline::testing {

class FakeTokenizer final : public coordinator::Tokenizer {
 public:
  static constexpr std::array<std::string_view, 4> kSpecials = {"<bos>", "<eot>", "<user>", "<assistant>"};
  static constexpr transport::TokenId kBos = 256, kEot = 257;

  coordinator::Result<std::vector<transport::TokenId>> encode(std::string_view text, bool add_special_tokens,
                                                              std::size_t limit) const override {
    std::vector<transport::TokenId> ids;
    if (add_special_tokens) ids.push_back(kBos);
    while (!text.empty()) {
      bool special = false;
      for (std::size_t s = 0; s < kSpecials.size() && !special; ++s) {
        if (!text.starts_with(kSpecials[s])) continue;
        ids.push_back(static_cast<transport::TokenId>(256 + s));
        text.remove_prefix(kSpecials[s].size());
        special = true;
      }
      if (!special) {
        ids.push_back(static_cast<unsigned char>(text.front()));
        text.remove_prefix(1);
      }
      if (ids.size() > limit) return coordinator::fail(coordinator::Errc::too_large, "too many tokens");
    }
    return ids;
  }
  std::string decode(std::span<const transport::TokenId> ids, bool skip_special_tokens) const override {
    std::string out;
    for (const auto id : ids) append_bytes(id, skip_special_tokens, out);
    return out;
  }
  void append_bytes(transport::TokenId id, bool skip_special_tokens, std::string& out) const override {
    if (id >= 0 && id < 256) out.push_back(static_cast<char>(id));
    if (is_special(id) && !skip_special_tokens) out.append(kSpecials[static_cast<std::size_t>(id - 256)]);
  }
  bool strips_leading_space() const override { return false; }
  std::size_t vocab_size() const override { return 260; }
  std::optional<transport::TokenId> token_to_id(std::string_view content) const override {
    for (std::size_t s = 0; s < kSpecials.size(); ++s) {
      if (kSpecials[s] == content) return static_cast<transport::TokenId>(256 + s);
    }
    return std::nullopt;
  }
  std::string_view id_to_token(transport::TokenId id) const override {
    if (is_special(id)) return kSpecials[static_cast<std::size_t>(id - 256)];
    return id >= 0 && id < 256 ? std::string_view("b") : std::string_view();
  }
  bool is_special(transport::TokenId id) const override { return id >= 256 && id < 260; }
};

}  // namespace leadline::testing
