#include "coordinator/text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

namespace leadline::coordinator {
namespace {

// Everything below U+0300 is NFC by itself and never combines backwards: UTF-8 lead bytes below 0xCC.
bool trivially_nfc(std::string_view text) {
  for (unsigned char c : text) {
    if (c >= 0xCC) return false;
  }
  return true;
}

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
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

Result<std::string> to_nfc(std::string_view text) {
  if (trivially_nfc(text)) return std::string(text);
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  if (bytes < 0) return fail(Errc::too_large, "text cannot be normalised to NFC");
  return std::string(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(bytes));
}

Result<std::string> Normalizer::apply(std::string text) const {
  for (const NormalizerStep& step : steps_) {
    if (text.size() > kMaxNormalizedBytes)
      return fail(Errc::too_large, "text grows past the tokenizer's limit");
    if (std::holds_alternative<ComposeNfc>(step)) {
      auto out = to_nfc(text);
      if (!out) return out;
      text = std::move(*out);
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
