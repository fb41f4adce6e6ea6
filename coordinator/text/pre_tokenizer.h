#pragma once
// PreTokenizer: cuts normalised text into the words that BPE works on: patterns, digits, Metaspace, GPT-2's
// byte level. Not the added tokens, which are cut out before. Thread: immutable; a Work belongs to one call.

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/text/split_pattern.h"

namespace leadline::coordinator {

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct PatternSplit {
  SplitPattern pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
};
struct DigitSplit {
  bool individual = false;
};
struct MetaspaceSplit {
  enum class Prepend { always, first, never };
  std::string replacement = "\xE2\x96\x81";  // U+2581
  Prepend prepend = Prepend::always;
  bool split = true;
};
// Words stay bytes: the model's vocabulary is read as bytes, so nothing is mapped here.
struct ByteLevelSplit {
  bool add_prefix_space = false;
  std::optional<SplitPattern> pattern;  // use_regex
};
using PreTokenizerStep = std::variant<PatternSplit, DigitSplit, MetaspaceSplit, ByteLevelSplit>;

class PreTokenizer {
 public:
  // One call's mutable state; keeps the strings alive that words point into.
  struct Work {
    Matcher matcher;
    std::deque<std::string> kept;
  };
  using Sink = std::function<Result<void>(std::string_view word)>;

  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // Calls `sink` for each word, in order; its words live as long as `work` and `text`. at_origin: `text`
  // begins where the whole input began. Errors of the sink end the walk. REQUIRES: text is well-formed UTF-8.
  Result<void> run(std::string_view text, bool at_origin, Work& work, const Sink& sink) const;

  // GPT-2's own pattern, for ByteLevel with use_regex.
  static Result<SplitPattern> gpt2_pattern();

 private:
  struct Piece {
    std::string_view text;
    bool at_origin;
  };
  struct Span {
    std::size_t begin, end;
    bool match;
  };
  Result<void> step(std::size_t index, Piece piece, Work& work, const Sink& sink) const;
  Result<void> split(std::size_t index, Piece piece, std::vector<Span> spans, SplitBehavior behavior,
                     Work& work, const Sink& sink) const;
  Result<void> isolate(std::size_t index, Piece piece, const SplitPattern& pattern, Work& work,
                       const Sink& sink) const;

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace leadline::coordinator
