#pragma once
// SplitPattern: a compiled pre-tokeniser pattern and its search. Not a splitter: what happens to the matches
// is decided in pre_tokenizer. Search is PCRE2's JIT with a bounded stack; a search that finds nothing near
// goes on in the interpreter, which counts every step, so that a hostile text cannot make a pattern backtrack
// for ever. Thread: immutable after compile; a Matcher belongs to one call.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/errc.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace leadline::coordinator {

struct MatchSpan {
  std::size_t begin, end;  // bytes
};

// The mutable half of a search.
class Matcher {
 public:
  Matcher();
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

 private:
  friend class SplitPattern;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
  std::uint64_t budget_;  // interpreter steps left to this call
};

class SplitPattern {
 public:
  // Oniguruma syntax (see pattern_syntax), or a literal text.
  static Result<SplitPattern> compile(std::string_view oniguruma);
  static Result<SplitPattern> literal(std::string_view text);

  // First match that begins at or after `from`, leftmost; empty matches are passed over. too_large when the
  // text makes the pattern backtrack past its limit. REQUIRES: text is well-formed UTF-8 and `from` a
  // boundary in it.
  Result<std::optional<MatchSpan>> find(std::string_view text, std::size_t from, Matcher& matcher) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  static Result<SplitPattern> build(const std::string& pcre);
  // One call of PCRE2 for starts in [from, last]. steps: 0 for the JIT, else the interpreter's limit for each
  // start.
  int match(std::string_view text, std::size_t from, std::size_t last, std::uint32_t steps,
            Matcher& matcher) const;
  int match_start(std::string_view text, std::size_t from, Matcher& matcher) const;
  int match_counted(std::string_view text, std::size_t from, Matcher& matcher) const;

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace leadline::coordinator
