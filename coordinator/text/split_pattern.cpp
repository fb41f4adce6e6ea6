#define PCRE2_CODE_UNIT_WIDTH 8
#include "coordinator/text/split_pattern.h"

#include <pcre2.h>

#include <algorithm>

#include "coordinator/text/pattern_syntax.h"
#include "monitoring/check.h"

namespace leadline::coordinator {
namespace {

constexpr std::size_t kJitStackBytes = 1 << 20;
constexpr std::size_t kWindow = 256;  // start offsets in one call of PCRE2
// PCRE2 counts steps for each start offset anew and does not tell how many it took, so starts that pass
// kCheapSteps are tried alone under growing limits, and what the limits allowed is charged to the call.
constexpr std::uint32_t kCheapSteps = 100;
constexpr std::uint64_t kBudgetSteps = 50'000'000;

// The character boundary behind `at`.
std::size_t next_boundary(std::string_view text, std::size_t at) {
  ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

Matcher::Matcher()
    : data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)),
      budget_(kBudgetSteps) {
  LEADLINE_CHECK(data_ != nullptr && context_ != nullptr, "out of memory");
  if (stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
  pcre2_set_heap_limit(context_, 64 * 1024);  // KiB, for the interpreter
}

Matcher::~Matcher() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

void SplitPattern::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Result<SplitPattern> SplitPattern::build(const std::string& pcre) {
  int error = 0;
  std::size_t offset = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  LEADLINE_CHECK(context != nullptr, "out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  SplitPattern out;
  out.code_.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pcre.data()), pcre.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C, &error,
      &offset, context.get()));
  if (!out.code_) {
    PCRE2_UCHAR text[128] = {};
    pcre2_get_error_message(error, text, sizeof(text));
    return fail(Errc::unsupported, std::string("pattern: ") + reinterpret_cast<const char*>(text));
  }
  pcre2_jit_compile(out.code_.get(), PCRE2_JIT_COMPLETE);  // without a JIT, pcre2_match interprets
  return out;
}

Result<SplitPattern> SplitPattern::compile(std::string_view oniguruma) {
  auto pcre = translate_pattern(oniguruma);
  if (!pcre) return tl::unexpected(pcre.error());
  return build(*pcre);
}

Result<SplitPattern> SplitPattern::literal(std::string_view text) {
  if (text.empty()) return fail(Errc::unsupported, "empty pattern");
  return build(quote_pattern(text));
}

int SplitPattern::match(std::string_view text, std::size_t from, std::size_t last, std::uint32_t steps,
                        Matcher& m) const {
  pcre2_set_offset_limit(m.context_, last);
  std::uint32_t options = PCRE2_NO_UTF_CHECK;
  if (steps != 0) {
    pcre2_set_match_limit(m.context_, steps);
    options |= PCRE2_NO_JIT;
  }
  return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options,
                     m.data_, m.context_);
}

int SplitPattern::match_start(std::string_view text, std::size_t from, Matcher& m) const {
  for (std::uint32_t steps = kCheapSteps;; steps *= 4) {
    if (m.budget_ < steps) return PCRE2_ERROR_MATCHLIMIT;
    m.budget_ -= steps;
    const int rc = match(text, from, from, steps, m);
    if (rc != PCRE2_ERROR_MATCHLIMIT) return rc;
  }
}

int SplitPattern::match_counted(std::string_view text, std::size_t from, Matcher& m) const {
  while (from <= text.size()) {
    const std::size_t last = std::min(text.size(), from + kWindow);
    int rc = match(text, from, last, kCheapSteps, m);
    while (rc == PCRE2_ERROR_MATCHLIMIT && from <= last) {
      rc = match_start(text, from, m);
      if (rc != PCRE2_ERROR_NOMATCH) return rc;
      from = next_boundary(text, from);
      if (from <= last) rc = PCRE2_ERROR_MATCHLIMIT;
    }
    if (rc != PCRE2_ERROR_NOMATCH) return rc;
    from = std::max(from, next_boundary(text, last));
  }
  return PCRE2_ERROR_NOMATCH;
}

Result<std::optional<MatchSpan>> SplitPattern::find(std::string_view text, std::size_t from,
                                                    Matcher& m) const {
  while (from <= text.size()) {
    const std::size_t last = std::min(text.size(), from + kWindow);
    int rc = match(text, from, last, 0, m);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = match_counted(text, from, m);
    } else if (rc == PCRE2_ERROR_NOMATCH && last < text.size()) {
      rc = match_counted(text, next_boundary(text, last), m);
    }
    if (rc == PCRE2_ERROR_NOMATCH) return std::optional<MatchSpan>{};
    if (rc < 0) return fail(Errc::too_large, "text makes the tokenizer's pattern backtrack past its limit");
    const std::size_t* span = pcre2_get_ovector_pointer(m.data_);
    if (span[1] > span[0]) return std::optional<MatchSpan>{{span[0], span[1]}};
    from = next_boundary(text, span[1]);  // an empty match: go on behind the next character
  }
  return std::optional<MatchSpan>{};
}

}  // namespace leadline::coordinator
