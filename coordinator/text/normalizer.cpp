#include "coordinator/text/normalizer.h"

#include "coordinator/text/nfc.h"

namespace leadline::coordinator {
namespace {

Result<std::string> replace(const ReplaceText& step, std::string_view text) {
  std::string out;
  std::size_t at = 0;
  Matcher matcher;
  while (at <= text.size()) {
    std::size_t begin = std::string_view::npos, end = 0;
    if (step.pattern) {
      auto found = step.pattern->find(text, at, matcher);
      if (!found) return tl::unexpected(found.error());
      if (found->has_value()) begin = (*found)->begin, end = (*found)->end;
    } else {
      begin = text.find(step.literal, at);
      end = begin + step.literal.size();
    }
    if (begin == std::string_view::npos) break;
    out.append(text.substr(at, begin - at));
    out.append(step.with);
    if (out.size() > kMaxNormalizedBytes)
      return fail(Errc::too_large, "text grows past the tokenizer's limit");
    at = end;
  }
  out.append(text.substr(at));
  return out;
}

std::string collapse(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out.push_back(c);
  }
  for (;;) {  // U+2581 is a written space
    if (out.ends_with(' ')) {
      out.pop_back();
    } else if (out.ends_with("\xE2\x96\x81")) {
      out.resize(out.size() - 3);
    } else {
      break;
    }
  }
  return out;
}

}  // namespace

Result<std::string> Normalizer::apply(std::string text) const {
  for (const NormalizerStep& step : steps_) {
    if (text.size() > kMaxNormalizedBytes)
      return fail(Errc::too_large, "text grows past the tokenizer's limit");
    if (std::holds_alternative<ComposeNfc>(step)) {
      text = to_nfc(text);
    } else if (const auto* prepend = std::get_if<PrependText>(&step)) {
      if (!text.empty()) text.insert(0, prepend->text);
    } else if (const auto* change = std::get_if<ReplaceText>(&step)) {
      auto out = replace(*change, text);
      if (!out) return out;
      text = std::move(*out);
    } else {
      text = collapse(text);
    }
  }
  return text;
}

}  // namespace leadline::coordinator
