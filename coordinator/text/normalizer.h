#pragma once
// Normalizer: the text changes that a tokenizer file asks for before splitting (NFC, prepend, replace). Not
// repair of broken UTF-8 (utf8) and not splitting. Thread: immutable; apply from any thread. Input and output
// are well-formed UTF-8.

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/text/split_pattern.h"

namespace leadline::coordinator {

struct ComposeNfc {};
struct PrependText {
  std::string text;
};
struct ReplaceText {
  std::string literal;                  // when no pattern
  std::optional<SplitPattern> pattern;  // every match, left to right
  std::string with;
};
// SentencePiece's remove_extra_whitespaces: no leading or trailing spaces, runs of them become one.
struct CollapseSpaces {};
using NormalizerStep = std::variant<ComposeNfc, PrependText, ReplaceText, CollapseSpaces>;

class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}
  bool empty() const { return steps_.empty(); }
  // too_large when the result passes kMaxNormalizedBytes or a pattern backtracks too far.
  Result<std::string> apply(std::string text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

inline constexpr std::size_t kMaxNormalizedBytes = std::size_t{256} << 20;

}  // namespace leadline::coordinator
